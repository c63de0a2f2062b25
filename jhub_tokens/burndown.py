"""Burning grants by running meters: one pure walk through time that everything else asks.

A wallet is a set of grants, the meters of its sessions and the renewals to come. `advance`
walks all of them together in time order and tells, to the grain, which grant paid for which
session, what lapsed and what was granted. Admission, the instant a wallet runs dry, "lasts
until" and the percent warnings are questions to the same walk, so they cannot disagree.

Time is in whole milliseconds and a rate of r millitokens per hour burns r grains in each, so
nothing is ever rounded. Within the last millisecond that a grant can pay for, it is split in
the order of the sessions; what no grant can pay is a shortfall, never a negative balance.
Walking to t in one step or in many gives the same charges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

__all__ = [
    "ALWAYS",
    "Charge",
    "Grant",
    "Lapse",
    "Meter",
    "Need",
    "Outcome",
    "Renewal",
    "Renewed",
    "Wallet",
    "advance",
    "dry_at",
    "low_at",
    "shortfall",
]

FOREVER_MS = 1 << 62
#: As many renewals as come.
ALWAYS = 1 << 30


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens that can be burned from `starts_ms` until just before `expires_ms`."""

    grant_id: str
    remaining: int
    priority: int = 0
    age: int = 0
    starts_ms: int = 0
    expires_ms: int | None = None
    rolls: int = 0  # how many renewals what is left may survive

    def order(self) -> tuple[int, int, int, int]:
        """Grants burn by priority, then soonest expiry, then age."""
        return (
            self.priority,
            FOREVER_MS if self.expires_ms is None else self.expires_ms,
            self.age,
            self.rolls,  # rolled over together: what lapses sooner burns first
        )


@dataclass(frozen=True, slots=True)
class Meter:
    """A session that burns `rate_mtok_h` in [`from_ms`, `to_ms`); without an end it runs on."""

    session_id: str
    rate_mtok_h: int
    from_ms: int
    to_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """A period's beginning: lapse or roll over what is left, repay overrun, grant the allotment."""

    at_ms: int
    expires_ms: int
    allotment: int
    rollover_cap: int = 0
    rolls: int = ALWAYS  # how many renewals a token of the allotment may survive
    allotment_id: str = "plan"
    rollover_id: str = "rollover"
    age: int = 0


@dataclass(frozen=True, slots=True)
class Wallet:
    """All that decides how a wallet burns; settled up to `settled_to_ms`.

    Meters are in session order. `debt` is the overrun to be repaid from the next allotment.
    """

    settled_to_ms: int
    grants: tuple[Grant, ...] = ()
    meters: tuple[Meter, ...] = ()
    renewals: tuple[Renewal, ...] = ()
    debt: int = 0
    deducts: bool = False  # whether what nobody could pay becomes debt

    def balance(self) -> int:
        """Return what can be burned at `settled_to_ms`, in grains."""
        return sum(
            grant.remaining
            for grant in self.grants
            if _alive(grant.starts_ms, grant.expires_ms, self.settled_to_ms)
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """`amount` grains of one session paid by one grant; `grant_id` None: nobody could pay."""

    session_id: str
    grant_id: str | None
    amount: int
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Lapse:
    """What was left of a grant when it expired."""

    grant_id: str
    amount: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewal that took place, with the grants it made and what it took."""

    renewal: Renewal
    allotment: Grant
    rolled: tuple[tuple[str, str, int], ...]  # (from grant, to grant, grains)
    rollovers: tuple[Grant, ...]  # one for each number of renewals that are left to survive
    repaid: int


Event = Charge | Lapse | Renewed


@dataclass(frozen=True, slots=True)
class Outcome:
    """The wallet after the walk, and what happened in order of time."""

    wallet: Wallet
    events: tuple[Event, ...]
    dry_ms: int | None  # the first millisecond that could not be paid in full
    low_ms: int | None  # the first instant at which the balance was at or below the level asked

    def charges(self) -> Iterable[Charge]:
        """Iterate over the charges alone."""
        return (event for event in self.events if isinstance(event, Charge))


@dataclass(frozen=True, slots=True)
class Need:
    """What must stand behind a session: its rate for a while from now on."""

    rate_mtok_h: int
    duration_ms: int


def advance(wallet: Wallet, to_ms: int) -> Outcome:
    """Walk `wallet` from where it is settled to `to_ms`; an earlier instant changes nothing.

    Every session that burns is charged through, whether or not the grants can pay: what they
    cannot is charged to no grant (`Charge.grant_id` None), for the books to cover.
    """
    return _Walk(wallet).run(to_ms)


def dry_at(wallet: Wallet, horizon_ms: int) -> int | None:
    """Return the first millisecond before `horizon_ms` that cannot be paid in full, or None."""
    if not any(meter.rate_mtok_h for meter in wallet.meters):
        return None
    return _Walk(wallet, stop_when_dry=True).run(horizon_ms).dry_ms


def low_at(wallet: Wallet, level: int, horizon_ms: int) -> int | None:
    """Return when burning brings the balance to `level` grains, None if not by `horizon_ms`."""
    return _Walk(wallet, stop_when_dry=True, level=level).run(horizon_ms).low_ms


def shortfall(wallet: Wallet, needs: Sequence[Need]) -> int:
    """Return how many grains are missing for all `needs` to be met from now on; 0: carried.

    The needs take the place of the wallet's own meters: each open session states its own.
    """
    now_ms = wallet.settled_to_ms
    meters = tuple(
        Meter(f"need-{index}", need.rate_mtok_h, now_ms, now_ms + need.duration_ms)
        for index, need in enumerate(needs)
    )
    end_ms = max((now_ms + need.duration_ms for need in needs), default=now_ms)
    outcome = _Walk(replace(wallet, meters=meters)).run(end_ms)
    return sum(charge.amount for charge in outcome.charges() if charge.grant_id is None)


def _alive(from_ms: int, to_ms: int | None, at_ms: int) -> bool:
    return from_ms <= at_ms and (to_ms is None or at_ms < to_ms)


@dataclass(slots=True)
class _Purse:
    """A grant while it is being burned."""

    grant: Grant
    remaining: int


@dataclass(slots=True)
class _Tally:
    """Charges of one session to one grant that follow each other without a gap are one charge."""

    amount: int
    from_ms: int
    to_ms: int


@dataclass
class _Walk:
    """One walk through time; single use."""

    wallet: Wallet
    stop_when_dry: bool = False
    level: int | None = None
    now_ms: int = field(init=False)
    dry_ms: int | None = field(init=False, default=None)
    low_ms: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.now_ms = self.wallet.settled_to_ms
        self.debt = self.wallet.debt
        self.purses = {g.grant_id: _Purse(g, g.remaining) for g in self.wallet.grants}
        self.renewals = sorted(self.wallet.renewals, key=lambda r: r.at_ms)
        self.events: list[Event] = []
        self.tallies: dict[tuple[str, str | None], _Tally] = {}

    def run(self, to_ms: int) -> Outcome:
        """Walk to `to_ms`, or to the dry instant if that was asked."""
        while self.now_ms < to_ms:
            self._begin_instant()
            if self.low_ms is not None:
                break
            until_ms = self._next_change_ms(to_ms)
            burning = [m for m in self.wallet.meters if _alive(m.from_ms, m.to_ms, self.now_ms)]
            if not self._burn([m for m in burning if m.rate_mtok_h > 0], until_ms):
                break
        else:
            self._begin_instant()
        self._flush()
        grants = tuple(replace(p.grant, remaining=p.remaining) for p in self.purses.values())
        settled = replace(
            self.wallet,
            settled_to_ms=self.now_ms,
            grants=grants,
            renewals=tuple(self.renewals),
            debt=self.debt,
        )
        return Outcome(settled, tuple(self.events), self.dry_ms, self.low_ms)

    # --- what happens at an instant ------------------------------------------------------

    def _begin_instant(self) -> None:
        """Renew and lapse what is due now, before anything burns in this millisecond."""
        while self.renewals and self.renewals[0].at_ms <= self.now_ms:
            self._renew(self.renewals.pop(0))
        for purse in list(self.purses.values()):
            expires_ms = purse.grant.expires_ms
            if expires_ms is not None and expires_ms <= self.now_ms and purse.remaining:
                self._flush()
                self.events.append(Lapse(purse.grant.grant_id, purse.remaining, expires_ms))
                purse.remaining = 0
        if self.level is not None and self.low_ms is None and self._balance() <= self.level:
            self.low_ms = self.now_ms

    def _renew(self, renewal: Renewal) -> None:
        self._flush()
        rolled, rollovers = self._roll_over(renewal)
        repaid = min(self.debt, renewal.allotment)
        self.debt -= repaid
        allotment = Grant(
            renewal.allotment_id,
            renewal.allotment - repaid,
            age=renewal.age + 1,
            starts_ms=renewal.at_ms,
            expires_ms=renewal.expires_ms,
            rolls=renewal.rolls,
        )
        for grant in (*rollovers, allotment):
            self.purses[grant.grant_id] = _Purse(grant, grant.remaining)
        self.events.append(Renewed(renewal, allotment, rolled, rollovers, repaid))

    def _roll_over(
        self, renewal: Renewal
    ) -> tuple[tuple[tuple[str, str, int], ...], tuple[Grant, ...]]:
        """Move what may survive the renewal, up to its cap, into grants of the new period."""
        room = renewal.rollover_cap
        moved: list[tuple[str, str, int]] = []
        rollovers: dict[int, Grant] = {}
        leaving = [p for p in self.purses.values() if p.grant.rolls and p.remaining]
        for purse in sorted(leaving, key=lambda p: p.grant.order()):
            taken = min(room, purse.remaining)
            if not taken:
                continue
            rolls = purse.grant.rolls if purse.grant.rolls == ALWAYS else purse.grant.rolls - 1
            before = rollovers.get(rolls)
            suffix = "" if rolls == ALWAYS else f"-{rolls}"
            rollovers[rolls] = Grant(
                f"{renewal.rollover_id}{suffix}",
                taken + (before.remaining if before else 0),
                age=renewal.age,
                starts_ms=renewal.at_ms,
                expires_ms=renewal.expires_ms,
                rolls=rolls,
            )
            moved.append((purse.grant.grant_id, rollovers[rolls].grant_id, taken))
            purse.remaining -= taken
            room -= taken
        return tuple(moved), tuple(rollovers[rolls] for rolls in sorted(rollovers))

    def _next_change_ms(self, to_ms: int) -> int:
        """Return the next instant at which who burns or who pays changes by the calendar."""
        changes = [to_ms]
        if self.renewals:
            changes.append(self.renewals[0].at_ms)
        for purse in self.purses.values():
            changes.append(purse.grant.starts_ms)
            if purse.grant.expires_ms is not None:
                changes.append(purse.grant.expires_ms)
        for meter in self.wallet.meters:
            changes.append(meter.from_ms)
            if meter.to_ms is not None:
                changes.append(meter.to_ms)
        return min(change for change in changes if change > self.now_ms)

    # --- burning -------------------------------------------------------------------------

    def _payers(self) -> list[_Purse]:
        payers = [
            purse
            for purse in self.purses.values()
            if purse.remaining
            and _alive(purse.grant.starts_ms, purse.grant.expires_ms, self.now_ms)
        ]
        return sorted(payers, key=lambda p: p.grant.order())

    def _balance(self) -> int:
        return sum(purse.remaining for purse in self._payers())

    def _burn(self, meters: list[Meter], until_ms: int) -> bool:
        """Burn up to `until_ms`; return False if the walk is to stop because nobody can pay."""
        rate = sum(meter.rate_mtok_h for meter in meters)
        if not rate:
            self.now_ms = until_ms
            return True
        while self.now_ms < until_ms:
            payers = self._payers()
            balance = sum(purse.remaining for purse in payers)
            if balance < rate and self.dry_ms is None:
                self.dry_ms = self.now_ms
            if balance < rate and self.stop_when_dry:
                return False
            self._note_level(balance, rate, until_ms)
            whole_ms = payers[0].remaining // rate if payers else until_ms - self.now_ms
            if whole_ms:
                step_ms = min(whole_ms, until_ms - self.now_ms)
                payer = payers[0] if payers else None
                for meter in meters:
                    self._charge(meter, payer, meter.rate_mtok_h * step_ms, step_ms)
                self.now_ms += step_ms
            else:
                self._split_millisecond(meters, payers)
        return True

    def _split_millisecond(self, meters: list[Meter], payers: list[_Purse]) -> None:
        """Charge one millisecond that the first grant cannot pay alone, in session order."""
        queue = list(payers)
        for meter in meters:
            owed = meter.rate_mtok_h
            while owed and queue:
                part = min(owed, queue[0].remaining)
                self._charge(meter, queue[0], part, 1)
                owed -= part
                if not queue[0].remaining:
                    queue.pop(0)
            if owed:
                self._charge(meter, None, owed, 1)
        self.now_ms += 1

    def _note_level(self, balance: int, rate: int, until_ms: int) -> None:
        if self.level is None or self.low_ms is not None:
            return
        reached_ms = self.now_ms + max(0, -(-(balance - self.level) // rate))
        # What begins or ends at `until_ms` changes the sum: the next stretch decides from there.
        if reached_ms < until_ms:
            self.low_ms = reached_ms

    def _charge(self, meter: Meter, purse: _Purse | None, amount: int, duration_ms: int) -> None:
        if purse is not None:
            purse.remaining -= amount
            assert purse.remaining >= 0, "a grant was burned below nothing"
        elif self.wallet.deducts:
            self.debt += amount
        key = (meter.session_id, None if purse is None else purse.grant.grant_id)
        to_ms = self.now_ms + duration_ms
        tally = self.tallies.get(key)
        if tally is None:
            self.tallies[key] = _Tally(amount, self.now_ms, to_ms)
        else:
            tally.amount += amount
            tally.to_ms = to_ms

    def _flush(self) -> None:
        """Turn the charges gathered so far into events, before an event that must follow them."""
        for (session_id, grant_id), tally in self.tallies.items():
            self.events.append(
                Charge(session_id, grant_id, tally.amount, tally.from_ms, tally.to_ms)
            )
        self.tallies.clear()
