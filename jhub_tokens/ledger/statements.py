"""Statements: every token between two instants; opening plus lines is closing, to the grain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from jhub_tokens import burndown
from jhub_tokens.burndown import FOREVER_MS
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.finance_records import Basis
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.membership import find_member, member_record
from jhub_tokens.ledger.reads import Projection, add_up, exact_sum, project
from jhub_tokens.ledger.records import LedgerError, StatementEntry, StatementView
from jhub_tokens.ledger.rows import ENDS, is_before
from jhub_tokens.ledger.wallet import OVERRUN, OpenWallet
from jhub_tokens.periods import period, period_at

__all__ = [
    "charges_within",
    "periods",
    "periods_of",
    "statement",
    "statement_as_of",
    "statement_of",
    "used_within",
]


def periods(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> tuple[tuple[int, int], ...]:
    """Return the member's periods so far, newest first."""
    return periods_of(load_wallet(connection, catalogue, now_ms, member_id, lock=False))


def periods_of(wallet: OpenWallet) -> tuple[tuple[int, int], ...]:
    """Return a wallet's periods so far, newest first."""
    row = wallet.subscription
    spans = []
    n = wallet.row["period_n"] + sum(r.at_ms <= wallet.now_ms for r in wallet.renewals)
    while n >= 0:
        spans.append(period(row["anchor_ms"], n, row["zone"], row["terms"]["period"]))
        n -= 1
    return tuple(spans)


def statement(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    from_ms: int,
    to_ms: int,
) -> StatementView:
    """Return the statement of [`from_ms`, `to_ms`), projected to now where it is not over."""
    wallet = load_wallet(connection, catalogue, now_ms, member_id, lock=False)
    return statement_of(connection, wallet, member_id, from_ms, to_ms)


def statement_of(
    connection: Connection, wallet: OpenWallet, viewer_id: str, from_ms: int, to_ms: int
) -> StatementView:
    """Return the statement of a wallet that was read, for a member who may look at it."""
    opening, lines = _span(connection, wallet, project(wallet), from_ms, to_ms)
    return _view(connection, viewer_id, (from_ms, to_ms, wallet.now_ms), opening, lines)


def _span(
    connection: Connection, wallet: OpenWallet, view: Projection, from_ms: int, to_ms: int
) -> tuple[int, _Lines]:
    """Return the balance before a span and the lines of it, booked and projected."""
    opening = _balance_before(connection, wallet.wallet_id, from_ms)
    lines = _Lines()
    for row in _booked(connection, wallet.wallet_id, _within(from_ms, to_ms)):
        lines.add_booked(row)
    for session in _waived(connection, wallet.wallet_id, from_ms, to_ms):
        span = (session["session_id"], session["ready_ms"], session["ended_ms"])
        lines.add("usage", session["ended_ms"], 0, *span)
    for event in view.events:
        opening += _add_projected(lines, view, event, from_ms, to_ms)
    return opening, lines


def statement_as_of(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    at_ms: int,
    basis: Basis,
) -> StatementView:
    """Return the statement of a period up to an instant; see `Ledger.statement_as_of`."""
    wallet = load_wallet(connection, catalogue, now_ms, member_id, lock=False)
    if at_ms > now_ms:
        message = _("That instant is yet to come; give one that is past.")
        raise LedgerError("future_instant", message, "as_of")
    row = wallet.subscription
    kind = row["terms"]["period"]
    _n, from_ms, _end_ms = period_at(row["anchor_ms"], at_ms, row["zone"], kind)
    if basis == "effective":
        return _effective(connection, wallet, member_id, from_ms, at_ms)
    t = schema.transactions
    known = t.c.booked_ms < at_ms
    brought = select(*exact_sum(t.c.change_grains)).where(
        t.c.wallet_id == wallet.wallet_id, known, _within(-FOREVER_MS, from_ms)
    )
    lines = _Lines()
    # What was booked is told, also where it is about a later instant than that of its booking.
    for booked in _booked(connection, wallet.wallet_id, known & _within(from_ms, FOREVER_MS)):
        lines.add_booked(booked)
    opening = add_up(*connection.execute(brought).one())
    return _view(connection, member_id, (from_ms, at_ms, at_ms), opening, lines)


def _effective(
    connection: Connection, wallet: OpenWallet, member_id: str, from_ms: int, at_ms: int
) -> StatementView:
    """Return what is true of an instant: of use that goes on beyond it, the part before it."""
    view = project(wallet)
    opening, lines = _span(connection, wallet, view, from_ms, at_ms)
    t, e, s = schema.transactions, schema.entries, schema.sessions
    last = e.alias()
    timely = select(last.c.transaction_id).where(
        last.c.transaction_id == t.c.transaction_id, last.c.to_ms == t.c.at_ms
    )
    over = (
        select(e.c.session_id, e.c.from_ms, e.c.to_ms, e.c.amount_grains, s.c.rate_mtok_h)
        .join(t, t.c.transaction_id == e.c.transaction_id)
        .join(s, s.c.session_id == e.c.session_id)
        .where(
            t.c.wallet_id == wallet.wallet_id,
            t.c.kind == "usage",
            t.c.at_ms > at_ms,
            e.c.account == "consumed",
            e.c.from_ms < at_ms,
            # What is charged after its time counts when it was booked.
            timely.exists(),
        )
    )
    charges = [tuple(row) for row in connection.execute(over)]
    charges += [
        (
            event.session_id,
            event.from_ms,
            event.to_ms,
            event.amount,
            wallet.sessions[event.session_id]["rate_mtok_h"],
        )
        for event in view.events
        if isinstance(event, burndown.Charge) and event.from_ms < at_ms < event.to_ms
    ]
    for session_id, since_ms, until_ms, amount, rate_mtok_h in charges:
        # All of it where another session's charge is what goes on; exact, for a rate of r
        # millitokens per hour is r grains per millisecond.
        part = min(amount, rate_mtok_h * (min(at_ms, until_ms) - since_ms))
        lines.add("usage", min(at_ms, until_ms), -part, session_id, since_ms, min(at_ms, until_ms))
    return _view(connection, member_id, (from_ms, at_ms, wallet.now_ms), opening, lines)


def _view(
    connection: Connection,
    member_id: str,
    instants: tuple[int, int, int],
    opening: int,
    lines: _Lines,
) -> StatementView:
    member = find_member(connection, schema.members.c.member_id == member_id)
    assert member is not None
    entries = tuple(lines.entries(connection))
    closing = opening + sum(entry.amount_grains for entry in entries)
    return StatementView(member_record(member), *instants, opening, entries, closing)


def _within(from_ms: int, to_ms: int) -> Any:
    """Return the condition for a transaction to lie in [`from_ms`, `to_ms`)."""
    t = schema.transactions.c
    ends = t.kind.in_(ENDS)
    return or_(
        and_(ends, t.at_ms > from_ms, t.at_ms <= to_ms),
        and_(~ends, t.at_ms >= from_ms, t.at_ms < to_ms),
    )


def used_within(wallet_id: str, from_ms: int, to_ms: int) -> tuple[Any, ...]:
    """Return the conditions for a transaction to be use on a statement of [`from_ms`, `to_ms`)."""
    t = schema.transactions.c
    # As `_within`, in a form that the index on wallet and time serves.
    return (
        t.wallet_id == wallet_id,
        t.kind == "usage",
        t.at_ms > from_ms,
        t.at_ms <= to_ms,
    )


def charges_within(view: Projection, from_ms: int, to_ms: int) -> Iterator[burndown.Charge]:
    """Yield the use that a projection adds to a statement of [`from_ms`, `to_ms`)."""
    for event in view.events:
        if isinstance(event, burndown.Charge) and _is_within("usage", event.to_ms, from_ms, to_ms):
            yield event


def _is_within(kind: str, at_ms: int, from_ms: int, to_ms: int) -> bool:
    return is_before(kind, at_ms, to_ms) and not is_before(kind, at_ms, from_ms)


def _balance_before(connection: Connection, wallet_id: str, at_ms: int) -> int:
    """Return the balance brought forward, from the beginning of the last period before `at_ms`."""
    t, p = schema.transactions, schema.wallet_periods
    begun = (
        select(p.c.start_ms, p.c.opening_grains)
        .where(p.c.wallet_id == wallet_id, p.c.start_ms <= at_ms)
        .order_by(p.c.start_ms.desc())
        .limit(1)
    )
    # Periods before release 0.2 have no row: then it is all that was ever booked.
    since_ms, opening = connection.execute(begun).first() or (-(1 << 62), 0)
    query = select(*exact_sum(t.c.change_grains)).where(
        t.c.wallet_id == wallet_id, _within(since_ms, at_ms)
    )
    return int(opening) + add_up(*connection.execute(query).one())


def _booked(connection: Connection, wallet_id: str, which: Any) -> Any:
    """Return one row for each transaction, or for each of its sessions if it has any."""
    t, e, a = schema.transactions, schema.entries, schema.remarks
    change = func.sum(case((e.c.account == "grant", e.c.amount_grains), else_=0))
    query = (
        select(
            t.c.number,
            t.c.kind,
            t.c.at_ms,
            e.c.session_id,
            change.label("amount"),
            func.min(e.c.from_ms).label("from_ms"),
            func.max(e.c.to_ms).label("to_ms"),
            func.max(a.c.actor).label("actor"),
            func.max(a.c.reason).label("reason"),
        )
        .join(e, e.c.transaction_id == t.c.transaction_id)
        .outerjoin(a, a.c.transaction_id == t.c.transaction_id)
        .where(t.c.wallet_id == wallet_id, which)
        .group_by(t.c.number, t.c.kind, t.c.at_ms, e.c.session_id)
        .order_by(t.c.number)
    )
    return connection.execute(query).mappings()


def _waived(connection: Connection, wallet_id: str, from_ms: int, to_ms: int) -> Any:
    """Return the sessions that ended in the span and were waived: nothing was booked of them."""
    starts, sessions = schema.break_glass_starts, schema.sessions
    query = (
        select(sessions)
        .join(starts, starts.c.session_id == sessions.c.session_id)
        .where(
            sessions.c.wallet_id == wallet_id,
            starts.c.charged.is_(False),
            sessions.c.ended_ms > from_ms,
            sessions.c.ended_ms <= to_ms,
        )
    )
    return connection.execute(query).mappings()


def _add_projected(
    lines: _Lines, view: Projection, event: burndown.Event, from_ms: int, to_ms: int
) -> int:
    """Add what booking would add; return what it does to a balance before `from_ms`."""
    parts: list[tuple[str, int, int, str | None, int | None]] = []
    if isinstance(event, burndown.Charge):
        span = (event.session_id, event.from_ms)
        parts.append(("usage", event.to_ms, -event.amount, *span))
        if event.grant_id is None:
            parts.append((OVERRUN, event.from_ms, event.amount, None, None))
    elif isinstance(event, burndown.Lapse):
        parts.append(("expiry", event.at_ms, -event.amount, None, None))
    else:
        renewal = event.renewal
        parts.append(("allotment", renewal.at_ms, renewal.allotment, None, None))
        if event.repaid:
            parts.append((OVERRUN, renewal.at_ms, -event.repaid, None, None))
    before = 0
    for kind, at_ms, amount, session_id, since_ms in parts:
        if _is_within(kind, at_ms, from_ms, to_ms):
            lines.add(kind, at_ms, amount, session_id, since_ms, at_ms)
        elif _is_within(kind, at_ms, -(1 << 62), from_ms):
            before += amount
    return before


@dataclass(slots=True)
class _Usage:
    """What a session consumed in the span of the statement."""

    amount: int = 0
    from_ms: int | None = None
    to_ms: int | None = None
    at_ms: int = 0


class _Lines:
    """Gathers the lines; the usage of a session is one line, however often it was booked."""

    def __init__(self) -> None:
        self.plain: list[StatementEntry] = []
        self.usage: dict[str, _Usage] = defaultdict(_Usage)

    def add_booked(self, row: Any) -> None:
        """Add a row of `_booked`."""
        span = (row["from_ms"], row["to_ms"])
        notes = (row["actor"] or "", row["reason"] or "")
        self.add(row["kind"], row["at_ms"], row["amount"], row["session_id"], *span, *notes)

    def add(
        self,
        kind: str,
        at_ms: int,
        amount: int,
        session_id: str | None,
        from_ms: int | None,
        to_ms: int | None,
        actor: str = "",
        reason: str = "",
    ) -> None:
        """Add one movement of the balance."""
        amount = int(amount)
        if kind == "usage" and session_id is not None:
            usage = self.usage[session_id]
            usage.amount += amount
            if from_ms is not None:
                usage.from_ms = min(from_ms, usage.from_ms or from_ms)
            if to_ms is not None:
                usage.to_ms = max(to_ms, usage.to_ms or to_ms)
            usage.at_ms = max(usage.at_ms, at_ms)
        elif amount or kind == "allotment":
            self.plain.append(
                StatementEntry(
                    at_ms, kind, amount, session_id, None, None, None, None, None, actor, reason
                )
            )

    def entries(self, connection: Connection) -> list[StatementEntry]:
        """Return the lines in order of time."""
        session_ids = set(self.usage) | {p.session_id for p in self.plain if p.session_id}
        table = schema.sessions
        query = select(table).where(table.c.session_id.in_(session_ids))
        sessions = {r["session_id"]: r for r in connection.execute(query).mappings()}
        starts = schema.break_glass_starts.c
        marked = select(starts.session_id, starts.charged).where(starts.session_id.in_(session_ids))
        charged = {row.session_id: row.charged for row in connection.execute(marked)}
        lines = [self._named(line, sessions, charged) for line in self.plain]
        for session_id, usage in self.usage.items():
            line = StatementEntry(
                usage.at_ms, "usage", usage.amount, session_id, None, None,
                usage.from_ms, usage.to_ms, None, "", "",
            )  # fmt: skip
            lines.append(self._named(line, sessions, charged))
        # At one instant: what was granted before what was consumed up to it, renewals last.
        rank = {"usage": 1, "expiry": 2, "rollover": 3, "allotment": 4}
        return sorted(lines, key=lambda line: (line.at_ms, rank.get(line.kind, 0)))

    @staticmethod
    def _named(
        line: StatementEntry, sessions: dict[str, Any], charged: dict[str, bool]
    ) -> StatementEntry:
        session = sessions.get(line.session_id or "")
        if session is None:
            return line
        return StatementEntry(
            line.at_ms,
            line.kind,
            line.amount_grains,
            line.session_id,
            session["profile"],
            session["rate_mtok_h"],
            line.from_ms,
            line.to_ms,
            session["end_reason"],
            line.actor,
            line.reason,
            session["server_name"],
            session["session_id"] in charged,
            not charged.get(session["session_id"], True),
        )
