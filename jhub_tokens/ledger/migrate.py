"""Bringing a database to this release's schema, and checking that it may be worked with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from jhub_tokens.ledger.guards import FINANCE_TABLES, GUARDED_TABLES, check_guards, install_guards
from jhub_tokens.ledger.privileges import check_privileges
from jhub_tokens.ledger.store import DatabaseProblem, Store, unbound

__all__ = [
    "FINANCE_TABLES",
    "GUARDED_TABLES",
    "Revisions",
    "install_guards",
    "revisions",
    "upgrade",
]

_MIGRATIONS = Path(__file__).parent / "migrations"
#: Serialises upgrades by several replicas on PostgreSQL.
_UPGRADE_LOCK = 0x6A74
_AS_OWNER = "Run `jhub-tokens migrate` as the owner of the database."


@dataclass(frozen=True, slots=True)
class Revisions:
    """Which schema a database has (None: none yet), and which this release works with."""

    current: str | None
    head: str


def upgrade(store: Store, *, may_change: bool = True) -> Revisions:
    """See that the schema is this release's and guarded; create or upgrade it if need be.

    An upgrade is one transaction: all of it, or nothing. Where the schema is this release's
    already, nothing but reading is done, so that a role which owns nothing will do.

    Parameters
    ----------
    store
        The database.
    may_change
        Whether the schema may be created or upgraded, if the role owns it.

    Returns
    -------
    Revisions
        What was found.

    Raises
    ------
    DatabaseProblem
        If the database is of a newer release, belongs to something else, lacks a guard or a
        privilege, or is of an older release and must not be changed.
    """
    with store.write() as connection:
        unbound(connection)
        found = revisions(connection)
        if found.current != found.head:
            _must_be_ours_to_change(connection, found, may_change=may_change)
            if not store.is_sqlite:
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
                found = revisions(connection)  # another replica may have been faster
            if found.current != found.head:
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        check_guards(connection)
        if not store.is_sqlite:
            check_privileges(connection)
    return found


def revisions(connection: Connection) -> Revisions:
    """Return which schema the database has.

    Raises
    ------
    DatabaseProblem
        If it is of a newer release, or belongs to something else.
    """
    script = ScriptDirectory.from_config(_config())
    head = script.get_current_head()
    assert head is not None, "the migrations are one chain"
    _must_be_readable(connection)
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
    return Revisions(current, head)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _must_be_readable(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        return
    query = "SELECT has_table_privilege(to_regclass('alembic_version'), 'SELECT')"
    if connection.execute(text(query)).scalar() is False:  # None: there is no such table
        role = connection.execute(text("SELECT current_user")).scalar_one()
        raise DatabaseProblem(
            f"The database role {role!r} may not read the books.",
            f"Run `jhub-tokens migrate --grant-to {role}` as the owner of the tables.",
        )


def _must_be_ours_to_change(connection: Connection, found: Revisions, *, may_change: bool) -> None:
    """Refuse before anything is tried: DDL that fails half-way tells an operator little."""
    has = "no schema yet" if found.current is None else f"schema {found.current}"
    behind = f"The database has {has}, and this release needs schema {found.head}"
    if not may_change:
        raise DatabaseProblem(f"{behind}; this process may not change it.", _AS_OWNER)
    if connection.dialect.name == "sqlite":
        return
    query = (
        "SELECT has_schema_privilege(current_schema(), 'CREATE')"
        if found.current is None
        else "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class "
        "WHERE oid = to_regclass('alembic_version')"
    )
    if not connection.execute(text(query)).scalar():
        role = connection.execute(text("SELECT current_user")).scalar_one()
        raise DatabaseProblem(f"{behind}; the role {role!r} does not own it.", _AS_OWNER)
