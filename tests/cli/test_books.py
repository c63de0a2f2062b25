"""``grant``, ``statement`` and ``audit`` on real books, as an operator would use them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from jhub_tokens.catalogue import load_catalogue, shipped_catalogue
from jhub_tokens.cli import main
from jhub_tokens.clock import SystemClock
from jhub_tokens.ledger import open_ledger
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import Identity


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Books with the members ada and 李雷, found by the environment as a service's are."""
    path = tmp_path / "tokens.sqlite"
    catalogue = load_catalogue(shipped_catalogue("default"))
    ledger = open_ledger(f"sqlite:///{path}", SystemClock(), lambda: catalogue)
    for number, name in enumerate(("ada", "李雷")):
        ledger.ensure_member(
            Identity(hub_user_id=number + 1, created="2027-01-01T00:00:00Z", name=name)
        )
    ledger.close()
    monkeypatch.setenv("JHUB_TOKENS_DATABASE", str(path))
    monkeypatch.setenv("JHUB_TOKENS_CATALOGUE", str(shipped_catalogue("default")))
    yield path
    assert main(["audit"]) == 0, "the books must be clean after every test"


def test_a_grant_shows_the_new_balance(database: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["grant", "ada", "20.5", "--reason", "course project"]) == 0
    assert capsys.readouterr().out == "20.5 tokens given to ada; balance now 70.5\n"
    assert main(["grant", "ada", "-0.5", "--reason", "granted too much"]) == 0
    assert capsys.readouterr().out == "0.5 tokens taken from ada; balance now 70\n"


def test_a_repeated_key_books_once(database: Path, capsys: pytest.CaptureFixture[str]):
    again = ["grant", "ada", "5", "--reason", "voucher", "--key", "voucher-0001", "--json"]
    assert main(again) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(again) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert first["balance"] == {"grains": str(55 * GRAINS_PER_TOKEN), "tokens": "55.000"}
    assert main([*again[:2], "6", *again[3:]]) == 1
    assert "key" in capsys.readouterr().err


def test_more_cannot_be_taken_than_there_is(database: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["grant", "ada", "-51", "--reason", "mistake"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1


def test_an_unknown_member(database: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["grant", "ad", "5", "--reason", "test"]) == 1
    assert "no member called 'ad'; did you mean ada?" in capsys.readouterr().err
    assert main(["statement", "nobody"]) == 1
    assert "members appear when they sign in" in capsys.readouterr().err


def test_a_statement_adds_up(database: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["grant", "李雷", "7", "--reason", "补充额度"]) == 0
    capsys.readouterr()
    assert main(["statement", "李雷", "--json"]) == 0
    statement = json.loads(capsys.readouterr().out)
    amounts = [int(line["amount"]["grains"]) for line in statement["lines"]]
    assert int(statement["opening"]["grains"]) + sum(amounts) == 57 * GRAINS_PER_TOKEN
    assert statement["closing"]["grains"] == str(57 * GRAINS_PER_TOKEN)
    assert main(["statement", "李雷"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("李雷: ")
    assert "补充额度" in lines[-2] and lines[-2].endswith("+7.00")
    assert lines[-1].endswith("57.00")


def test_a_period_that_is_not_there(database: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["statement", "ada", "--period", "1999-01-01"]) == 1
    assert "--period" in capsys.readouterr().err


def test_an_audit_tells_the_totals(database: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["audit"]) == 0
    assert capsys.readouterr().out.startswith("audit: clean; 2 members, 100 tokens in wallets")
    assert main(["audit", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["clean"], report["findings"]) == (True, [])


def test_an_audit_finds_a_forged_balance(database: Path, capsys: pytest.CaptureFixture[str]):
    kept = database.read_bytes()
    with sqlite3.connect(database) as connection:
        changed = connection.execute(
            "UPDATE grants SET remaining_grains = remaining_grains - 1 "
            "WHERE grant_id = (SELECT min(grant_id) FROM grants)"
        )
        assert changed.rowcount == 1
    connection.close()
    assert main(["audit"]) == 1
    out, err = capsys.readouterr()
    assert "findings" in out and err.strip()
    for leftover in database.parent.glob("tokens.sqlite-*"):
        leftover.unlink()
    database.write_bytes(kept)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("missing/tokens.sqlite", "there is no database at missing/tokens.sqlite"),
        ("mysql://host/books", "not a database that the books can be kept in"),
        ("postgresql+psycopg://nobody@127.0.0.1:1/books", "cannot be reached"),
        ("what is this://", "cannot be read"),
    ],
)
def test_databases_that_cannot_be_opened(
    url: str, expected: str, database: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["audit", "--database", url]) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert expected in err


def test_a_file_that_is_no_database(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = tmp_path / "notes.txt"
    other.write_text("just some notes, and not a database at all\n" * 50)
    assert main(["audit", "--database", str(other)]) == 1
    assert "not a sound SQLite database" in capsys.readouterr().err


def test_a_broken_catalogue(database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bad = tmp_path / "bad.yaml"
    bad.write_text("plans: 5\n")
    assert main(["audit", "--catalogue", str(bad)]) == 1
    assert f"{bad}:1: plans: 5 is not a mapping" in capsys.readouterr().err


def test_no_demo_state(database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["audit", "--state", str(tmp_path)]) == 1
    assert "is not the state directory of a demo" in capsys.readouterr().err
