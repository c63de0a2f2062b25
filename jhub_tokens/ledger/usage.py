"""Usage: what a member's servers consumed, cut exactly at the hours and days of a time zone.

What a session consumed is a rate over a span, so a cut within it is exact, and the parts always
add up to the whole: the days of a period come to the use on its statement, to the grain. Where one
grant ends and the next begins paying, two charges share a millisecond; they are joined first.
What was charged after its time counts when it was booked, as on the statement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from jhub_tokens.burndown import Charge
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.reads import project
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.statements import charges_within, used_within
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["TOP_SESSIONS", "SessionUse", "UsageBooks", "UsageView"]

#: How many of the dearest sessions are told.
TOP_SESSIONS = 10
_HOUR_MS = 3_600_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class SessionUse:
    """What one session consumed in a span."""

    session_id: str
    server_name: str
    profile: str
    rate_mtok_h: int
    from_ms: int
    to_ms: int
    end_reason: str | None
    used_grains: int


@dataclass(frozen=True, slots=True)
class UsageView:
    """What was consumed from a wallet in a span, booked and projected to now."""

    from_ms: int
    to_ms: int
    as_of_ms: int
    zone: str
    days: dict[tuple[date, str], int]  # by local day and profile
    hours: dict[tuple[int, int], int]  # by weekday (Monday is 0) and local hour
    sessions: tuple[SessionUse, ...]  # the dearest, those first that cost most
    session_count: int
    used_grains: int
    returned_grains: int  # refunds, and ends learned late


class UsageBooks:
    """Reads usage. Thread-safe; every method blocks on the database."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def span(self, member_id: str, from_ms: int, to_ms: int, zone: str) -> UsageView:
        """Return what a member's own wallet paid for in [`from_ms`, `to_ms`), by `zone`'s days.

        Raises
        ------
        LedgerError
            If there is no such member (``unknown_member``).
        """
        return self._runner.read(_span, member_id, from_ms, to_ms, zone)


@dataclass(slots=True)
class _Session:
    from_ms: int
    to_ms: int
    used: int = 0


@dataclass(slots=True)
class _Adder:
    """Adds charges up by day, hour and session."""

    zone: ZoneInfo
    days: dict[tuple[date, str], int] = field(default_factory=lambda: defaultdict(int))
    hours: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    sessions: dict[str, _Session] = field(default_factory=dict)

    def add(self, charge: Charge, profile: str) -> None:
        """Add a charge, cut at the hours of its span."""
        from_ms, to_ms = charge.from_ms, charge.to_ms
        session = self.sessions.setdefault(charge.session_id, _Session(from_ms, to_ms))
        session.from_ms = min(session.from_ms, from_ms)
        session.to_ms = max(session.to_ms, to_ms)
        session.used += charge.amount
        for day, hour, part in self._parts(from_ms, to_ms, charge.amount):
            self.days[day, profile] += part
            self.hours[day.weekday(), hour] += part

    def add_late(self, session_id: str, profile: str, at_ms: int, amount: int) -> None:
        """Add what was charged after its time, at the instant before its booking."""
        self.add(Charge(session_id, None, amount, at_ms - 1, at_ms), profile)

    def _parts(self, from_ms: int, to_ms: int, amount: int) -> Iterator[tuple[date, int, int]]:
        """Cut a charge at full local hours; the parts add up to it whatever the rounding."""
        told, at_ms, span_ms = 0, from_ms, to_ms - from_ms
        while at_ms < to_ms:
            local = (_EPOCH + at_ms * _MS).astimezone(self.zone)
            into = local.minute * 60_000 + local.second * 1000 + local.microsecond // 1000
            until_ms = min(to_ms, at_ms + _HOUR_MS - into)
            # Exact for a rate over a span.
            reached = amount * (until_ms - from_ms) // span_ms
            yield local.date(), local.hour, reached - told
            told, at_ms = reached, until_ms


def _span(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    from_ms: int,
    to_ms: int,
    zone: str,
) -> UsageView:
    wallet = load_wallet(connection, catalogue, now_ms, member_id, lock=False)
    adder = _Adder(ZoneInfo(zone))
    _add_booked(adder, connection, wallet.wallet_id, from_ms, to_ms)
    _add_projected(adder, wallet, from_ms, to_ms)
    return UsageView(
        from_ms=from_ms,
        to_ms=to_ms,
        as_of_ms=now_ms,
        zone=zone,
        days=dict(sorted(adder.days.items())),
        hours=dict(adder.hours),
        sessions=_dearest(connection, adder.sessions),
        session_count=len(adder.sessions),
        used_grains=sum(session.used for session in adder.sessions.values()),
        returned_grains=_returned(connection, wallet.wallet_id, from_ms, to_ms),
    )


def _add_booked(
    adder: _Adder, connection: Connection, wallet_id: str, from_ms: int, to_ms: int
) -> None:
    t, e, s = schema.transactions, schema.entries, schema.sessions
    query = (
        select(
            t.c.number,
            t.c.at_ms,
            e.c.session_id,
            e.c.from_ms,
            e.c.to_ms,
            e.c.amount_grains,
            s.c.profile,
        )
        .join(e, e.c.transaction_id == t.c.transaction_id)
        .join(s, s.c.session_id == e.c.session_id)
        .where(*used_within(wallet_id, from_ms, to_ms), e.c.account == "consumed")
        .order_by(t.c.at_ms, t.c.number)
    )
    rows = connection.execute(query.execution_options(yield_per=1000))
    for _number, group in groupby(rows, attrgetter("number")):
        charges = list(group)
        timely = any(row.to_ms == row.at_ms for row in charges)
        if timely:
            profiles = {row.session_id: row.profile for row in charges}
            for charge in _joined(_charge_of(row) for row in charges):
                adder.add(charge, profiles[charge.session_id])
        else:
            for row in charges:
                adder.add_late(row.session_id, row.profile, row.at_ms, int(row.amount_grains))


def _add_projected(adder: _Adder, wallet: OpenWallet, from_ms: int, to_ms: int) -> None:
    for charge in _joined(charges_within(project(wallet), from_ms, to_ms)):
        adder.add(charge, wallet.sessions[charge.session_id]["profile"])


def _charge_of(row: Any) -> Charge:
    return Charge(row.session_id, None, int(row.amount_grains), row.from_ms, row.to_ms)


def _joined(charges: Iterable[Charge]) -> Iterator[Charge]:
    """Join what grants paid for a session without a gap, so that each is a rate over a span."""
    open_charges: dict[str, Charge] = {}
    for charge in sorted(charges, key=lambda c: (c.from_ms, c.to_ms)):
        before = open_charges.get(charge.session_id)
        if before is not None and charge.from_ms <= before.to_ms:
            charge = replace(
                before,
                amount=before.amount + charge.amount,
                to_ms=max(before.to_ms, charge.to_ms),
            )
        elif before is not None:
            yield before
        open_charges[charge.session_id] = charge
    yield from open_charges.values()


def _dearest(connection: Connection, sessions: dict[str, _Session]) -> tuple[SessionUse, ...]:
    ranked = sorted(sessions.items(), key=lambda item: (-item[1].used, item[1].from_ms, item[0]))
    top = ranked[:TOP_SESSIONS]
    rows = _sessions_of(connection, (session_id for session_id, _ in top))
    return tuple(
        SessionUse(
            session_id,
            rows[session_id]["server_name"],
            rows[session_id]["profile"],
            rows[session_id]["rate_mtok_h"],
            use.from_ms,
            use.to_ms,
            rows[session_id]["end_reason"],
            use.used,
        )
        for session_id, use in top
    )


def _sessions_of(connection: Connection, session_ids: Iterable[str]) -> dict[str, Any]:
    s = schema.sessions
    query = select(s).where(s.c.session_id.in_(list(session_ids)))
    return {row["session_id"]: row for row in connection.execute(query).mappings()}


def _returned(connection: Connection, wallet_id: str, from_ms: int, to_ms: int) -> int:
    """Return what came back of charges in the span."""
    t, e = schema.transactions, schema.entries
    query = (
        select(e.c.amount_grains)
        .join(t, t.c.transaction_id == e.c.transaction_id)
        .where(
            t.c.wallet_id == wallet_id,
            t.c.kind.in_(("refund", "return")),
            t.c.at_ms >= from_ms,
            t.c.at_ms < to_ms,
            e.c.account == "consumed",
        )
    )
    return -sum(int(amount) for amount in connection.execute(query).scalars())
