"""The triggers that keep the truth: put in by migrations, checked at each start.

Some make tables append-only, those of `jhub_tokens.ledger.posting` keep closed months closed.

What is checked is what they do, not what they are called: a trigger that is switched off, sits on
another table, fires for less, or calls a function that lets changes pass is as good as missing.
Whoever owns the tables can always get past them, in a session of their own and without leaving a
trace here; that is why the service of a larger hub runs as a role that owns nothing
(`jhub_tokens.ledger.privileges`), and why the audit reads the chain of hashes.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from jhub_tokens.ledger.posting import postgresql_triggers, sqlite_triggers
from jhub_tokens.ledger.store import DatabaseProblem

__all__ = ["FINANCE_TABLES", "GUARDED_TABLES", "check_guards", "install_guards"]

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
    "admin_acts",
    *FINANCE_TABLES,
)
#: Each operation that is refused, and PostgreSQL's code for a trigger before it, one a statement.
_BEFORE_STATEMENT = 2
_OPERATIONS = {
    "DELETE": _BEFORE_STATEMENT | 8,
    "UPDATE": _BEFORE_STATEMENT | 16,
    "TRUNCATE": _BEFORE_STATEMENT | 32,
}
_ON_SQLITE = ("DELETE", "UPDATE")
#: The same code for a trigger after an INSERT, one a row.
_AFTER_INSERTED_ROW = 1 | 4
_FUNCTION = "BEGIN RAISE EXCEPTION '% are append-only', TG_TABLE_NAME; END"
#: Beyond `tgenabled`: a condition or a list of columns lets some changes pass.
_TRIGGERS = text(
    "SELECT t.tgname AS name, c.relname AS table_name, t.tgtype AS type, "
    "t.tgenabled IN ('O', 'A') AS enabled, "
    "t.tgqual IS NULL AND cardinality(t.tgattr::int2[]) = 0 AS whole, "
    "l.lanname AS language, p.prosrc AS source "
    "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid "
    "JOIN pg_language l ON l.oid = p.prolang "
    "WHERE NOT t.tgisinternal AND t.tgrelid IN "
    "(SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) AS names (name))"
)
_REMEDY = "Restore the database from a backup; nothing may write to books without guards."


def _name(table: str, operation: str) -> str:
    return f"guard_{table}_{operation.lower()}"


def _on_sqlite(table: str, operation: str) -> str:
    return (
        f"CREATE TRIGGER {_name(table, operation)} BEFORE {operation} ON {table} BEGIN "
        f"SELECT RAISE(ABORT, '{table} are append-only'); END"
    )


def install_guards(connection: Connection, tables: Sequence[str] = _BOOKS) -> None:
    """Make tables append-only, by triggers; called by migrations.

    A batch migration on SQLite rebuilds a table and silently loses its triggers: call this
    again after one.
    """
    if connection.dialect.name == "sqlite":
        for table in tables:
            for operation in _ON_SQLITE:
                connection.execute(text(f"DROP TRIGGER IF EXISTS {_name(table, operation)}"))
                connection.execute(text(_on_sqlite(table, operation)))
        return
    connection.execute(
        text(
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ {_FUNCTION} $$"
        )
    )
    for table in tables:
        for operation in _OPERATIONS:
            name = _name(table, operation)
            connection.execute(text(f"DROP TRIGGER IF EXISTS {name} ON {table}"))
            connection.execute(
                text(
                    f"CREATE TRIGGER {name} BEFORE {operation} ON {table} "
                    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
                )
            )


def check_guards(connection: Connection) -> None:
    """See that every guard stands and does its work.

    Raises
    ------
    DatabaseProblem
        If one is missing, switched off, changed, or passed by for this connection.
    """
    if connection.dialect.name == "sqlite":
        _check_on_sqlite(connection)
        return
    role = connection.execute(text("SHOW session_replication_role")).scalar_one()
    if role == "replica":
        raise DatabaseProblem(
            "The books are not guarded against changes: session_replication_role is 'replica' "
            "for this role or database, which passes triggers by.",
            "Undo it: ALTER ROLE … RESET session_replication_role, or the same for the database.",
        )
    wanted = _on_postgresql()
    tables = sorted({table for table, _, _ in wanted.values()})
    rows = connection.execute(_TRIGGERS, {"tables": tables}).all()
    found = {(row.table_name, row.name): row for row in rows}
    for name, (table, type_, body) in wanted.items():
        row = found.get((table, name))
        if row is None:
            _fail(name, "is missing")
        elif not row.enabled:
            _fail(name, "is switched off")
        elif row.type != type_ or not row.whole:
            _fail(name, "does not fire for every change")
        elif row.language != "plpgsql" or _squeezed(row.source) != body:
            _fail(name, "calls a function that is not ours")


def _on_postgresql() -> dict[str, tuple[str, int, str]]:
    """Return for each trigger its table, when it fires, and what its function says."""
    wanted = {
        _name(table, operation): (table, type_, _FUNCTION)
        for table in GUARDED_TABLES
        for operation, type_ in _OPERATIONS.items()
    }
    for name, (table, body) in postgresql_triggers().items():
        wanted[name] = (table, _AFTER_INSERTED_ROW, body)
    return wanted


def _check_on_sqlite(connection: Connection) -> None:
    query = text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
    found = {row.name: row for row in connection.execute(query).all()}
    wanted = {
        _name(table, operation): (table, _on_sqlite(table, operation))
        for table in GUARDED_TABLES
        for operation in _ON_SQLITE
    }
    for name, (table, statement) in {**wanted, **sqlite_triggers()}.items():
        row = found.get(name)
        if row is None:
            _fail(name, "is missing")
        elif row.tbl_name != table or _squeezed(row.sql) != statement:
            _fail(name, "is not what these books put there")


def _squeezed(source: str) -> str:
    return " ".join(source.split())


def _fail(name: str, how: str) -> None:
    raise DatabaseProblem(
        f"The books are not guarded against changes: trigger {name} {how}.", _REMEDY
    )
