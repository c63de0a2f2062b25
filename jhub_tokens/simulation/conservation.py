"""Whether every token is accounted for, by sums that the books have no part in.

The audit derives the books from their own entries. Here they are compared with what the
simulator did: each run costs its rate times the milliseconds from ready to its end, and each
period that has begun issues its plan's allotment. Nothing is rounded, so nothing may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jhub_tokens.periods import period_at
from jhub_tokens.simulation.play import Play
from jhub_tokens.simulation.report import Conservation
from jhub_tokens.units import GRAINS_PER_MILLITOKEN

__all__ = ["Account", "check"]


@dataclass(slots=True)
class Account:
    """One member: what the statements say, beside the simulator's own sum (`reckoned`)."""

    used: int = 0
    returned: int = 0  # to the balance
    covered: int = 0  # by overrun, when it was booked
    repaid: int = 0
    reckoned: int = 0

    @property
    def uncovered(self) -> int:
        """Overrun that an end learned late took back; a statement shows no line for it."""
        return self.used - self.returned - self.reckoned

    @property
    def overrun(self) -> int:
        """Overrun that remained."""
        return self.covered - self.uncovered


def check(play: Play, accounts: Mapping[str, Account]) -> tuple[int, Conservation]:
    """Return all overrun, and what the books hold with everything that does not agree."""
    findings = [f"audit: {finding}" for finding in play.ledger.audit()]
    totals = play.ledger.totals()
    issued, balance = totals["issued_grains"], totals["balance_grains"]
    consumed, expired = totals["consumed_grains"], totals["expired_grains"]
    reckoned = sum(account.reckoned for account in accounts.values())
    overrun = sum(account.overrun for account in accounts.values())
    repaid = sum(account.repaid for account in accounts.values())
    if consumed != reckoned:
        findings.append(
            f"consumption: the books say {consumed} grains, rate × time says {reckoned} "
            f"(difference {consumed - reckoned})"
        )
    if issued != balance + consumed + expired:
        findings.append(
            f"issued: {issued} grains are not balances {balance} + consumed {consumed} + "
            f"expired {expired}"
        )
    allotted = issued - totals["overrun_grains"]
    expected = _allotted(play)
    if allotted != expected:
        findings.append(
            f"allotments: the books issued {allotted} grains, the plans say {expected} "
            f"(difference {allotted - expected})"
        )
    if totals["overrun_grains"] != overrun - repaid:
        findings.append(
            f"overrun: the books say {totals['overrun_grains']} grains, the statements "
            f"{overrun - repaid}"
        )
    for name, account in accounts.items():
        if not 0 <= account.uncovered <= account.covered:
            findings.append(
                f"{name}: the statements say {account.used - account.returned} grains, "
                f"rate × time says {account.reckoned}"
            )
        if account.repaid > account.overrun:
            findings.append(
                f"{name}: {account.repaid} grains of overrun were deducted, only "
                f"{account.overrun} remained to be"
            )
    findings += [
        f"{hub.name}: the end of {key} was told and never confirmed"
        for hub in play.hubs
        for key in hub.untold
    ]
    if totals["sessions_open"]:
        findings.append(f"sessions: {totals['sessions_open']} are open after all servers ended")
    return overrun, Conservation(issued, balance, consumed, expired, reckoned, tuple(findings))


def _allotted(play: Play) -> int:
    """Return what the plans promise for all periods that have begun."""
    scenario = play.scenario
    total = 0
    for person in scenario.people:
        plan = scenario.catalogue.plans[person.plan]
        last, _, _ = period_at(
            scenario.start_ms, scenario.end_ms, scenario.catalogue.zone, plan.period
        )
        total += (last + 1) * plan.allotment_mtok * GRAINS_PER_MILLITOKEN
    return total
