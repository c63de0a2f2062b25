"""What a subscription row means under a catalogue: the plan held, the plan to come, renewals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jhub_tokens import burndown
from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.periods import period
from jhub_tokens.units import GRAINS_PER_MILLITOKEN

__all__ = ["ERASED_PLAN", "coming_plan", "due_renewals", "held_plan", "own_plan", "terms_of"]

#: A wallet idle for longer than this renews period by period in several passes.
RENEWALS_AT_ONCE_MAX = 120
#: What erased members hold: nothing. No plan of a catalogue can be called so.
ERASED_PLAN = "(erased)"


def own_plan(subscription: Mapping[str, Any], catalogue: Catalogue) -> Plan:
    """Return the plan subscribed to; one that left the catalogue keeps its terms."""
    plan = catalogue.plans.get(subscription["plan"])
    return plan or Plan.model_validate(subscription["terms"])


def held_plan(subscription: Mapping[str, Any], catalogue: Catalogue, now_ms: int) -> Plan:
    """Return the plan whose profiles and limits hold now: a trial's while it lasts."""
    trial_until_ms = subscription["trial_until_ms"]
    if trial_until_ms is not None and trial_until_ms > now_ms:
        trial = catalogue.plans.get(subscription["trial_plan"])
        if trial is not None:
            return trial
    return own_plan(subscription, catalogue)


def coming_plan(subscription: Mapping[str, Any], catalogue: Catalogue) -> Plan:
    """Return the plan that the next renewal grants."""
    coming = catalogue.plans.get(subscription["next_plan"] or "")
    return coming or own_plan(subscription, catalogue)


def terms_of(plan: Plan, subscription: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms to remember once `plan` holds.

    Whether months are anchored or calendar ones is fixed when a subscription begins: otherwise
    a period's number would name two spans of time.
    """
    return {**plan.model_dump(mode="json"), "period": subscription["terms"]["period"]}


def due_renewals(
    period_n: int, subscription: Mapping[str, Any], plan: Plan, now_ms: int
) -> tuple[burndown.Renewal, ...]:
    """Return the renewals that are due and the one after them, which bounds what is foreseen."""
    kind = subscription["terms"]["period"]
    survives = burndown.ALWAYS if plan.rollover_periods is None else plan.rollover_periods
    renewals: list[burndown.Renewal] = []
    n = period_n
    while len(renewals) < RENEWALS_AT_ONCE_MAX and (not renewals or renewals[-1].at_ms <= now_ms):
        n += 1
        start_ms, end_ms = period(subscription["anchor_ms"], n, subscription["zone"], kind)
        prefix = f"{subscription['subscription_id'][:32]}-{n}"
        renewals.append(
            burndown.Renewal(
                start_ms,
                end_ms,
                plan.allotment_mtok * GRAINS_PER_MILLITOKEN,
                (plan.rollover_cap_mtok or 0) * GRAINS_PER_MILLITOKEN,
                survives,
                allotment_id=f"{prefix}-plan",
                rollover_id=f"{prefix}-rollover",
                age=2 * n,
            )
        )
    return tuple(renewals)
