"""Whether the books are alive: who tells them, what is due, what waits to be carried out."""

from __future__ import annotations

from dataclasses import dataclass

from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema

__all__ = ["HubHeard", "Pulse", "pulse"]

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class HubHeard:
    """A hub and when its last snapshot came."""

    hub: str
    observed_ms: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """The state of the books at one instant."""

    as_of_ms: int
    dialect: str
    revision: str
    hubs: tuple[HubHeard, ...]
    due_since_ms: int | None  # since when the most overdue wallet with servers waits
    stop_orders: int
    oldest_stop_ms: int | None
    stops_failed: int  # of the standing ones, those that failed at least once
    unrouted: int  # notices that no channel was found for yet
    waiting: int  # deliveries on their way
    failed: int  # deliveries of the last day that were given up


def pulse(connection: Connection, catalogue: Catalogue, now_ms: int) -> Pulse:
    """Return the state of the books; see `OversightBooks.pulse`."""
    w, o, d, n = schema.wallets, schema.stop_orders, schema.deliveries, schema.notices
    count = func.count()

    def number(*conditions: object, table: object) -> int:
        query = select(count).select_from(table).where(*conditions)  # type: ignore[arg-type]
        return int(connection.execute(query).scalar_one())

    due = select(func.min(w.c.next_deadline_ms)).where(
        w.c.open_sessions > 0, w.c.next_deadline_ms <= now_ms
    )
    standing = o.c.closed_ms.is_(None)
    hubs = select(schema.hubs.c.hub, schema.hubs.c.observed_ms).order_by(schema.hubs.c.hub)
    given_up = (d.c.state == "failed", d.c.done_ms > now_ms - _DAY_MS)
    return Pulse(
        now_ms,
        connection.dialect.name,
        MigrationContext.configure(connection).get_current_revision() or "",
        tuple(HubHeard(*row) for row in connection.execute(hubs)),
        connection.execute(due).scalar(),
        number(standing, table=o),
        connection.execute(select(func.min(o.c.issued_ms)).where(standing)).scalar(),
        number(standing, o.c.detail.is_not(None), table=o),
        number(n.c.routed_ms.is_(None), table=n),
        number(d.c.state == "waiting", table=d),
        number(*given_up, table=d),
    )
