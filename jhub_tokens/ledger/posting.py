"""Which month a transaction belongs to, and the triggers that keep closed months closed.

A transaction is *posted* to the instant that it is about, unless that lies in a closed month:
then to the first open instant, with a row in `late_postings` that names the month. The database
itself writes that row, so that no writer, whatever its release, its clock or its moment, puts an
entry into a closed month.

On PostgreSQL whoever writes holds a shared lock to the end of its transaction, and whoever
closes waits for the lock alone: what was under way before is in the month's figures, what comes
later sees the month closed. SQLite has one writer anyway.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, case, text

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.rows import ENDS

__all__ = [
    "close_gate",
    "effective_ms",
    "install_posting",
    "postgresql_triggers",
    "sqlite_triggers",
]

#: A table that is posted, with its key and the instant that a row of it is about. What is about
#: a span that ends with a month belongs to that month, see `rows.ENDS`.
_ENDS = ", ".join(f"'{kind}'" for kind in ENDS)
_POSTED = {
    "transactions": (
        "transaction_id",
        f"(NEW.at_ms - CASE WHEN NEW.kind IN ({_ENDS}) THEN 1 ELSE 0 END)",
    ),
    "money_moves": ("move_id", "NEW.at_ms"),
}
#: Shared by whoever posts, held alone by whoever closes.
_GATE = 0x6A74_636D


def effective_ms(table: Any = schema.transactions) -> Any:
    """Return the instant by which a transaction belongs to a month, as SQL."""
    return table.c.at_ms - case((table.c.kind.in_(ENDS), 1), else_=0)


def close_gate(connection: Connection) -> None:
    """Wait for all that is being posted, and let nobody post before this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_GATE})"))


def install_posting(connection: Connection) -> None:
    """Make the triggers; called by migrations.

    Whoever changes what they say writes a migration that calls this again: at every start the
    triggers are compared with what is said here.
    """
    if connection.dialect.name == "sqlite":
        for name, (_, statement) in sqlite_triggers().items():
            connection.execute(text(f"DROP TRIGGER IF EXISTS {name}"))
            connection.execute(text(statement))
        return
    for name, (table, body) in postgresql_triggers().items():
        connection.execute(
            text(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
                f" AS $$ {body} $$"
            )
        )
        connection.execute(text(f"DROP TRIGGER IF EXISTS {name} ON {table}"))
        connection.execute(
            text(
                f"CREATE TRIGGER {name} AFTER INSERT ON {table}"
                f" FOR EACH ROW EXECUTE FUNCTION {name}()"
            )
        )


def _late_row(key: str, instant: str) -> str:
    return (
        "INSERT INTO late_postings (item_id, month, posted_ms)"
        f" SELECT NEW.{key},"
        # Before the first month that was closed, everything belongs to that one.
        f" coalesce((SELECT month FROM closed_months WHERE start_ms <= {instant}"
        " ORDER BY start_ms DESC LIMIT 1), min(month)), max(end_ms) FROM closed_months"
    )


def sqlite_triggers() -> dict[str, tuple[str, str]]:
    """Return for each trigger on SQLite its table and the statement that makes it."""
    return {
        f"post_{table}": (
            table,
            f"CREATE TRIGGER post_{table} AFTER INSERT ON {table}"
            f" WHEN {instant} < (SELECT max(end_ms) FROM closed_months)"
            f" BEGIN {_late_row(key, instant)}; END",
        )
        for table, (key, instant) in _POSTED.items()
    }


def postgresql_triggers() -> dict[str, tuple[str, str]]:
    """Return for each trigger on PostgreSQL its table and the body of its function."""
    return {
        f"post_{table}": (
            table,
            "BEGIN"
            f" PERFORM pg_advisory_xact_lock_shared({_GATE});"
            # A statement of its own, so that it sees a close that was waited for.
            f" IF {instant} < (SELECT max(end_ms) FROM closed_months) THEN"
            f" {_late_row(key, instant)};"
            " END IF; RETURN NULL; END",
        )
        for table, (key, instant) in _POSTED.items()
    }
