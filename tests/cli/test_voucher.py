"""``jhub-tokens voucher``: made, listed and withdrawn at the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jhub_tokens.catalogue import load_catalogue, shipped_catalogue
from jhub_tokens.cli import main
from jhub_tokens.ledger import open_ledger
from jhub_tokens.ledger.voucher_codes import read_code


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tokens.sqlite"
    catalogue = load_catalogue(shipped_catalogue("default"))
    open_ledger(f"sqlite:///{path}", catalogue=lambda: catalogue).close()
    monkeypatch.setenv("JHUB_TOKENS_DATABASE", str(path))
    monkeypatch.setenv("JHUB_TOKENS_CATALOGUE", str(shipped_catalogue("default")))
    return path


def test_vouchers_at_the_terminal(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = ["voucher", "make", "--count", "3", "--tokens", "2.5", "--note", "course"]
    assert main(made) == 0
    codes = capsys.readouterr().out.splitlines()
    assert len({read_code(code) for code in codes}) == 3
    assert main(["voucher", "list", "--json"]) == 0
    (batch,) = json.loads(capsys.readouterr().out)
    assert (batch["vouchers"], batch["redeemed"], batch["note"]) == (3, 0, "course")
    assert main(["voucher", "revoke", batch["batch_id"]]) == 0
    assert capsys.readouterr().out == "revoked; 0 of 3 had been redeemed\n"
    assert main(["voucher", "list"]) == 0
    assert "0/3 of 2.5 revoked course" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--tokens", "1,5"], "--tokens: '1,5': write a plain number"),
        (["--tokens", "-1"], "more than 0 tokens"),
        (["--count", "0"], "1 to 10,000 vouchers"),
        (["--expires", "tomorrow"], "write it like 2027-03-31"),
        (["--expires", "2001-01-01"], "cannot expire in the past"),
    ],
)
def test_mistakes_are_told(
    database: Path, capsys: pytest.CaptureFixture[str], changes: list[str], message: str
) -> None:
    assert main(["voucher", "make", "--count", "1", "--tokens", "1", *changes]) in (1, 2)
    assert message in capsys.readouterr().err
