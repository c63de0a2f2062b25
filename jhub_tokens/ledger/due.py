"""Wallets whose deadline has come: which of them are advanced first, and when to look again."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select

from jhub_tokens.burndown import FOREVER_MS
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.batches import Changed, change_wallets
from jhub_tokens.ledger.records import AdvanceReport
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["advance_due"]

_HEARD = select(func.max(schema.hubs.c.observed_ms))
_w = schema.wallets.c
_BURNING = _w.open_sessions > 0
_due = select(_w.wallet_id).order_by(_w.next_deadline_ms).limit(bindparam("limit"))
_DUE_BURNING = _due.where(_BURNING, _w.next_deadline_ms <= bindparam("until_ms")).with_for_update(
    skip_locked=True
)
_DUE_IDLE = _due.where(_w.next_deadline_ms <= bindparam("until_ms")).with_for_update(
    skip_locked=True
)
_NEXT_BURNING = select(func.min(_w.next_deadline_ms)).where(_BURNING)
_NEXT_BY = select(func.min(_w.next_deadline_ms)).where(
    _w.next_deadline_ms > bindparam("after_ms"), _w.next_deadline_ms <= bindparam("until_ms")
)


def advance_due(
    connection: Connection, catalogue: Catalogue, now_ms: int, limit: int
) -> AdvanceReport:
    """Advance up to `limit` wallets whose deadline has come; see `Ledger.advance_due`."""
    # An idle wallet renews only up to when a hub was last heard: a clock that jumped forward
    # renews and expires nothing by itself.
    heard_ms = min(now_ms, connection.execute(_HEARD).scalar() or 0)
    # Those that burn come first, by an index of their own: a hundred thousand renewals at
    # midnight must not delay a stop.
    asked = {"until_ms": now_ms, "limit": limit}
    wallet_ids = list(connection.execute(_DUE_BURNING, asked).scalars())
    if len(wallet_ids) < limit:
        asked = {"until_ms": heard_ms, "limit": limit - len(wallet_ids)}
        wallet_ids += set(connection.execute(_DUE_IDLE, asked).scalars()) - set(wallet_ids)
    done = Changed()
    if wallet_ids:
        done = change_wallets(connection, catalogue, now_ms, wallet_ids, OpenWallet.advance)
    return AdvanceReport(
        len(wallet_ids), _next_deadline_ms(connection, now_ms, heard_ms), done.stops, done.notices
    )


def _next_deadline_ms(connection: Connection, now_ms: int, heard_ms: int) -> int | None:
    """Return when to look again: what is due and was left for the next pass counts as well."""
    spans = ((-1, heard_ms), (now_ms, FOREVER_MS))
    found = [connection.execute(_NEXT_BURNING).scalar()]
    found += [
        connection.execute(_NEXT_BY, {"after_ms": after_ms, "until_ms": until_ms}).scalar()
        for after_ms, until_ms in spans
    ]
    return min((instant for instant in found if instant is not None), default=None)
