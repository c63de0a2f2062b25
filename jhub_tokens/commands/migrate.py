"""``jhub-tokens migrate``: what only the owner of the database does, apart from the service."""

from __future__ import annotations

import argparse
import os

from sqlalchemy.exc import DBAPIError

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import database_url
from jhub_tokens.ledger import DatabaseProblem, migrate
from jhub_tokens.ledger.privileges import grant_privileges, grant_statements
from jhub_tokens.ledger.store import Store, describe_failure, open_engine

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens migrate``."""
    parser.add_argument(
        "--database",
        metavar="URL",
        help="the books as their owner reaches them, an SQLAlchemy URL or the path of an SQLite "
        "file; environment: JHUB_TOKENS_DATABASE",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--grant-to",
        metavar="ROLE",
        help="afterwards give this role of PostgreSQL exactly what the service needs; repeat it "
        "after each upgrade",
    )
    what.add_argument(
        "--show-grants",
        metavar="ROLE",
        help="only write the statements that --grant-to would run",
    )
    what.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit code 1 if the schema is not this release's",
    )


def run(args: argparse.Namespace) -> int:
    """Create or upgrade the schema, or tell of it; return the exit code."""
    database = args.database or os.environ.get("JHUB_TOKENS_DATABASE")
    if not database:
        raise CommandError("no database: give --database URL or set JHUB_TOKENS_DATABASE", 2)
    try:
        store = Store(open_engine(database_url(database)))
        try:
            return _run(args, store)
        finally:
            store.close()
    except DBAPIError as error:
        raise CommandError(str(describe_failure(error))) from None
    except DatabaseProblem as error:
        raise CommandError(str(error)) from None


def _run(args: argparse.Namespace, store: Store) -> int:
    role = args.grant_to or args.show_grants
    if role and store.is_sqlite:
        raise CommandError("SQLite has no roles: whoever may write the file owns the books", 2)
    if args.check:
        return _check(store)
    if args.show_grants:
        with store.read() as connection:
            _must_be_head(migrate.revisions(connection))
            for statement in grant_statements(connection, role):
                print(f"{statement};")
        return 0
    found = migrate.upgrade(store)
    if found.current is None:
        print(f"schema {found.head} created")
    elif found.current == found.head:
        print(f"schema {found.head} is there already")
    else:
        print(f"schema upgraded from {found.current} to {found.head}")
    if role:
        with store.write() as connection:
            grant_privileges(connection, role)
        print(f"{role} may work with the books, and neither change nor remove what they hold")
    return 0


def _check(store: Store) -> int:
    with store.read() as connection:
        found = migrate.revisions(connection)
    if found.current == found.head:
        print(f"schema {found.head}, as this release needs it")
        return 0
    print(f"{_has(found)}; this release needs schema {found.head}: run `jhub-tokens migrate`")
    return 1


def _must_be_head(found: migrate.Revisions) -> None:
    if found.current != found.head:
        raise CommandError(f"{_has(found)}: run `jhub-tokens migrate` without --show-grants first")


def _has(found: migrate.Revisions) -> str:
    return f"the database has schema {found.current}" if found.current else "no schema yet"
