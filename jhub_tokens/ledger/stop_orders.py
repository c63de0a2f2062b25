"""Stop orders that stand, for hubs to carry out; `deadlines` gives them and closes them."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from jhub_tokens.ledger import membership, schema, sessions
from jhub_tokens.ledger.records import StopOrderRecord

__all__ = ["record_failure", "standing"]

_orders, _s, _m = schema.stop_orders, schema.sessions, schema.members


def standing(connection: Connection) -> tuple[StopOrderRecord, ...]:
    """Return the stop orders that stand, the oldest first."""
    query = (
        select(_orders.c.order_id, _orders.c.reason, _orders.c.issued_ms, _s)
        .join(_s, _s.c.session_id == _orders.c.session_id)
        .where(_orders.c.closed_ms.is_(None))
        .order_by(_orders.c.issued_ms, _orders.c.order_id)
    )
    found = []
    for row in connection.execute(query).mappings().all():
        member = membership.find_member(connection, _m.c.member_id == row["member_id"])
        assert member is not None
        found.append(
            StopOrderRecord(
                row["order_id"],
                sessions.session_record(row),
                membership.member_record(member),
                row["reason"],
                row["issued_ms"],
            )
        )
    return tuple(found)


def record_failure(connection: Connection, order_id: str, detail: str) -> None:
    """Note why a stop order could not be carried out."""
    noting = update(_orders).where(_orders.c.order_id == order_id)
    connection.execute(noting.values(detail=detail[:500]))
