"""Members page by page, for a hundred thousand: filtered, sorted and cut by the database.

A page begins where the one before ended, at a value and an id, so that the last page costs what
the first one does. Balances are sorted by as they were last booked, and shown projected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.cuts import dry_at
from jhub_tokens.ledger.loading import load_wallets
from jhub_tokens.ledger.membership import member_record, select_members
from jhub_tokens.ledger.oversight_records import MemberFilter, MemberList, Place, Sort
from jhub_tokens.ledger.reads import project
from jhub_tokens.ledger.records import MemberSummary

__all__ = [
    "COUNT_MAX",
    "is_low",
    "list_members",
    "matching_members",
    "named_members",
    "summaries_of",
]

#: Beyond it, a list says "more than": counting on would cost more than it tells.
COUNT_MAX = 1000
#: So many are looked up one by one.
_FEW = 2000
#: Parameters of one statement; both databases allow many more.
_AT_ONCE = 500
_m, _s, _w, _sub = schema.members, schema.sessions, schema.wallets, schema.subscriptions
#: The same wallets once more, in conditions beside a list that is sorted by them.
_theirs = _w.alias("theirs")


def is_low(wallets: Any = _w) -> ColumnElement[bool]:
    """Return the condition for a fifth of the allotment or less to be left, as booked."""
    # Whole numbers are divided, not cast: a float would not hold every amount.
    low: ColumnElement[bool] = wallets.c.balance_grains <= wallets.c.allotment_grains.op("/")(5)
    return and_(wallets.c.kind == "member", wallets.c.allotment_grains > 0, low)


def list_members(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    which: MemberFilter,
    sort: Sort,
    size: int,
    after: Place | None,
    before: Place | None,
) -> MemberList:
    """Return a page; see `OversightBooks.members`."""
    table, key, tie = _sorting(sort)
    conditions = _conditions(connection, which, now_ms)
    descending, backwards = sort.startswith("-"), before is not None
    down = descending is not backwards
    place = before or after
    query = select(_m.c.member_id, key.label("key"), tie.label("tie")).select_from(table)
    if place is not None:
        query = query.where(_beyond(key, tie, place, down=down))
    order = [key.desc(), tie.desc()] if down else [key, tie]
    found = connection.execute(query.where(*conditions).order_by(*order).limit(size + 1)).all()
    is_more, rows = len(found) > size, found[:size]
    if backwards:
        rows = rows[::-1]
    count = len(rows)
    if is_more or place is not None:
        count = _count(connection, select(_m.c.member_id).where(*conditions), COUNT_MAX + 1)
    first, last = ((rows[i].key, rows[i].tie) if rows else None for i in (0, -1))
    return MemberList(
        _summaries(connection, catalogue, now_ms, [row.member_id for row in rows]),
        min(count, COUNT_MAX),
        count > COUNT_MAX,
        first if (is_more if backwards else after is not None) else None,
        last if (is_more or backwards) else None,
    )


def matching_members(
    connection: Connection, catalogue: Catalogue, now_ms: int, which: MemberFilter, limit: int
) -> tuple[str, ...]:
    """Return the ids of the members that match, by name, `limit` of them at most."""
    query = (
        select(_m.c.member_id)
        .where(*_conditions(connection, which, now_ms))
        .order_by(_m.c.name, _m.c.member_id)
        .limit(limit)
    )
    return tuple(connection.execute(query).scalars())


def named_members(
    connection: Connection, catalogue: Catalogue, now_ms: int, wanted: Sequence[str]
) -> dict[str, str]:
    """Return the member id of each word that is a name that is held, or a member id."""
    found: dict[str, str] = {}
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        ids = select(_m.c.member_id).where(_m.c.member_id.in_(some))
        found |= {member_id: member_id for member_id in connection.execute(ids).scalars()}
        held = _m.c.holds_name.is_(True), _m.c.state != "erased"
        names = select(_m.c.name, _m.c.member_id).where(_m.c.name.in_(some), *held)
        found |= {name: member_id for name, member_id in connection.execute(names)}
    return found


def summaries_of(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_ids: Sequence[str]
) -> tuple[MemberSummary, ...]:
    """Return those of these members whom there are, in this order."""
    found: list[MemberSummary] = []
    for first in range(0, len(member_ids), _AT_ONCE):
        some = list(member_ids[first : first + _AT_ONCE])
        found += _summaries(connection, catalogue, now_ms, some)
    return tuple(found)


def _sorting(sort: Sort) -> tuple[Any, Any, Any]:
    """Return what to read from, what to sort by, and the id that tells equals apart."""
    match sort.removeprefix("-"):
        case "balance":
            of_members = and_(_w.c.member_id == _m.c.member_id, _w.c.kind == "member")
            return _w.join(_m, of_members), _w.c.balance_grains, _w.c.wallet_id
        case "used":
            return _m, func.coalesce(_m.c.last_used_ms, 0), _m.c.member_id
        case _:
            return _m, _m.c.name, _m.c.member_id


def _beyond(key: Any, tie: Any, place: Place, *, down: bool) -> ColumnElement[bool]:
    value, id_ = place
    further = key < value if down else key > value
    next_id = tie < id_ if down else tie > id_
    # The first part is for the index; alone it would show equals twice.
    bound = key <= value if down else key >= value
    return and_(bound, or_(further, and_(key == value, next_id)))


def _conditions(connection: Connection, which: MemberFilter, now_ms: int) -> list[Any]:
    found: list[Any] = [_m.c.state == which.state]
    if which.state not in ("active", "frozen", "erased"):
        found = [_m.c.state != "erased"]
    if which.search:
        found.append(_name_holds(connection, which.search))
    if which.plan:
        found.append(_among(connection, _sub.c.member_id, _sub.c.plan == which.plan))
    if which.team:
        t, tm = schema.teams, schema.team_members
        team = select(t.c.team_id).where(t.c.name == which.team).scalar_subquery()
        joined = and_(tm.c.team_id == team, tm.c.left_ms.is_(None))
        found.append(_m.c.member_id.in_(select(tm.c.member_id).where(joined)))
    match which.state:
        case "running":
            open_ones = _s.c.settled.is_(False), _s.c.ended_ms.is_(None)
            found.append(_m.c.member_id.in_(select(_s.c.member_id).where(*open_ones)))
        case "low":
            found.append(_among(connection, _theirs.c.member_id, is_low(_theirs)))
        case "dry":
            whose = select(_theirs.c.member_id)
            spent = whose.where(_theirs.c.kind == "member", _theirs.c.balance_grains <= 0)
            # Without the kind, which would choose another index; a team's has no member.
            dry = whose.where(_theirs.c.open_sessions > 0, _theirs.c.dry_ms <= now_ms)
            found.append(_m.c.member_id.in_(spent.union(dry)))
    return found


def _among(connection: Connection, member_id: Any, condition: Any) -> ColumnElement[bool]:
    """Return that a member is among those of another table who meet a condition.

    Few of them are best looked up one by one and then sorted; of many, the list soon comes
    upon enough as it goes. The database cannot know which it is without counting, nor can we.
    """
    some = select(member_id).where(condition)
    if _count(connection, some, _FEW + 1) <= _FEW:
        return _m.c.member_id.in_(some)
    return exists().where(member_id == _m.c.member_id, condition)


def _name_holds(connection: Connection, search: str) -> ColumnElement[bool]:
    if connection.dialect.name == "sqlite" and search.isascii():
        # SQLite's own LIKE ignores the case of ASCII, and is ten times as fast as our lower().
        return _m.c.name.contains(search, autoescape=True)
    return func.lower(_m.c.name).contains(search.lower(), autoescape=True)


def _count(connection: Connection, some: Any, limit: int) -> int:
    counted = some.limit(limit).subquery()
    return int(connection.execute(select(func.count()).select_from(counted)).scalar_one())


def _summaries(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_ids: list[str]
) -> tuple[MemberSummary, ...]:
    known = select_members().add_columns(_m.c.last_used_ms.label("used_ms"))
    of_page = connection.execute(known.where(_m.c.member_id.in_(member_ids))).mappings()
    by_id = {row["member_id"]: row for row in of_page}
    rows = [by_id[member_id] for member_id in member_ids if member_id in by_id]
    wallets = {
        wallet.wallet_id: wallet
        for wallet in load_wallets(
            connection, catalogue, now_ms, [row["wallet_id"] for row in rows], lock=False
        )
    }
    runs = {
        member_id: (count, int(rate))
        for member_id, count, rate in connection.execute(
            select(_s.c.member_id, func.count(), func.sum(_s.c.rate_mtok_h))
            .where(_s.c.member_id.in_(member_ids), _s.c.settled.is_(False), _s.c.ended_ms.is_(None))
            .group_by(_s.c.member_id)
        )
    }
    found = []
    for row in rows:
        wallet = wallets[row["wallet_id"]]
        view = project(wallet)
        running, burn = runs.get(row["member_id"], (0, 0))
        burns = wallet.running_sessions()
        found.append(
            MemberSummary(
                member_record(row),
                view.walked.balance(),
                view.allotment_grains,
                burn,
                running,
                dry_at(wallet, view.walked) if burns else None,
                row["used_ms"],
            )
        )
    return tuple(found)
