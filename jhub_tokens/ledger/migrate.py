"""Bringing a database to this release's schema, and checking that its guards stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from jhub_tokens.ledger.posting import POSTING_TRIGGERS
from jhub_tokens.ledger.store import DatabaseProblem, Store, unbound

__all__ = ["FINANCE_TABLES", "GUARDED_TABLES", "install_guards", "upgrade"]

_BOOKS = ("entries", "transactions")
#: Those of finance.
FINANCE_TABLES = (
    "closed_figures",
    "closed_months",
    "closed_reports",
    "erasures",
    "late_postings",
    "money_moves",
)
#: Tables that are only ever appended to.
GUARDED_TABLES = (
    *_BOOKS,
    "seals",
    "seal_heads",
    "break_glass_acts",
    "break_glass_ends",
    "break_glass_starts",
    *FINANCE_TABLES,
)
_OPERATIONS = ("UPDATE", "DELETE")
_MIGRATIONS = Path(__file__).parent / "migrations"
#: Serialises upgrades by several replicas on PostgreSQL.
_UPGRADE_LOCK = 0x6A74


def upgrade(store: Store) -> None:
    """Create or upgrade the schema in one transaction, then check the guards.

    Raises
    ------
    DatabaseProblem
        If the database is of a newer release, belongs to something else, or lacks a guard.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    with store.write() as connection:
        unbound(connection)
        if not store.is_sqlite:
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
        current = MigrationContext.configure(connection).get_current_revision()
        known = {revision.revision for revision in script.walk_revisions()}
        if current is not None and current not in known:
            raise DatabaseProblem(
                f"The database has schema {current}, which is newer than this release knows.",
                "Install the release that wrote it, or a later one; nothing was changed.",
            )
        if current is None and "transactions" in inspect(connection).get_table_names():
            raise DatabaseProblem(
                "The database has a table `transactions` that these books did not make.",
                "Name an empty database.",
            )
        if current != script.get_current_head():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        _check_guards(connection, store.is_sqlite)


def _guard_name(table: str, operation: str) -> str:
    return f"guard_{table}_{operation.lower()}"


def install_guards(connection: Connection, tables: Sequence[str] = _BOOKS) -> None:
    """Make tables append-only, by triggers; called by migrations.

    A batch migration on SQLite rebuilds a table and silently loses its triggers: call this
    again after one.
    """
    if connection.dialect.name == "sqlite":
        for table in tables:
            for operation in _OPERATIONS:
                name = _guard_name(table, operation)
                connection.execute(text(f"DROP TRIGGER IF EXISTS {name}"))
                connection.execute(
                    text(
                        f"CREATE TRIGGER {name} BEFORE {operation} ON {table} BEGIN "
                        f"SELECT RAISE(ABORT, '{table} are append-only'); END"
                    )
                )
        return
    connection.execute(
        text(
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% are append-only', TG_TABLE_NAME; END $$"
        )
    )
    for table in tables:
        for operation in (*_OPERATIONS, "TRUNCATE"):
            name = _guard_name(table, operation)
            connection.execute(text(f"DROP TRIGGER IF EXISTS {name} ON {table}"))
            connection.execute(
                text(
                    f"CREATE TRIGGER {name} BEFORE {operation} ON {table} "
                    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
                )
            )


def _check_guards(connection: Connection, is_sqlite: bool) -> None:
    if is_sqlite:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        operations: tuple[str, ...] = _OPERATIONS
    else:
        query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'"
        operations = (*_OPERATIONS, "TRUNCATE")
    present = set(connection.execute(text(query)).scalars())
    expected = {_guard_name(table, op) for table in GUARDED_TABLES for op in operations}
    expected |= set(POSTING_TRIGGERS)
    missing = sorted(expected - present)
    if missing:
        raise DatabaseProblem(
            f"The books are not guarded against changes: trigger {missing[0]} is missing.",
            "Restore the database from a backup; nothing may write to books without guards.",
        )
