"""The database underneath the books: connections, transactions and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import QueuePool

__all__ = [
    "COLLIDED",
    "DatabaseProblem",
    "Store",
    "describe_failure",
    "open_engine",
    "unbound",
]

BUSY_TIMEOUT_MS = 10_000
#: A replica that is frozen within a transaction loses its locks before others lose patience.
LIMITS_MS = {
    "transaction_timeout": 15_000,
    "idle_in_transaction_session_timeout": 15_000,
    "lock_timeout": 20_000,
}
#: PostgreSQL's codes for a serialization failure and a deadlock, and for a lock not had in time.
COLLIDED = ("40001", "40P01")
_LOCK_TIMEOUT = "55P03"
_INSUFFICIENT_PRIVILEGE = "42501"


class DatabaseProblem(Exception):
    """The database cannot be used; says why and what to do, without a traceback to read."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


def open_engine(url: str) -> Engine:
    """Return an engine for `url`: ``sqlite:///path`` or ``postgresql+psycopg://…``.

    Raises
    ------
    DatabaseProblem
        If the URL cannot be read or names a database that this package does not know.
    """
    remedy = "Write sqlite:///path/to/tokens.sqlite or postgresql+psycopg://user@host/database."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseProblem("The database URL cannot be read.", remedy) from None
    if parsed.get_backend_name() == "postgresql" and "+" not in parsed.drivername:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseProblem(
            f"{parsed.get_backend_name()!r} is not a database that the books can be kept in.",
            remedy,
        )
    try:
        if parsed.get_backend_name() == "sqlite":
            if parsed.database in (None, "", ":memory:"):
                raise DatabaseProblem("The books cannot be kept in memory.", remedy)
            engine = create_engine(
                parsed,
                poolclass=QueuePool,
                connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
            )
            _prepare_sqlite(engine)
            return engine
        engine = create_engine(parsed, pool_pre_ping=True)
        _prepare_postgresql(engine)
        return engine
    except NoSuchModuleError as error:
        raise DatabaseProblem(f"The database driver is not installed: {error}.", remedy) from None


def _prepare_sqlite(engine: Engine) -> None:
    """Set what SQLite needs to hold money: WAL, full sync, one writer that waits its turn.

    SQLAlchemy's documented recipe: the driver's own transaction control is switched off, so
    that a write can begin IMMEDIATE. A deferred BEGIN that turns into a write fails with
    SQLITE_BUSY at once, whatever the timeout.
    """

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        # SQLite's own knows only ASCII; names are Unicode, and PostgreSQL's knows that.
        connection.create_function("lower", 1, _lower, deterministic=True)
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        # Without it, REPLACE deletes rows past the triggers that guard the entries.
        cursor.execute("PRAGMA recursive_triggers = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("jhub_tokens_writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(engine: Engine) -> None:
    """Bound how long a transaction may hold its locks, and how long others wait for them.

    What the operator has set, by role, database or URL, stands. A release of PostgreSQL that
    does not know a setting goes without it.
    """
    limits = ", ".join(f"('{name}', '{limit_ms}')" for name, limit_ms in LIMITS_MS.items())

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT set_config(name, value, false) FROM (VALUES {limits}) limits (name, value)"
                " WHERE current_setting(name, true) = '0'"
            )
        connection.commit()


def unbound(connection: Connection) -> None:
    """Let this transaction take as long as it needs: an upgrade, an audit of everything."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        if (connection.dialect.server_version_info or (0,)) >= (17,):
            connection.execute(text("SET LOCAL transaction_timeout = 0"))


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Store:
    """Transactions on the books' database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run one money operation: all of it is kept, or nothing."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run reads on one consistent view of the books."""
        options: dict[str, Any] = {"jhub_tokens_writes": False}
        if not self.is_sqlite:
            options["isolation_level"] = "REPEATABLE READ"
        with (
            self.engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def describe_failure(error: DBAPIError) -> DatabaseProblem:
    """Translate a driver's error into what an operator can act on."""
    said = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    lowered = said.lower()
    if getattr(error.orig, "sqlstate", None) in (*COLLIDED, _LOCK_TIMEOUT):
        return DatabaseProblem(
            f"Another operation was in the way ({said}).", "Try again; nothing was half-written."
        )
    if getattr(error.orig, "sqlstate", None) == _INSUFFICIENT_PRIVILEGE:
        return DatabaseProblem(
            f"The database role may not do that ({said}).",
            "Run `jhub-tokens migrate --grant-to ROLE` as the owner of the tables.",
        )
    if "disk i/o" in lowered:
        return DatabaseProblem(
            "The disk refuses to be written or read.",
            "See whether it is full, over a quota or failing; nothing was half-written.",
        )
    if "readonly" in lowered or "read-only" in lowered:
        return DatabaseProblem(
            "The database is read-only.", "Let the service's user write the file and its folder."
        )
    if "unable to open" in lowered:
        return DatabaseProblem(
            "The database file cannot be opened.",
            "Create its folder and let the service's user write there.",
        )
    if "not a database" in lowered or "malformed" in lowered:
        return DatabaseProblem(
            f"The file is not a sound SQLite database ({said}).",
            "Restore it from a backup, or name another file.",
        )
    if "disk" in lowered and "full" in lowered:
        return DatabaseProblem("The disk is full.", "Make room; nothing was half-written.")
    if "locked" in lowered or "busy" in lowered:
        return DatabaseProblem(
            "Another process holds the database.", "End it, or wait until it is done."
        )
    if isinstance(error, OperationalError):
        return DatabaseProblem(
            f"The database cannot be reached ({said}).",
            "Check the URL, that the server runs, and its name, password and network.",
        )
    return DatabaseProblem(f"The database refuses: {said}.", "See the service's log.")
