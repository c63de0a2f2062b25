"""What runs now, at what burn, and who runs dry soon: from stored instants, computed for nobody."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.member_list import is_low
from jhub_tokens.ledger.oversight_records import (
    DrySoon,
    Figures,
    Fleet,
    FleetGroup,
    FleetRow,
    Place,
    SessionPast,
    TopConsumer,
)
from jhub_tokens.ledger.reads import add_up, exact_sum
from jhub_tokens.ledger.sessions import session_record

__all__ = ["DRY_LISTED", "HOUR_MS", "figures", "fleet", "past_sessions", "top_consumers"]

HOUR_MS = 3_600_000
#: Wallets about to run dry that are listed.
DRY_LISTED = 50
_m, _s, _w, _t = schema.members, schema.sessions, schema.wallets, schema.teams
_OPEN = and_(_s.c.settled.is_(False), _s.c.ended_ms.is_(None))
#: Servers that nothing ends come last.
_LATEST_MS = 1 << 62
#: See `reads.exact_sum`: what the two halves of a sum are told apart by.
_HALF = 1 << 31
_ends_ms = func.coalesce(_s.c.cut_ms, _LATEST_MS)
_ready = case((_s.c.ready_ms.is_not(None), 1), else_=0)
_burn = case((_s.c.ready_ms.is_not(None), _s.c.rate_mtok_h), else_=0)


def figures(connection: Connection, catalogue: Catalogue, now_ms: int) -> Figures:
    """Return the key figures; see `OversightBooks.figures`."""
    count = func.count()
    total, ready, burn = connection.execute(
        select(count, func.sum(_ready), func.sum(_burn)).select_from(_s).where(_OPEN)
    ).one()
    low = select(count).select_from(_w).where(is_low())
    known = select(count).select_from(_m).where(_m.c.state != "erased")
    soon = select(count).select_from(_w).where(*_dry_by(now_ms + HOUR_MS))
    return Figures(
        now_ms,
        int(connection.execute(known).scalar_one()),
        int(ready or 0),
        int(total) - int(ready or 0),
        int(burn or 0),
        int(connection.execute(soon).scalar_one()),
        int(connection.execute(low).scalar_one()),
    )


def fleet(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    profiles: tuple[str, ...] | None,
    size: int,
    after: Place | None,
) -> Fleet:
    """Return what runs; see `OversightBooks.fleet`."""
    by = (_s.c.profile, func.coalesce(_s.c.gpu_model, ""))
    grouped = select(*by, func.count(), func.sum(_ready), func.sum(_burn)).where(_OPEN)
    groups = [
        FleetGroup(profile, model, int(ready), int(count) - int(ready), int(burn))
        for profile, model, count, ready, burn in connection.execute(
            grouped.group_by(*by).order_by(func.sum(_burn).desc(), *by)
        )
    ]
    query = (
        select(_s, _m.c.name, _t.c.name.label("team"), _ends_ms.label("sort_key"))
        .join(_m, _m.c.member_id == _s.c.member_id)
        .join(_w, _w.c.wallet_id == _s.c.wallet_id)
        .outerjoin(_t, _t.c.team_id == _w.c.team_id)
        .where(_OPEN)
        .order_by(_ends_ms, _s.c.session_id)
        .limit(size + 1)
    )
    if profiles is not None:
        query = query.where(_s.c.profile.in_(profiles))
    if after is not None:
        same = and_(_ends_ms == after[0], _s.c.session_id > after[1])
        query = query.where(or_(_ends_ms > after[0], same))
    rows = connection.execute(query).mappings().all()
    shown = rows[:size]
    last = shown[-1] if len(rows) > size else None
    soon, more = _dry_soon(connection, now_ms)
    return Fleet(
        now_ms,
        tuple(groups),
        tuple(
            FleetRow(session_record(row, _cost(row, now_ms)), row["name"], row["team"] or "")
            for row in shown
        ),
        None if last is None else (last["sort_key"], last["session_id"]),
        soon,
        more,
    )


def _cost(row: Any, now_ms: int) -> int:
    """Return what a session has cost to now: rate × time, less what was given back."""
    if row["ready_ms"] is None:
        return 0
    return int(row["rate_mtok_h"] * max(0, now_ms - row["ready_ms"]) - row["refunded_grains"])


def _dry_by(until_ms: int) -> tuple[Any, ...]:
    return _w.c.open_sessions > 0, _w.c.dry_ms <= until_ms


def _dry_soon(connection: Connection, now_ms: int) -> tuple[tuple[DrySoon, ...], bool]:
    query = (
        select(
            _w.c.dry_ms,
            _w.c.open_sessions,
            func.coalesce(_m.c.member_id, "").label("member_id"),
            func.coalesce(_m.c.name, _t.c.name).label("name"),
        )
        .outerjoin(_m, _m.c.member_id == _w.c.member_id)
        .outerjoin(_t, _t.c.team_id == _w.c.team_id)
        .where(*_dry_by(now_ms + HOUR_MS))
        .order_by(_w.c.dry_ms, _w.c.wallet_id)
        .limit(DRY_LISTED + 1)
    )
    rows = connection.execute(query).mappings().all()
    found = tuple(
        DrySoon(row["member_id"], row["name"], row["dry_ms"], row["open_sessions"])
        for row in rows[:DRY_LISTED]
    )
    return found, len(rows) > DRY_LISTED


def past_sessions(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str, limit: int
) -> tuple[SessionPast, ...]:
    """Return a member's latest sessions; see `OversightBooks.sessions`."""
    query = (
        select(_s, _t.c.name.label("team"))
        .join(_w, _w.c.wallet_id == _s.c.wallet_id)
        .outerjoin(_t, _t.c.team_id == _w.c.team_id)
        .where(_s.c.member_id == member_id)
        .order_by(_s.c.admitted_ms.desc(), _s.c.session_id)
        .limit(limit)
    )
    return tuple(
        SessionPast(
            session_record(row, row["charged_grains"] if row["settled"] else _cost(row, now_ms)),
            row["team"] or "",
            row["refunded_grains"],
        )
        for row in connection.execute(query).mappings()
    )


def top_consumers(
    connection: Connection, catalogue: Catalogue, now_ms: int, from_ms: int, to_ms: int, limit: int
) -> tuple[TopConsumer, ...]:
    """Return who consumed most; see `OversightBooks.top_consumers`."""
    e, t, sub = schema.entries, schema.transactions, schema.subscriptions
    high, low = exact_sum(e.c.amount_grains)
    sums = (
        select(
            _s.c.member_id,
            high.label("high"),
            low.label("low"),
            func.count(_s.c.session_id.distinct()).label("sessions"),
        )
        .select_from(t)
        .join(e, e.c.transaction_id == t.c.transaction_id)
        .join(_s, _s.c.session_id == e.c.session_id)
        .where(t.c.at_ms > from_ms, t.c.at_ms <= to_ms, e.c.account == "consumed")
        .group_by(_s.c.member_id)
        .subquery()
    )
    query = (
        select(sums, _m.c.name, sub.c.plan)
        .join(_m, _m.c.member_id == sums.c.member_id)
        .join(sub, sub.c.member_id == sums.c.member_id)
        .order_by(
            (sums.c.high + sums.c.low.op("/")(_HALF)).desc(), (sums.c.low % _HALF).desc(), _m.c.name
        )
        .limit(limit)
    )
    return tuple(
        TopConsumer(
            row["member_id"],
            row["name"],
            row["plan"],
            add_up(row["high"], row["low"]),
            row["sessions"],
        )
        for row in connection.execute(query).mappings()
    )
