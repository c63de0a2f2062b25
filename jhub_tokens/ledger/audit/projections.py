"""Auditing projections: a wallet, its grants, sessions and periods, derived from the entries."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jhub_tokens.burndown import ALWAYS
from jhub_tokens.ledger.audit.findings import Finding
from jhub_tokens.ledger.rows import ENDS
from jhub_tokens.ledger.wallet import CREDIT_PRIORITY, DEDUCTED, OVERRUN, PLAN_SOURCES, STOP_SAID
from jhub_tokens.periods import period, period_at

__all__ = ["ProjectionAudit"]

#: Due wallets that wait for proof of life, or are in trouble, are looked at again within this.
_WAIT_MS = 120_000
#: The sources of grants whose transactions are not of a kind of the same name.
_SOURCES = {"allotment": "plan", "return": "refund"}


@dataclass(slots=True)
class _Grant:
    """What the entries say of a grant."""

    left: int = 0
    granted: int = 0  # by the transaction that made it
    made_by: str = ""
    number: int = 0
    at_ms: int = 0
    kind: str = ""
    rolled_from: str | None = None


class ProjectionAudit:
    """One wallet: takes its transactions in order, then compares; single use."""

    def __init__(
        self,
        wallet: Any,
        subscription: Any,
        grants: Sequence[Any],
        sessions: Sequence[Any],
        periods: Sequence[Any],
    ) -> None:
        self._wallet = wallet
        self._subscription = subscription
        self._where = f"wallet {wallet['wallet_id']}"
        self._grant_rows = {row["grant_id"]: row for row in grants}
        self._session_rows = sessions
        self._period_rows = periods
        self._starts = [row["start_ms"] for row in periods]
        self._changes = [0] * (len(periods) + 1)
        self._grants: dict[str, _Grant] = defaultdict(_Grant)
        self._consumed: dict[str, int] = defaultdict(int)
        self._refunded: dict[str, int] = defaultdict(int)
        self._allotments: dict[int, int] = {}  # by the instant at which their period starts
        self._upgraded = 0  # within the present period
        self._covers = {"deducted": 0, "unknown": 0}
        self._repaid = self._taken_off = 0
        self._booked_to_ms = 0

    # --- the entries ----------------------------------------------------------------------

    def take(self, lines: Sequence[Any]) -> Iterator[Finding]:
        """Add the next transaction, given as the rows of its entries."""
        row = lines[0]
        where = f"{self._where}, transaction {row.number} ({row.transaction_id})"
        payer: str | None = None
        change = 0
        for line in lines:
            if line.account == "grant":
                change += line.amount_grains
                grant = self._grants[line.grant_id]
                self._fill(grant, row, line, payer)
                if grant.left < 0:
                    yield Finding(where, f"it burns grant {line.grant_id} below nothing")
                payer = line.grant_id
            elif line.account == "consumed":
                self._consumed[line.session_id] += line.amount_grains
                if row.kind == "refund":
                    self._refunded[line.session_id] -= line.amount_grains
            elif line.account == f"issued:{OVERRUN}":
                self._overrun(row, line)
            if row.kind == "usage":
                self._booked_to_ms = max(self._booked_to_ms, line.to_ms or 0)
        if row.kind in ("expiry", "rollover", "allotment"):
            self._booked_to_ms = max(self._booked_to_ms, row.at_ms)
        if row.kind == "allotment":
            if row.at_ms in self._allotments:
                yield Finding(where, "is a second allotment of one period")
            self._allotments[row.at_ms] = change
        elif row.kind == "upgrade" and row.at_ms >= self._wallet["period_start_ms"]:
            self._upgraded += change
        find = bisect_left if row.kind in ENDS else bisect_right
        self._changes[find(self._starts, row.at_ms)] += change

    @staticmethod
    def _fill(grant: _Grant, row: Any, line: Any, payer: str | None) -> None:
        grant.left += line.amount_grains
        if not grant.made_by:
            grant.made_by, grant.number = row.transaction_id, row.number
            grant.at_ms, grant.kind, grant.rolled_from = row.at_ms, row.kind, payer
        if grant.made_by == row.transaction_id and line.amount_grains > 0:
            grant.granted += line.amount_grains

    def _overrun(self, row: Any, line: Any) -> None:
        if line.amount_grains < 0:
            if row.version == 1:
                self._covers["unknown"] -= line.amount_grains
            elif row.reason == DEDUCTED:
                self._covers["deducted"] -= line.amount_grains
        elif row.kind == OVERRUN:
            self._repaid += line.amount_grains
        else:
            self._taken_off += line.amount_grains

    # --- what was made of them ------------------------------------------------------------

    def close(self, now_ms: int) -> Iterator[Finding]:
        """Compare all projections."""
        yield from self._check_grants()
        yield from self._check_sessions()
        yield from self._check_periods()
        yield from self._check_wallet(now_ms)

    def _check_grants(self) -> Iterator[Finding]:
        for grant_id in sorted(set(self._grant_rows) | set(self._grants)):
            where = f"{self._where}, grant {grant_id}"
            row, said = self._grant_rows.get(grant_id), self._grants[grant_id]
            if row is None:
                yield Finding(where, "has entries but no row")
                continue
            if row["remaining_grains"] != said.left:
                yield Finding(
                    where, f"has {row['remaining_grains']} left, its entries say {said.left}"
                )
            if row["granted_grains"] != said.granted:
                yield Finding(
                    where, f"was granted {row['granted_grains']}, its entries say {said.granted}"
                )
            yield from self._check_end(where, row)
            if said.made_by:
                yield from self._check_making(where, row, said)

    def _check_end(self, where: str, row: Any) -> Iterator[Finding]:
        expires_ms = row["expires_ms"]
        over = expires_ms is not None and expires_ms <= self._wallet["settled_to_ms"]
        if row["spent"] and row["remaining_grains"]:
            yield Finding(where, "counts as spent but is not")
        if over and row["remaining_grains"]:
            yield Finding(where, "has expired but was not lapsed")
        if not row["spent"] and over and not row["remaining_grains"]:
            yield Finding(where, "is spent but does not count so")

    def _check_making(self, where: str, row: Any, said: _Grant) -> Iterator[Finding]:
        """Compare what was decided when the grant was made."""
        source = _SOURCES.get(said.kind, said.kind)
        expected: dict[str, Any] = {"source": source}
        if source in PLAN_SOURCES:
            expected["starts_ms"] = said.at_ms
            expected["priority"] = 0
            if self._subscription is not None:
                n, _, end_ms = self._period_at(said.at_ms)
                expected["expires_ms"] = end_ms
                expected["age"] = 2 * n + (source == "plan")
        elif source == "refund":
            expected["age"] = said.number - 1
        else:
            if source in ("topup", "adjustment", OVERRUN):
                expected["expires_ms"] = None
            expected["priority"] = CREDIT_PRIORITY if row["expires_ms"] is None else 0
            expected["age"] = said.number - 1
        if row["rolls_left"] is not None:
            expected["rolls"] = row["rolls_left"] != 0
        parent = self._grant_rows.get(said.rolled_from or "")
        if source == "rollover" and parent is not None and parent["rolls_left"] is not None:
            left = parent["rolls_left"]
            expected["rolls_left"] = left if left == ALWAYS else left - 1
        for name, value in expected.items():
            if row[name] != value:
                yield Finding(where, f"has {name} {row[name]}, what made it says {value}")

    def _check_sessions(self) -> Iterator[Finding]:
        settled_to_ms = self._wallet["settled_to_ms"]
        open_sessions = 0
        known = set()
        for row in self._session_rows:
            session_id = row["session_id"]
            known.add(session_id)
            where = f"{self._where}, session {session_id}"
            charged, refunded, ended_ms = (
                row["charged_grains"],
                row["refunded_grains"],
                row["ended_ms"],
            )
            open_sessions += ended_ms is None
            if charged != self._consumed[session_id]:
                yield Finding(
                    where, f"was charged {charged}, its entries say {self._consumed[session_id]}"
                )
            expected = 0
            if row["ready_ms"] is not None:
                end_ms = settled_to_ms if ended_ms is None else min(settled_to_ms, ended_ms)
                # The closed form: rate × time, exact.
                expected = row["rate_mtok_h"] * max(0, end_ms - row["ready_ms"])
            if charged != expected - refunded:
                yield Finding(
                    where,
                    f"was charged {charged}, rate × time is {expected}, refunded {refunded}",
                )
            # An end learned late may turn a part of a refund into the return that was due.
            if not 0 <= refunded <= self._refunded[session_id]:
                yield Finding(
                    where,
                    f"counts {refunded} as refunded, its entries say {self._refunded[session_id]}",
                )
            booked = ended_ms is not None and (row["ready_ms"] is None or ended_ms <= settled_to_ms)
            if booked and not row["settled"]:
                yield Finding(where, "has ended and is booked, but does not count as settled")
            if row["settled"] and not booked:
                yield Finding(where, "counts as settled, but has not ended or is not booked")
        for session_id in set(self._consumed) - known:
            yield Finding(f"{self._where}, session {session_id}", "was charged but has no row")
        if open_sessions != self._wallet["open_sessions"]:
            yield Finding(
                self._where,
                f"counts {self._wallet['open_sessions']} open sessions, there are {open_sessions}",
            )

    def _check_periods(self) -> Iterator[Finding]:
        opening = 0
        for row, change in zip(self._period_rows, self._changes, strict=False):
            opening += change
            expected = {
                "allotment_grains": self._allotments.get(row["start_ms"], 0),
                "opening_grains": opening,
            }
            if self._subscription is not None:
                expected["start_ms"], expected["end_ms"] = self._period(row["n"])
            for name, value in expected.items():
                if row[name] != value:
                    yield Finding(
                        f"{self._where}, period {row['n']}",
                        f"has {name} {row[name]}, the entries and the calendar say {value}",
                    )

    def _check_wallet(self, now_ms: int) -> Iterator[Finding]:
        row = self._wallet
        if self._subscription is None:
            yield Finding(self._where, "has no subscription")
            return
        start_ms, end_ms = self._period(row["period_n"])
        allotment = self._allotments.get(start_ms, 0) + self._upgraded
        for name, value in (
            ("period_start_ms", start_ms),
            ("period_end_ms", end_ms),
            ("allotment_grains", allotment),
        ):
            if row[name] != value:
                yield Finding(
                    self._where, f"has {name} {row[name]}, the entries and the calendar say {value}"
                )
        for at_ms in self._allotments:
            if at_ms > row["period_start_ms"] or self._period_at(at_ms)[1] != at_ms:
                yield Finding(self._where, f"has an allotment at {at_ms}, where no period begins")
        if self._period_rows and self._period_rows[-1]["n"] > row["period_n"]:
            yield Finding(self._where, f"has period_n {row['period_n']}, but later periods")
        if not max(self._booked_to_ms, start_ms) <= row["settled_to_ms"] <= end_ms:
            yield Finding(
                self._where,
                f"has settled_to_ms {row['settled_to_ms']}; what is booked reaches to "
                f"{self._booked_to_ms} and the period from {start_ms} to {end_ms}",
            )
        left = sum(grant.left for grant in self._grants.values())
        if row["balance_count"] == row["transactions_count"] and row["balance_grains"] != left:
            yield Finding(
                self._where, f"is listed with {row['balance_grains']}, its entries say {left}"
            )
        yield from self._check_debt()
        yield from self._check_deadline(now_ms)

    def _check_debt(self) -> Iterator[Finding]:
        """Compare the debt; how covers were meant is not known of the previous release's."""
        owed = self._covers["deducted"] - self._repaid
        least, most = max(0, owed - self._taken_off), owed + self._covers["unknown"]
        if not least <= self._wallet["debt_grains"] <= most:
            said = str(least) if least == most else f"{least} to {most}"
            yield Finding(
                self._where, f"owes {self._wallet['debt_grains']}, its entries say {said}"
            )

    def _check_deadline(self, now_ms: int) -> Iterator[Finding]:
        """See that the warden comes by in time: the instant itself depends on the catalogue."""
        row = self._wallet
        latest_ms = row["period_end_ms"]
        burns = any(
            s["ended_ms"] is None
            and s["ready_ms"] is not None
            and s["noticed_ms"] != STOP_SAID
            and not s["files"]
            for s in self._session_rows
        )
        if burns and row["dry_ms"] is not None:
            latest_ms = min(latest_ms, row["dry_ms"])
        latest_ms = max(latest_ms, now_ms + _WAIT_MS)
        if row["next_deadline_ms"] > latest_ms:
            yield Finding(
                self._where,
                f"is looked at again at {row['next_deadline_ms']}, but must be by {latest_ms}",
            )

    def _period(self, n: int) -> tuple[int, int]:
        subscription = self._subscription
        kind = subscription["terms"]["period"]
        return period(subscription["anchor_ms"], n, subscription["zone"], kind)

    def _period_at(self, at_ms: int) -> tuple[int, int, int]:
        subscription = self._subscription
        kind = subscription["terms"]["period"]
        return period_at(subscription["anchor_ms"], at_ms, subscription["zone"], kind)
