"""A wallet under its lock, in plain Python: what it holds, how it advances, what it posts.

`loading` reads wallets and `saving` writes them, many at once; between the two, every money
operation works on an `OpenWallet` alone. Nothing else in the package makes transactions or
entries.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, select

from jhub_tokens import burndown
from jhub_tokens.catalogue import Plan
from jhub_tokens.i18n import N_
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.chain import VERSION, Entry, Naming, remark_hash, transaction_hash
from jhub_tokens.ledger.rows import Batch, Row, Terms, is_before, new_id
from jhub_tokens.periods import months_between

__all__ = ["CREDIT_PRIORITY", "DEDUCTED", "OVERRUN", "PLAN_SOURCES", "STOP_SAID", "OpenWallet"]

#: Sources that the subscription makes; everything else is credited.
PLAN_SOURCES = ("plan", "rollover")
OVERRUN = "overrun"
#: The time-left threshold below all others: the stop itself has been said.
STOP_SAID = 0
#: Where a session's charge comes from, and where the cover of its overrun goes back to.
_PAYING = ("grant", f"issued:{OVERRUN}")
#: The reason of an overrun's cover that the next allotment pays back.
DEDUCTED = "use that no grant could pay, owed by the next allotment"
#: Why the machine makes transactions of a kind, where nothing more is to be said.
_REASONS = {
    "usage": "metered use",
    "expiry": "the grant's time is over",
    "rollover": "carried over into the new period",
    "allotment": "a period began",
    OVERRUN: "use that no grant could pay",
}
NO_REPORTS: Mapping[str, Row] = MappingProxyType({})
CREDIT_PRIORITY = 10  # what lapses by itself burns before what was paid for


class OpenWallet:
    """A wallet read for writing; single use within one database transaction.

    The mappings `row`, `subscription`, `grants` and `sessions` hold the columns as they will be
    saved. `past` are settled sessions that a spending limit still counts, `ahead` what is booked
    already of the time after a renewal that is not. `reports` are what servers with an idle
    policy say of themselves, by session.
    """

    def __init__(
        self,
        connection: Connection,
        now_ms: int,
        row: Row,
        subscription: Row,
        grants: Sequence[Row],
        sessions: Sequence[Row],
        terms: Terms,
        past: Sequence[Row] = (),
        ahead: Sequence[Row] = (),
        own: Plan | None = None,
        reports: Mapping[str, Row] = NO_REPORTS,
    ) -> None:
        self.connection = connection
        self.now_ms = now_ms
        self.row = row
        self.subscription = subscription
        self.grants = {g["grant_id"]: g for g in grants}
        self.sessions = {s["session_id"]: s for s in sessions}
        self.past = past
        self._ahead = ahead
        self.reports = dict(reports)
        self.terms = terms
        self.renewals = terms.renewals
        self._own = own or terms.plan  # subscribed to, whatever a trial lends
        self.renewed = False  # whether a period began in this operation
        self.batch = Batch()
        self.saved_row = dict(row)
        self.saved_subscription = dict(subscription)
        self.saved_grants = {key: dict(value) for key, value in self.grants.items()}
        self.saved_sessions = {key: dict(value) for key, value in self.sessions.items()}

    @property
    def wallet_id(self) -> str:
        """The wallet's identifier."""
        return str(self.row["wallet_id"])

    @property
    def last_transaction_id(self) -> str:
        """The transaction that this operation posted last."""
        return str(self.batch.transactions[-1]["transaction_id"])

    @property
    def at_ms(self) -> int:
        """The instant that a posting is about: now, but never before what is settled."""
        return max(self.now_ms, int(self.row["settled_to_ms"]))

    # --- the wallet as the pure core sees it ----------------------------------------------

    def pure(self) -> burndown.Wallet:
        """Return the wallet for the pure core.

        Sessions that are ready burn from there to their end; those without an end run on.
        """
        meters = tuple(
            burndown.Meter(
                s["session_id"],
                s["rate_mtok_h"],
                s["ready_ms"],
                s["ended_ms"],
            )
            for s in sorted(self.sessions.values(), key=lambda s: s["age"])
            if s["ready_ms"] is not None and not s["settled"]
        )
        grants = tuple(
            burndown.Grant(
                g["grant_id"],
                g["remaining_grains"],
                g["priority"],
                g["age"],
                g["starts_ms"],
                g["expires_ms"],
                _rolls(g),
            )
            for g in self.grants.values()
        )
        return burndown.Wallet(
            self.row["settled_to_ms"],
            grants,
            meters,
            self.renewals,
            self.row["debt_grains"],
            self.terms.deducts_overrun,
        )

    def projected(self) -> burndown.Wallet:
        """Return the wallet walked to now, as if every open session still ran."""
        return burndown.advance(self.pure(), self.now_ms).wallet

    def open_sessions(self) -> list[dict[str, Any]]:
        """Return the sessions that have not ended, in session order."""
        return sorted(
            (s for s in self.sessions.values() if s["ended_ms"] is None), key=lambda s: s["age"]
        )

    def running_sessions(self) -> list[dict[str, Any]]:
        """Return the sessions that burn: ready and not ended."""
        return [s for s in self.open_sessions() if s["ready_ms"] is not None]

    # --- advancing ------------------------------------------------------------------------

    def provable_to_ms(self) -> int:
        """Return the instant up to which it is known what every open session did.

        A running one is proven alive up to there. A starting one was last seen starting then:
        whether it has become ready since is not known, so nothing later can be booked.
        """
        proofs: list[int] = [s["alive_to_ms"] or s["admitted_ms"] for s in self.open_sessions()]
        return min([self.now_ms, *proofs])

    def advance(self) -> None:
        """Book all that is proven: charges, lapses, renewals, overrun."""
        to_ms = self.provable_to_ms()
        # What is booked stays within a month, so that closing one cuts nothing in two.
        for month_ms in months_between(self.row["settled_to_ms"], to_ms, self.terms.zone):
            self._advance_to(month_ms)
        self._advance_to(to_ms)
        for session in self.sessions.values():
            ended_ms = session["ended_ms"]
            if ended_ms is not None and (
                session["ready_ms"] is None or ended_ms <= self.row["settled_to_ms"]
            ):
                session["settled"] = True

    def _advance_to(self, to_ms: int) -> None:
        if to_ms > self.row["settled_to_ms"]:
            outcome = burndown.advance(self.pure(), to_ms)
            charges: list[burndown.Charge] = []
            period: Row = {}
            before = self._own
            for event in outcome.events:
                if isinstance(event, burndown.Charge):
                    charges.append(event)
                    continue
                self.post_charges(charges)
                charges = []
                if isinstance(event, burndown.Lapse):
                    if period and event.at_ms == period["start_ms"]:
                        period["opening_grains"] -= event.amount  # it belongs to the time before
                        self._post_lapse(event, before)
                    else:
                        self._post_lapse(event, self._own)
                else:
                    before = self._own
                    period = self._post_renewal(event)
            self.post_charges(charges)
            self.row["settled_to_ms"] = to_ms
            self.renewals = outcome.wallet.renewals
            self._check_projection(outcome.wallet)

    def _check_projection(self, walked: burndown.Wallet) -> None:
        for grant in walked.grants:
            booked = self.grants[grant.grant_id]["remaining_grains"]
            assert booked == grant.remaining, (
                f"grant {grant.grant_id}: booked {booked}, walked {grant.remaining}"
            )

    def post_charges(
        self, charges: Sequence[burndown.Charge], *, late_at_ms: int | None = None
    ) -> None:
        """Post what sessions consumed; `late_at_ms` is when, if it is learned after its time."""
        if not charges:
            return
        unpaid = sum(c.amount for c in charges if c.grant_id is None)
        overrun_id = self._cover_overrun(charges, unpaid, late_at_ms) if unpaid else None
        entries: list[Entry] = []
        for charge in charges:
            span = (charge.session_id, charge.from_ms, charge.to_ms)
            grant_id = charge.grant_id or overrun_id
            entries.append(Entry("grant", -charge.amount, grant_id, *span))
            entries.append(Entry("consumed", charge.amount, None, *span))
            self.sessions[charge.session_id]["charged_grains"] += charge.amount
        self.post("usage", late_at_ms or max(c.to_ms for c in charges), entries)

    def _cover_overrun(
        self, charges: Sequence[burndown.Charge], unpaid: int, late_at_ms: int | None
    ) -> str:
        """Grant exactly what nobody could pay, so that no wallet is ever negative."""
        starts_ms = late_at_ms or min(c.from_ms for c in charges if c.grant_id is None)
        if self.terms.deducts_overrun:
            self.row["debt_grains"] += unpaid
        return self.credit(OVERRUN, unpaid, at_ms=starts_ms, starts_ms=starts_ms)

    def _post_lapse(self, lapse: burndown.Lapse, plan: Plan) -> None:
        entries = [
            Entry("grant", -lapse.amount, lapse.grant_id),
            Entry("expired", lapse.amount),
        ]
        self.post("expiry", lapse.at_ms, entries, plan=plan)

    def _post_renewal(self, renewed: burndown.Renewed) -> Row:
        """Post what a renewal did; return the row of the period that it began."""
        renewal, row = renewed.renewal, self.row
        opening = sum(grant["remaining_grains"] for grant in self.grants.values()) - sum(
            booked["change_grains"]
            for booked in (*self._ahead, *self.batch.transactions)
            if not is_before(booked["kind"], booked["at_ms"], renewal.at_ms)
        )
        self._own = self.terms.coming
        for rollover in renewed.rollovers:
            self.add_grant(rollover, "rollover", rollover.remaining)
        if renewed.rolled:
            entries = []
            for from_id, to_id, amount in renewed.rolled:
                entries += [Entry("grant", -amount, from_id), Entry("grant", amount, to_id)]
            self.post("rollover", renewal.at_ms, entries)
        self.add_grant(renewed.allotment, "plan", renewal.allotment)
        entries = [
            Entry("issued:plan", -renewal.allotment),
            Entry("grant", renewal.allotment, renewed.allotment.grant_id),
        ]
        if renewal.allotment:
            self.post("allotment", renewal.at_ms, entries)
        if renewed.repaid:
            row["debt_grains"] -= renewed.repaid
            entries = [
                Entry("grant", -renewed.repaid, renewed.allotment.grant_id),
                Entry("issued:overrun", renewed.repaid),
            ]
            self.post("overrun", renewal.at_ms, entries, reason=N_("repaid from the allotment"))
        row["period_start_ms"] = renewal.at_ms
        row["period_end_ms"] = renewal.expires_ms
        self.renewed = True
        row["period_n"] += 1
        row["allotment_grains"] = renewal.allotment
        row["percent_noticed"] = 0
        self.forget_warnings()
        price = self.terms.coming.price
        period = {
            "wallet_id": self.wallet_id,
            "n": row["period_n"],
            "start_ms": renewal.at_ms,
            "end_ms": renewal.expires_ms,
            "plan": self.terms.coming.name,
            "price_minor": price.amount_minor if price else None,
            "currency": price.currency if price else None,
            "allotment_grains": renewal.allotment,
            "opening_grains": opening,
        }
        self.batch.periods.append(period)
        return period

    def forget_warnings(self) -> None:
        """Let time-left warnings come anew; that a stop was said stays, for its orders stand."""
        for session in self.open_sessions():
            if session["noticed_ms"] != STOP_SAID:
                session["noticed_ms"] = None

    def hold(self, plan: Plan) -> None:
        """Book to `plan` from now on."""
        self._own = plan

    # --- posting --------------------------------------------------------------------------

    def credit(
        self,
        source: str,
        amount: int,
        *,
        at_ms: int,
        starts_ms: int,
        expires_ms: int | None = None,
        rolls: int = 0,
        actor: str = "",
        reason: str = "",
    ) -> str:
        """Issue a grant of `amount` grains from `source` and return its id.

        One that expires may survive `rolls` renewals, within the plan's cap.
        """
        assert amount > 0, "a grant is positive"
        grant = burndown.Grant(
            new_id(),
            amount,
            priority=CREDIT_PRIORITY if expires_ms is None else 0,
            age=self.row["transactions_count"],
            starts_ms=starts_ms,
            expires_ms=expires_ms,
            rolls=rolls,
        )
        self.add_grant(grant, source, amount)
        entries = [Entry(f"issued:{source}", -amount), Entry("grant", amount, grant.grant_id)]
        self.post(source, at_ms, entries, actor=actor, reason=reason)
        return grant.grant_id

    def add_grant(self, grant: burndown.Grant, source: str, granted: int) -> None:
        """Open an empty grant; the entry that follows fills it."""
        self.grants[grant.grant_id] = {
            "grant_id": grant.grant_id,
            "wallet_id": self.wallet_id,
            "source": source,
            "priority": grant.priority,
            "age": grant.age,
            "granted_grains": granted,
            "remaining_grains": 0,
            "starts_ms": grant.starts_ms,
            "expires_ms": grant.expires_ms,
            "rolls": grant.rolls > 0,
            "rolls_left": grant.rolls,
            "spent": False,
        }

    def post(
        self,
        kind: str,
        at_ms: int,
        entries: Sequence[Entry],
        *,
        actor: str = "",
        reason: str = "",
        plan: Plan | None = None,
    ) -> str:
        """Append a transaction and apply its entries to the grants; return its id.

        It is booked to the plan that holds, unless it is about another one's time.
        """
        assert sum(e.amount for e in entries) == 0, f"{kind}: entries do not sum to zero"
        change = 0
        for entry in entries:
            if entry.account != "grant":
                continue
            grant = self.grants[str(entry.grant_id)]
            grant["remaining_grains"] += entry.amount
            assert grant["remaining_grains"] >= 0, f"{kind}: grant {entry.grant_id} below nothing"
            change += entry.amount
        transaction_id = new_id()
        number = self.row["transactions_count"] + 1
        previous_hash = self.row["head_hash"]
        facts = (transaction_id, self.wallet_id, number, kind, at_ms, self.now_ms)
        naming = Naming(
            "person" if actor else self._machine(kind, entries),
            "see its remark" if reason else self._reason(kind),
            self._remark(transaction_id, actor, reason) if actor or reason else "",
        )
        digest = transaction_hash(previous_hash, *facts, entries, naming)
        plan = plan or self._own
        self.batch.transactions.append(
            {
                "transaction_id": transaction_id,
                "wallet_id": self.wallet_id,
                "number": number,
                "kind": kind,
                "at_ms": at_ms,
                "booked_ms": self.now_ms,
                "change_grains": change,
                "version": VERSION,
                "actor": naming.actor,
                "reason": naming.reason,
                "remark_hash": naming.remark_hash,
                "previous_hash": previous_hash,
                "hash": digest,
                "plan": plan.name,
                "cost_centre": self.terms.cost_centre or plan.cost_centre or "",
            }
        )
        self.batch.entries.extend(
            {
                "transaction_id": transaction_id,
                "line": line,
                "account": entry.account,
                "amount_grains": entry.amount,
                "grant_id": entry.grant_id,
                "session_id": entry.session_id,
                "from_ms": entry.from_ms,
                "to_ms": entry.to_ms,
            }
            for line, entry in enumerate(entries)
        )
        self.row["transactions_count"] = number
        self.row["head_hash"] = digest
        return transaction_id

    def _machine(self, kind: str, entries: Sequence[Entry]) -> str:
        """Return who makes a transaction of `kind` by itself: hubs tell of use, time does the rest.

        The entries of one usage may be about servers of several hubs.
        """
        session_ids = {entry.session_id for entry in entries if entry.session_id is not None}
        hubs = {self.sessions[key]["hub"] for key in session_ids if key in self.sessions}
        return f"hub:{hubs.pop()}" if len(hubs) == 1 else f"system:{kind}"

    def _reason(self, kind: str) -> str:
        if kind == OVERRUN and self.terms.deducts_overrun:
            return DEDUCTED
        return _REASONS.get(kind, kind)

    def _remark(self, transaction_id: str, actor: str, reason: str) -> str:
        """Keep what somebody said apart from the chain; return the hash that the chain covers."""
        salt = secrets.token_hex(16)
        said = {"actor": actor, "reason": reason, "salt": salt}
        self.batch.remarks.append({"transaction_id": transaction_id, **said})
        return remark_hash(salt, actor, reason)

    def any_grant(self, grant_id: str) -> dict[str, Any]:
        """Return a grant of this wallet, also one that is spent and was not loaded."""
        grant = self.grants.get(grant_id)
        if grant is None:
            spent = select(schema.grants).where(schema.grants.c.grant_id == grant_id)
            row = self.connection.execute(spent).mappings().one()
            grant = self.grants[grant_id] = dict(row)
            self.saved_grants[grant_id] = dict(row)
        return grant

    def any_session(self, session_id: str) -> dict[str, Any]:
        """Return a session of this wallet, also one that is settled and was not loaded."""
        session = self.sessions.get(session_id)
        if session is None:
            settled = select(schema.sessions).where(schema.sessions.c.session_id == session_id)
            row = self.connection.execute(settled).mappings().one()
            session = self.sessions[session_id] = dict(row)
            self.saved_sessions[session_id] = dict(row)
            # For spending limits it counts as one of these now, not as what is past as well.
            counted = [all(row[key] == past[key] for key in past) for past in self.past]
            if any(counted):
                at = counted.index(True)
                self.past = [*self.past[:at], *self.past[at + 1 :]]
        return session

    def paid_by(self, session_id: str) -> list[tuple[str | None, int]]:
        """Return what moved between a session and its grants, in the order of booking.

        Each item is a grant's id and an amount in grains: negative where the grant paid,
        positive where an earlier return gave back; without an id, it gave back overrun's cover.
        """
        entries = schema.entries.c
        booked = self.connection.execute(
            select(entries.grant_id, entries.amount_grains)
            .join(schema.transactions)
            .where(entries.session_id == session_id, entries.account.in_(_PAYING))
            .order_by(schema.transactions.c.number, entries.line)
        )
        # Charges of this very operation are not in the database yet.
        fresh = [
            (e["grant_id"], e["amount_grains"])
            for e in self.batch.entries
            if e["session_id"] == session_id and e["account"] in _PAYING
        ]
        return [*((row.grant_id, row.amount_grains) for row in booked), *fresh]


def _rolls(grant: Row) -> int:
    """Return how many renewals a grant may survive; release 0.1 knew only all or none."""
    left = grant["rolls_left"]
    if left is not None:
        return int(left)
    return burndown.ALWAYS if grant["rolls"] else 0
