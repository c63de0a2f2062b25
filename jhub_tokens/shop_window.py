"""What a catalogue shows to people who are not members yet: its plans, and what they include."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jhub_tokens import wire
from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.i18n import _, ngettext
from jhub_tokens.units import GRAINS_PER_MILLITOKEN
from jhub_tokens.words import (
    Hardware,
    duration_text,
    hardware_text,
    money_text,
    rate_text,
    tokens_text,
)

__all__ = ["Included", "PlanCard", "listed_plans", "plan_cards"]

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Included:
    """A profile that a plan includes, in words."""

    title: str
    hardware: str
    rate: str
    lasts: str  # how long the plan's tokens last on it; empty: for ever


@dataclass(frozen=True, slots=True)
class PlanCard:
    """A plan, in words."""

    plan: str
    title: str
    description: str
    tokens: str
    price: str
    servers: str
    trial: str
    included: list[Included]


def listed_plans(catalogue: Catalogue) -> list[wire.KnownPlan]:
    """Return the plans that a catalogue shows, in its order and in all its languages."""
    return [_known(plan) for plan in catalogue.plans.values() if plan.listed]


def _known(plan: Plan) -> wire.KnownPlan:
    return wire.KnownPlan(
        plan=plan.name,
        title=plan.title,
        description=plan.description,
        others=plan.others,
        allotment_mtok=plan.allotment_mtok,
        calendar=plan.period == "calendar",
        price_minor=plan.price.amount_minor if plan.price else None,
        currency=plan.price.currency if plan.price else "",
        max_servers=plan.max_servers,
        profiles=list(plan.profiles),
        trial_mtok=plan.trial.allotment_mtok if plan.trial else None,
        trial_ms=plan.trial.duration_ms if plan.trial else None,
    )


def plan_cards(
    plans: Iterable[wire.KnownPlan], profiles: Mapping[str, tuple[str, int, Hardware]]
) -> list[PlanCard]:
    """Return plans in the words of the task's language.

    Parameters
    ----------
    plans
        The plans.
    profiles
        Each profile's title, rate in millitokens per hour, and hardware.
    """
    return [
        PlanCard(
            plan=plan.plan,
            title=plan.title,
            description=plan.description,
            tokens=_("%(tokens)s a month", tokens=_tokens(plan.allotment_mtok)),
            price=_price(plan),
            servers=ngettext(
                "one server at a time", "%(count)s servers at a time", plan.max_servers
            ),
            trial=_trial(plan),
            included=[
                _included(plan.allotment_mtok, *profiles[name])
                for name in plan.profiles
                if name in profiles
            ],
        )
        for plan in (known.spoken() for known in plans)
    ]


def _tokens(amount_mtok: int) -> str:
    return tokens_text(amount_mtok * GRAINS_PER_MILLITOKEN)


def _price(plan: wire.KnownPlan) -> str:
    if not plan.price_minor:
        return ""
    return _("%(price)s a month", price=money_text(plan.price_minor, plan.currency))


def _trial(plan: wire.KnownPlan) -> str:
    if plan.trial_mtok is None or plan.trial_ms is None:
        return ""
    return _(
        "Free trial: %(tokens)s for %(duration)s",
        tokens=_tokens(plan.trial_mtok),
        duration=duration_text(plan.trial_ms),
    )


def _included(allotment_mtok: int, title: str, rate_mtok_h: int, hardware: Hardware) -> Included:
    lasts = ""
    if rate_mtok_h:
        duration = _hours_text(allotment_mtok * _HOUR_MS // rate_mtok_h)
        lasts = _("up to %(duration)s", duration=duration)
    return Included(title, hardware_text(hardware), rate_text(rate_mtok_h), lasts)


def _hours_text(duration_ms: int) -> str:
    """Return a duration in hours: days are no measure of what runs now and then."""
    hours = duration_ms // _HOUR_MS
    if hours < 2:
        return duration_text(duration_ms)
    return ngettext("%(count)s hour", "%(count)s hours", hours)
