"""Stamps: whether anything that a member's page shows was written since it was last looked at.

Whatever starts, becomes ready, is about to stop or ends changes its wallet's row, so a few columns
by index tell it, for many members at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable

from sqlalchemy import Connection, func, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema

__all__ = ["MEMBERS_MAX", "wallet_stamps"]

#: As many members as one call may ask of: databases bound the number of parameters.
MEMBERS_MAX = 500

_w, _m, _n, _tm = schema.wallets, schema.members, schema.notices, schema.team_members
_COLUMNS = (
    _w.c.transactions_count,
    _w.c.open_sessions,
    _w.c.next_deadline_ms,
    _w.c.dry_ms,
    _w.c.period_n,
)


def wallet_stamps(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_ids: Collection[str]
) -> dict[str, Hashable]:
    """Return a stamp for each member; see `Ledger.wallet_stamps`."""
    asked = list(member_ids)
    assert len(asked) <= MEMBERS_MAX, "more members than one call may ask of"
    parts: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    own = (
        select(_w.c.member_id, _m.c.state, *_COLUMNS)
        .join(_m, _m.c.member_id == _w.c.member_id)
        .where(_w.c.member_id.in_(asked))
    )
    teams = (
        select(_tm.c.member_id, _w.c.wallet_id, *_COLUMNS)
        .join(_w, _w.c.team_id == _tm.c.team_id)
        .where(_tm.c.member_id.in_(asked), _tm.c.left_ms.is_(None))
        .order_by(_w.c.wallet_id)
    )
    unseen = (
        select(_n.c.member_id, func.count(), func.max(_n.c.created_ms))
        .where(_n.c.member_id.in_(asked), _n.c.seen_ms.is_(None))
        .group_by(_n.c.member_id)
    )
    for query in (own, teams, unseen):
        for member_id, *stamp in connection.execute(query):
            parts[member_id].append(tuple(stamp))
    return {member_id: tuple(stamp) for member_id, stamp in parts.items()}
