"""What a PostgreSQL role needs that works with the books and owns none of them.

The owner creates and upgrades the schema (``jhub-tokens migrate``); the service runs as another
role, which can add to the truth but neither change nor remove it, nor touch the triggers that
say so. What is not listed here is withheld: no table may be truncated, and rows are only removed
where they have served their time.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from jhub_tokens.ledger.guards import GUARDED_TABLES
from jhub_tokens.ledger.schema import metadata
from jhub_tokens.ledger.store import DatabaseProblem

__all__ = ["check_privileges", "grant_privileges", "grant_statements", "privileges"]

#: Only ever added to.
_APPENDED = frozenset({*GUARDED_TABLES, "payment_events", "tombstones", "wallet_periods"})
#: What has served its time is removed, and so is what is about a member who is erased.
_PRUNED = frozenset(
    {
        "deliveries",
        "member_facts",
        "member_settings",
        "notices",
        "server_reports",
        "ssh_keys",
        "voucher_tries",
    }
)
#: Alembic's; the service only looks at it.
_VERSION = "alembic_version"

_MISSING = text(
    "SELECT t.name, t.privilege "
    "FROM unnest(CAST(:tables AS text[]), CAST(:privileges AS text[])) AS t (name, privilege) "
    "WHERE NOT has_table_privilege(t.name, t.privilege) ORDER BY 1, 2 LIMIT 1"
)


def privileges() -> dict[str, tuple[str, ...]]:
    """Return for each table what the service's role may do there."""
    needed: dict[str, tuple[str, ...]] = {_VERSION: ("SELECT",)}
    for table in sorted(metadata.tables):
        needed[table] = ("SELECT", "INSERT")
        if table not in _APPENDED:
            needed[table] += ("UPDATE",)
        if table in _PRUNED:
            needed[table] += ("DELETE",)
    return needed


def grant_statements(connection: Connection, role: str) -> list[str]:
    """Return the statements that give `role` exactly what it needs, whatever it had.

    Raises
    ------
    DatabaseProblem
        If the server has no such role, or it owns the tables and so cannot be kept from anything.
    """
    known = text("SELECT 1 FROM pg_roles WHERE rolname = :role")
    if connection.execute(known, {"role": role}).first() is None:
        raise DatabaseProblem(
            f"The server has no role {role!r}.",
            f"Create it: CREATE ROLE {role} LOGIN PASSWORD '…'.",
        )
    owns = text(
        "SELECT pg_has_role(:role, c.relowner, 'USAGE') FROM pg_class c "
        "WHERE c.oid = to_regclass(:table)"
    )
    if connection.execute(owns, {"role": role, "table": _VERSION}).scalar():
        raise DatabaseProblem(
            f"The role {role!r} owns the tables, is a member of the role that does, or is a "
            "superuser: it can do everything there.",
            "Name another role, which owns nothing.",
        )
    quoted = connection.dialect.identifier_preparer.quote(role)
    statements = []
    schema = connection.execute(text("SELECT current_schema()")).scalar_one()
    enters = text("SELECT has_schema_privilege(:role, :schema, 'USAGE')")
    if not connection.execute(enters, {"role": role, "schema": schema}).scalar():
        place = connection.dialect.identifier_preparer.quote(schema)
        statements.append(f"GRANT USAGE ON SCHEMA {place} TO {quoted}")
    for table, needed in privileges().items():
        statements.append(f"REVOKE ALL ON TABLE {table} FROM {quoted}")
        statements.append(f"GRANT {', '.join(needed)} ON TABLE {table} TO {quoted}")
    return statements


def grant_privileges(connection: Connection, role: str) -> None:
    """Give `role` exactly what it needs.

    Raises
    ------
    DatabaseProblem
        If there is no such role, or it owns the tables.
    """
    for statement in grant_statements(connection, role):
        connection.exec_driver_sql(statement)


def check_privileges(connection: Connection) -> None:
    """See that this connection's role may do what the service does.

    Raises
    ------
    DatabaseProblem
        If it may not.
    """
    pairs = [(table, each) for table, needed in privileges().items() for each in needed]
    missing = connection.execute(
        _MISSING,
        {
            "tables": [table for table, _ in pairs],
            "privileges": [privilege for _, privilege in pairs],
        },
    ).first()
    if missing is not None:
        role = connection.execute(text("SELECT current_user")).scalar_one()
        raise DatabaseProblem(
            f"The database role {role!r} lacks the privilege {missing.privilege} on the table "
            f"{missing.name}.",
            f"Run `jhub-tokens migrate --grant-to {role}` as the owner of the tables.",
        )
