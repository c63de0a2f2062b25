"""``seal`` and ``audit --seals`` on real books."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from jhub_tokens.cli import main

from .test_books import database

__all__ = ["database"]


def test_seals_are_made_printed_and_kept(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "seals.jsonl"
    assert main(["seal", "--keep", str(file)]) == 0
    assert capsys.readouterr().out.startswith("2 wallets sealed; seal 1 is ")
    assert main(["grant", "ada", "5", "--reason", "test"]) == 0
    assert main(["seal", "--keep", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (told["last"]["seal"], told["made"], told["kept"]) == (2, [2], 1)
    assert main(["seal"]) == 0
    assert capsys.readouterr().out == f"no change; seal 2 is {told['last']['hash']}\n"
    assert len(file.read_text().splitlines()) == 2
    assert main(["audit", "--seals", str(file)]) == 0


def test_what_was_taken_from_the_books_is_found_by_what_was_kept(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "seals.jsonl"
    before = database.read_bytes()
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = database.read_bytes()
    assert main(["grant", "ada", "-5", "--reason", "test"]) == 0
    assert main(["seal", "--keep", str(file)]) == 0
    for leftover in database.parent.glob("tokens.sqlite-*"):
        leftover.unlink()
    database.write_bytes(before)  # an old backup in place of the books
    capsys.readouterr()
    assert main(["audit"]) == 0, "the control: by itself the old book is clean"
    assert main(["audit", "--seals", str(file)]) == 1
    err = capsys.readouterr().err
    assert "seal 1: was kept outside and is gone from the books" in err
    assert "transactions 2 to 2: the tail was cut" in err


def test_a_file_that_is_no_file_of_seals(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["audit", "--seals", str(tmp_path / "none")]) == 2
    assert "none: cannot be read" in capsys.readouterr().err
    assert main(["seal", "--keep", str(tmp_path / "none" / "file")]) == 1
    assert "check the path" in capsys.readouterr().err
