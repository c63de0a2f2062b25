"""``finance``, ``export``, ``erase`` and ``statement --as-of`` at the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jhub_tokens.catalogue import load_catalogue, shipped_catalogue
from jhub_tokens.cli import main
from jhub_tokens.clock import ManualClock, SystemClock
from jhub_tokens.ledger import open_ledger
from jhub_tokens.periods import month_of, month_span
from jhub_tokens.wire import Identity, Snapshot

DAY_MS = 86_400_000


@pytest.fixture
def past_month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Books that begin in the month before this one; returns that month."""
    path = tmp_path / "tokens.sqlite"
    catalogue = load_catalogue(shipped_catalogue("default"))
    now_ms = SystemClock().now_ms()
    begun_ms = month_span(month_of(now_ms, catalogue.zone), catalogue.zone)[0] - 10 * DAY_MS
    clock = ManualClock(begun_ms)
    ledger = open_ledger(f"sqlite:///{path}", clock, lambda: catalogue)
    ledger.ensure_member(Identity(hub_user_id=1, created="2026-01-01", name="ada"))
    clock.advance_ms(now_ms - begun_ms)
    ledger.observe(Snapshot(hub="hub", epoch="epoch-one", sequence=1, servers=[]))
    ledger.close()
    monkeypatch.setenv("JHUB_TOKENS_DATABASE", str(path))
    monkeypatch.setenv("JHUB_TOKENS_CATALOGUE", str(shipped_catalogue("default")))
    yield month_of(begun_ms, catalogue.zone)
    assert main(["audit"]) == 0, "the books must be clean after every test"


def test_a_month_is_closed_reported_and_exported(
    past_month: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finance", "close", past_month, "--reason", "month end"]) == 0
    assert f"{past_month} is closed; SHA-256" in capsys.readouterr().out
    assert main(["finance", "months"]) == 0
    assert "month end" in capsys.readouterr().out
    assert main(["finance", "report", "--from", past_month, "--by", "plan"]) == 0
    out = capsys.readouterr().out
    assert "closed; tokens" in out and "50.000" in out
    assert main(["finance", "report", "--from", past_month, "--by", "plan", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[-1]["month"] == "total" and rows[0]["granted"] == rows[-1]["granted"]
    file = tmp_path / "out.csv"
    export = ["export", "--from", past_month, "--output", str(file)]
    assert main(export) == 0
    assert (
        sum(int(row["amount_grains"]) for row in csv.DictReader(file.read_text().splitlines())) == 0
    )
    assert main(export) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["finance", "balance", "--json"]) == 0
    accounts = json.loads(capsys.readouterr().out)["accounts"]
    assert sum(int(row["amount"]["grains"]) for row in accounts) == 0
    assert main(["finance", "prepaid"]) == 0
    assert "0.000 tokens bought" in capsys.readouterr().out


def test_a_statement_as_of_an_instant(past_month: str, capsys: pytest.CaptureFixture[str]) -> None:
    day = f"{past_month}-27"
    assert main(["statement", "ada", "--as-of", day, "--basis", "booked"]) == 0
    assert "50.00" in capsys.readouterr().out
    assert main(["statement", "ada", "--as-of", "soon"]) == 2
    assert "--as-of: There is no such instant" in capsys.readouterr().err


def test_a_member_is_erased(past_month: str, capsys: pytest.CaptureFixture[str]) -> None:
    erase = ["erase", "ada", "--reason", "asked for it"]
    assert main(erase) == 2
    assert "add --yes" in capsys.readouterr().err
    assert main(["erase", "ada", "--reason", "Ada asked", "--yes"]) == 2
    assert "must not name" in capsys.readouterr().err
    assert main([*erase, "--yes"]) == 0
    assert "erased; the books know them as" in capsys.readouterr().out
    assert main([*erase, "--yes"]) == 1
    assert "no member called 'ada'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finance", "close", "2999-01", "--reason", "month end"], "not over yet"),
        (["finance", "close", "January", "--reason", "month end"], "Write a month like 2026-11"),
        (["finance", "report", "--from", "2026-11", "--to", "2026-01"], "the first one first"),
        (["finance", "prepaid", "--as-of", "2026-02-30"], "--as-of: There is no such instant"),
        (["export", "--from", "26-11"], "Write a month like 2026-11"),
    ],
)
def test_mistakes_are_told(
    past_month: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) in (1, 2)
    assert message in capsys.readouterr().err
