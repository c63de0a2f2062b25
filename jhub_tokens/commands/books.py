"""What the commands on the books share: finding and opening database and catalogue."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from jhub_tokens.catalogue import Catalogue, CatalogueError, load_catalogue
from jhub_tokens.clock import SystemClock
from jhub_tokens.commands import CommandError
from jhub_tokens.demo.state import SETTINGS_FILE
from jhub_tokens.ledger import DatabaseProblem, Ledger, open_ledger
from jhub_tokens.ledger.records import LedgerError, MemberRecord

__all__ = [
    "OpenBooks",
    "add_arguments",
    "database_url",
    "find_member",
    "open_books",
    "print_json",
]


@dataclass(frozen=True, slots=True)
class OpenBooks:
    """The ledger and the catalogue that it keeps its books by."""

    ledger: Ledger
    catalogue: Catalogue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say where the books are."""
    group = parser.add_argument_group("where the books are")
    group.add_argument(
        "--database",
        metavar="URL",
        help="SQLAlchemy URL or path of an SQLite file; environment: JHUB_TOKENS_DATABASE",
    )
    group.add_argument(
        "--catalogue", metavar="FILE", help="the catalogue; environment: JHUB_TOKENS_CATALOGUE"
    )
    group.add_argument(
        "--state", metavar="DIR", help="state directory of a demo, instead of the two above"
    )
    parser.add_argument("--json", action="store_true", help="write JSON for programs")


@contextmanager
def open_books(args: argparse.Namespace) -> Iterator[OpenBooks]:
    """Open the books beside a service that may be running.

    Raises
    ------
    CommandError
        If they cannot be found or opened, or refuse what was asked of them.
    """
    database, catalogue_path = _places(args)
    try:
        catalogue = load_catalogue(catalogue_path)
        # To look at the books is no reason to change their schema under a running service.
        ledger = open_ledger(database, SystemClock(), lambda: catalogue, may_migrate=False)
        try:
            yield OpenBooks(ledger, catalogue)
        finally:
            ledger.close()
    except (CatalogueError, DatabaseProblem, LedgerError) as error:
        raise CommandError(str(error)) from None
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise CommandError(f"the database refuses: {reason}") from None


def database_url(database: str) -> str:
    """Return the URL of a database that is named by one, or by the path of an SQLite file."""
    return database if "://" in database else f"sqlite:///{Path(database).expanduser()}"


def find_member(ledger: Ledger, name: str) -> MemberRecord:
    """Return the member called `name`.

    Raises
    ------
    CommandError
        If the books know no such member.
    """
    member = ledger.member_by_name(name)
    if member is not None:
        return member
    rows, total = ledger.members(search=name, page_size=5)
    similar = ", ".join(row.member.name for row in rows)
    hint = f"did you mean {similar}?" if 0 < total <= 5 else "members appear when they sign in"
    raise CommandError(f"the books know no member called '{name}'; {hint}")


def print_json(value: Any) -> None:
    """Write `value` to the standard output as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _places(args: argparse.Namespace) -> tuple[str, str]:
    demo = _demo_settings(args.state) if args.state else {}
    database = args.database or demo.get("database") or os.environ.get("JHUB_TOKENS_DATABASE")
    catalogue = args.catalogue or demo.get("catalogue") or os.environ.get("JHUB_TOKENS_CATALOGUE")
    if not database:
        raise CommandError("no database: give --database URL or set JHUB_TOKENS_DATABASE", 2)
    if not catalogue:
        raise CommandError("no catalogue: give --catalogue FILE or set JHUB_TOKENS_CATALOGUE", 2)
    database = database_url(database)
    path = database.removeprefix("sqlite:///").partition("?")[0]
    if path != database.partition("?")[0] and not Path(path).is_file():
        # Opening would make an empty database, and an audit of nothing would be clean.
        raise CommandError(f"there is no database at {path}: check --database")
    return database, catalogue


def _demo_settings(state: str) -> dict[str, str]:
    try:
        settings = json.loads((Path(state) / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CommandError(f"{state} is not the state directory of a demo: check --state") from None
    return {str(key): str(value) for key, value in settings.items()}
