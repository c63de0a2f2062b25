"""``jhub-tokens simulate`` as an operator meets it: reports, wrong usage, lossy books."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest

import jhub_tokens.commands.simulate as command
from jhub_tokens.catalogue import shipped_catalogue
from jhub_tokens.cli import main
from jhub_tokens.ledger import Ledger, open_ledger

CATALOGUE = str(shipped_catalogue("default"))
FEW = ["simulate", CATALOGUE, "--members", "3", "--plan-mix", "basic:2,pro:1"]


def test_the_report_for_people(capsys: pytest.CaptureFixture[str]):
    assert main(FEW) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("3 members, 1 month from 2026-01-01 (UTC), seed 1\n")
    lines = out.splitlines()
    for title in ("Plans", "Profiles", "Weeks of the billing month", "Advice"):
        begin = next(i for i, line in enumerate(lines) if line.startswith(title))
        header, *rows = lines[begin + 1 : lines.index("", begin)]
        table = [row for row in rows if row.startswith("  ")]
        assert table and {len(row) for row in table} == {len(header)}, "columns are aligned"
    assert "difference 0 grains; audit clean" in out
    assert "basic: " in out and "member-months" in out
    assert main(FEW) == 0
    assert capsys.readouterr().out == out, "the same seed gives the same report"


def test_json_is_complete_and_csv_has_a_row_for_each_member(capsys: pytest.CaptureFixture[str]):
    assert main([*FEW, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["conservation"]["findings"] == []
    assert report["conservation"]["consumed"] == report["conservation"]["reckoned"]
    assert [advice["plan"] for advice in report["advice"]] == ["basic", "pro"]
    assert report["advice"][0]["allotment"]["tokens"] == "50.000"
    assert main([*FEW, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["name"] for row in rows] == [member["name"] for member in report["members"]]
    used = sorted(row["used_tokens"] for row in rows)
    assert used == sorted(member["used"]["tokens"] for member in report["members"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--members", "0"], "--members: 0 is out of range; write 1 to 100,000"),
        (["--members", "100001"], "--members: 100001 is out of range"),
        (["--members", "some"], "invalid int value: 'some'"),
        (["--months", "0"], "--months: 0 is out of range; write 1 to 120"),
        (["--mix", "wizard:1"], "--mix: there is no archetype 'wizard'; there are idle, student"),
        (["--mix", "student:x"], "--mix: 'student:x' is no share; write names and numbers such"),
        (["--plan-mix", "gold:1"], "--plan-mix: there is no plan 'gold'; there are basic, pro"),
        (["--start", "tomorrow"], "--start: 'tomorrow' is no day; write it as in 2026-01-31"),
        (["--start", "2026-02-30"], "--start: '2026-02-30' is no day"),
        (["--start", "1900-01-01"], "--start: 1900-01-01 is out of range"),
        (["--json", "--csv"], "not allowed with argument"),
    ],
)
def test_wrong_usage(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]):
    assert main(["simulate", CATALOGUE, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
    assert "Traceback" not in err


def test_a_catalogue_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["simulate", str(tmp_path / "none.yaml")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    bad = tmp_path / "bad.yaml"
    bad.write_text("plans: 5\n")
    assert main(["simulate", str(bad)]) == 1
    assert f"{bad}:1: plans: 5 is not a mapping" in capsys.readouterr().err


def test_books_are_kept_and_audited_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "books.sqlite"
    few = ["simulate", CATALOGUE, "--members", "1", "--database", str(path)]
    assert main(few) == 0
    capsys.readouterr()
    assert main(["audit", "--database", str(path), "--catalogue", CATALOGUE]) == 0
    assert capsys.readouterr().out.startswith("audit: clean; 1 members")
    # A second time there are books in it already.
    assert main(few) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert "--database: There is something in this database already. Name an empty one" in err


def test_a_database_with_anything_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    assert main(["simulate", CATALOGUE, "--database", f"sqlite:///{path}"]) == 1
    assert "There is something in this database" in capsys.readouterr().err
    with sqlite3.connect(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == [("precious",)]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/nowhere/at/all/books.sqlite", "cannot be opened"),
        ("mysql://host/books", "not a database that the books can be kept in"),
        ("postgresql+psycopg://nobody@127.0.0.1:1/books", "cannot be reached"),
        ("what is this://", "cannot be read"),
    ],
)
def test_databases_that_cannot_be_opened(
    url: str, expected: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["simulate", CATALOGUE, "--database", url]) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert expected in err


def test_books_that_do_not_add_up_are_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    class Lossy:
        """Mislays one grain of what was consumed."""

        def __init__(self, ledger: Ledger) -> None:
            self._ledger = ledger

        def __getattr__(self, name: str) -> object:
            return getattr(self._ledger, name)

        def totals(self) -> dict[str, int]:
            totals = self._ledger.totals()
            return {**totals, "consumed_grains": totals["consumed_grains"] - 1}

    monkeypatch.setattr(command, "open_ledger", lambda *args: Lossy(open_ledger(*args)))
    assert main(["simulate", CATALOGUE, "--members", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "consumption: the books say" in err and "(difference -1)" in err
    assert "the books do not add up" in err
    assert "Traceback" not in err
