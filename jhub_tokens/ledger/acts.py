"""The audit log: who did what to whom, read from wherever it is written down.

Grants are transactions with remarks, changes of plan stand in `plan_changes`, and so on. Each of
these sources is asked for its latest acts before an instant, by an index of its own, and the
answers are merged: nothing is written down twice, and what was done before there was a log is
in it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, and_, func, insert, or_, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.oversight_records import Act, ActKind, ActsPage, Place
from jhub_tokens.ledger.rows import new_id

__all__ = ["ActFilter", "list_acts", "note", "note_act"]

#: Kinds of transactions that people make, as the log calls them.
_OF_TRANSACTIONS: dict[str, ActKind] = {
    "topup": "granted", "adjustment": "adjusted", "refund": "refunded",
}  # fmt: skip
#: What `admin_acts` holds.
NOTED: tuple[ActKind, ...] = (
    "frozen", "unfrozen", "stopped", "looked", "exported", "plan_kept", "follows_rules",
)  # fmt: skip
_members = schema.members


@dataclass(frozen=True, slots=True)
class ActFilter:
    """Which acts; what is empty does not matter. `to_ms` is exclusive."""

    kinds: frozenset[ActKind] = frozenset()
    actor: str = ""
    member_id: str = ""
    from_ms: int | None = None
    to_ms: int | None = None

    def wants(self, *kinds: ActKind) -> bool:
        """Tell whether any of these kinds is asked for."""
        return not self.kinds or not self.kinds.isdisjoint(kinds)


def note_act(
    connection: Connection,
    now_ms: int,
    kind: ActKind,
    actor: str,
    *,
    member_id: str | None = None,
    subject: str = "",
    reason: str = "",
) -> None:
    """Write down an act that no other table tells of."""
    act_id = new_id()
    row = {"act_id": act_id, "at_ms": now_ms, "kind": kind, "actor": actor[:255]}
    connection.execute(
        insert(schema.admin_acts), {**row, "member_id": member_id, "subject": subject[:200]}
    )
    if reason:
        connection.execute(insert(schema.admin_act_remarks), {"act_id": act_id, "reason": reason})


def note(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    kind: ActKind,
    actor: str,
    member_id: str | None,
    subject: str,
    once_in_ms: int,
) -> None:
    """Write an act down; see `OversightBooks.note`."""
    if once_in_ms:
        acts = schema.admin_acts
        same = select(acts.c.act_id).where(
            acts.c.actor == actor,
            acts.c.at_ms > now_ms - once_in_ms,
            acts.c.kind == kind,
            acts.c.subject == subject,
            acts.c.member_id == member_id if member_id else acts.c.member_id.is_(None),
        )
        if connection.execute(same.limit(1)).first() is not None:
            return
    note_act(connection, now_ms, kind, actor, member_id=member_id, subject=subject)


def list_acts(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    which: ActFilter,
    size: int,
    after: Place | None,
) -> ActsPage:
    """Return a page of acts, the latest first; see `OversightBooks.acts`."""
    found = [
        source(connection, which, size + 1, after)
        for kinds, source in _SOURCES
        if which.wants(*kinds)
    ]
    merged = heapq.merge(*found, key=_latest_first)
    acts = tuple(islice(merged, size + 1))
    shown = acts[:size]
    last = shown[-1] if len(acts) > size else None
    return ActsPage(shown, None if last is None else (last.at_ms, last.act_id))


def _latest_first(act: Act) -> tuple[int, _Down]:
    return -act.at_ms, _Down(act.act_id)


class _Down(str):
    """A text that sorts the other way round."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


class _Reading:
    """What all sources do alike: bounds, order and number."""

    def __init__(
        self, connection: Connection, which: ActFilter, limit: int, after: Place | None
    ) -> None:
        self.connection = connection
        self.which = which
        self.limit = limit
        self.after = after

    def rows(self, query: Any, at: Any, act_id: Any, actor: Any, member_id: Any) -> Iterator[Any]:
        """Yield the rows of a source, the latest first; `member_id` is None if it is of nobody."""
        which = self.which
        if which.member_id:
            if member_id is None:
                return
            query = query.where(member_id == which.member_id)
        if which.actor:
            query = query.where(actor == which.actor)
        if which.from_ms is not None:
            query = query.where(at >= which.from_ms)
        if which.to_ms is not None:
            query = query.where(at < which.to_ms)
        if self.after is not None:
            at_ms, last_id = self.after
            query = query.where(at <= at_ms, or_(at < at_ms, and_(at == at_ms, act_id < last_id)))
        query = query.order_by(at.desc(), act_id.desc()).limit(self.limit)
        yield from self.connection.execute(query).mappings()


Source = Callable[[Connection, ActFilter, int, Place | None], list[Act]]


def _transactions(
    connection: Connection, which: ActFilter, limit: int, after: Place | None
) -> list[Act]:
    t, w, r = schema.transactions, schema.wallets, schema.remarks
    kinds = [kind for kind, told in _OF_TRANSACTIONS.items() if which.wants(told)]
    query = (
        select(
            t.c.transaction_id,
            t.c.booked_ms,
            t.c.kind,
            t.c.change_grains,
            r.c.actor,
            r.c.reason,
            w.c.member_id,
            func.coalesce(_members.c.name, schema.teams.c.name).label("name"),
        )
        .join(r, r.c.transaction_id == t.c.transaction_id)
        .join(w, w.c.wallet_id == t.c.wallet_id)
        .outerjoin(_members, _members.c.member_id == w.c.member_id)
        .outerjoin(schema.teams, schema.teams.c.team_id == w.c.team_id)
        # As the index says it; of these kinds, those that are asked for.
        .where(t.c.kind.in_(list(_OF_TRANSACTIONS)), t.c.kind.in_(kinds))
    )
    reading = _Reading(connection, which, limit, after)
    return [
        Act(
            row["transaction_id"],
            row["booked_ms"],
            _OF_TRANSACTIONS[row["kind"]],
            row["actor"],
            row["member_id"] or "",
            row["name"] or "",
            amount_grains=row["change_grains"],
            reason=row["reason"],
        )
        for row in reading.rows(query, t.c.booked_ms, t.c.transaction_id, r.c.actor, w.c.member_id)
    ]


def _plans(connection: Connection, which: ActFilter, limit: int, after: Place | None) -> list[Act]:
    changes, sub = schema.plan_changes, schema.subscriptions
    query = (
        select(changes, sub.c.member_id, _members.c.name)
        .join(sub, sub.c.subscription_id == changes.c.subscription_id)
        .join(_members, _members.c.member_id == sub.c.member_id)
        .where(changes.c.kind.in_(("chosen", "cancel", "trial")))
    )
    reading = _Reading(connection, which, limit, after)
    return [
        Act(
            row["change_id"],
            row["created_ms"],
            "plan_changed",
            row["actor"],
            row["member_id"],
            row["name"],
            subject=row["plan"],
            reason=row["reason"],
        )
        for row in reading.rows(
            query, changes.c.created_ms, changes.c.change_id, changes.c.actor, sub.c.member_id
        )
    ]


def _noted(connection: Connection, which: ActFilter, limit: int, after: Place | None) -> list[Act]:
    acts, said = schema.admin_acts, schema.admin_act_remarks
    query = (
        select(acts, _members.c.name, func.coalesce(said.c.reason, "").label("reason"))
        .outerjoin(_members, _members.c.member_id == acts.c.member_id)
        .outerjoin(said, said.c.act_id == acts.c.act_id)
    )
    if which.kinds:
        query = query.where(acts.c.kind.in_(sorted(which.kinds)))
    reading = _Reading(connection, which, limit, after)
    return [
        Act(
            row["act_id"],
            row["at_ms"],
            row["kind"],
            row["actor"],
            row["member_id"] or "",
            row["name"] or "",
            subject=row["subject"],
            reason=row["reason"],
        )
        for row in reading.rows(query, acts.c.at_ms, acts.c.act_id, acts.c.actor, acts.c.member_id)
    ]


def _bulk(connection: Connection, which: ActFilter, limit: int, after: Place | None) -> list[Act]:
    acts = schema.bulk_acts
    reading = _Reading(connection, which, limit, after)
    return [
        Act(
            row["act_id"],
            row["made_ms"],
            "bulk",
            row["actor"],
            subject=row["action"],
            count=row["members"],
            reason=row["reason"],
        )
        for row in reading.rows(select(acts), acts.c.made_ms, acts.c.act_id, acts.c.actor, None)
    ]


def _vouchers_made(
    connection: Connection, which: ActFilter, limit: int, after: Place | None
) -> list[Act]:
    b = schema.voucher_batches
    reading = _Reading(connection, which, limit, after)
    return [
        Act(
            row["batch_id"],
            row["made_ms"],
            "vouchers_made",
            row["actor"],
            subject=row["batch_id"],
            amount_grains=row["amount_grains"],
            count=row["vouchers"],
            reason=row["note"],
        )
        for row in reading.rows(select(b), b.c.made_ms, b.c.batch_id, b.c.actor, None)
    ]


def _vouchers_revoked(
    connection: Connection, which: ActFilter, limit: int, after: Place | None
) -> list[Act]:
    b = schema.voucher_batches
    query = select(b).where(b.c.revoked_ms.is_not(None))
    reading = _Reading(connection, which, limit, after)
    return [
        Act(
            row["batch_id"],
            row["revoked_ms"],
            "vouchers_revoked",
            row["revoked_by"] or "",
            subject=row["batch_id"],
            count=row["vouchers"],
        )
        for row in reading.rows(query, b.c.revoked_ms, b.c.batch_id, b.c.revoked_by, None)
    ]


def _months(connection: Connection, which: ActFilter, limit: int, after: Place | None) -> list[Act]:
    months = schema.closed_months
    reading = _Reading(connection, which, limit, after)
    return [
        Act(
            row["month"],
            row["closed_ms"],
            "month_closed",
            row["actor"],
            subject=row["month"],
            reason=row["reason"],
        )
        for row in reading.rows(
            select(months), months.c.closed_ms, months.c.month, months.c.actor, None
        )
    ]


def _erasures(
    connection: Connection, which: ActFilter, limit: int, after: Place | None
) -> list[Act]:
    e = schema.erasures
    query = select(e, _members.c.name).join(_members, _members.c.member_id == e.c.member_id)
    reading = _Reading(connection, which, limit, after)
    return [
        Act(
            row["erasure_id"],
            row["erased_ms"],
            "erased",
            row["actor"],
            row["member_id"],
            row["name"],
            reason=row["reason"],
        )
        for row in reading.rows(query, e.c.erased_ms, e.c.erasure_id, e.c.actor, e.c.member_id)
    ]


def _break_glass(
    connection: Connection, which: ActFilter, limit: int, after: Place | None
) -> list[Act]:
    acts = schema.break_glass_acts
    reading = _Reading(connection, which, limit, after)
    return [
        Act(
            row["act_id"],
            row["opened_ms"],
            "break_glass",
            row["actor"],
            subject=row["hub"],
            reason=row["reason"],
        )
        for row in reading.rows(select(acts), acts.c.opened_ms, acts.c.act_id, acts.c.actor, None)
    ]


_SOURCES: tuple[tuple[tuple[ActKind, ...], Source], ...] = (
    (tuple(_OF_TRANSACTIONS.values()), _transactions),
    (("plan_changed",), _plans),
    (NOTED, _noted),
    (("bulk",), _bulk),
    (("vouchers_made",), _vouchers_made),
    (("vouchers_revoked",), _vouchers_revoked),
    (("month_closed",), _months),
    (("erased",), _erasures),
    (("break_glass",), _break_glass),
)
