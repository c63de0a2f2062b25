"""What a simulation tells: immutable figures, the same for the same scenario and seed.

Amounts are grains (``_grains``), instants and durations milliseconds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from jhub_tokens.wire import Amount

__all__ = [
    "Advice",
    "ArchetypeFigures",
    "Conservation",
    "MemberFigures",
    "Overrun",
    "PlanFigures",
    "ProfileFigures",
    "Report",
    "WeekFigures",
    "Work",
]


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """One plan. Quantiles are over member-months: each member's every period counts once."""

    plan: str
    members: int
    member_months: int
    allotment_grains: int
    used_p10_grains: int
    used_p50_grains: int
    used_p90_grains: int
    used_max_grains: int
    used_percent: float  # of all that was allotted
    members_dry: int
    months_dry: int
    lapsed_grains: int
    rolled_over_grains: int


@dataclass(frozen=True, slots=True)
class ArchetypeFigures:
    """One way of working."""

    archetype: str
    members: int
    starts: int
    wanted_grains: int
    used_grains: int
    members_dry: int


@dataclass(frozen=True, slots=True)
class ProfileFigures:
    """One profile."""

    profile: str
    rate_mtok_h: int
    starts: int
    hours_ms: int
    used_grains: int


@dataclass(frozen=True, slots=True)
class WeekFigures:
    """The nth week of all billing months together."""

    week: int
    starts: int
    refused_balance: int
    ran_dry: int  # member-months that were out of tokens for the first time
    stops: int
    used_grains: int


@dataclass(frozen=True, slots=True)
class Overrun:
    """What ran on after its wallet was dry."""

    granted_grains: int  # what nobody could pay, less what was returned
    repaid_grains: int  # deducted from later allotments
    members: int
    longest_ms: int


@dataclass(frozen=True, slots=True)
class Advice:
    """What a plan would have to hold, by what its members wanted."""

    plan: str
    allotment_grains: int
    needed_p90_grains: int  # enough for 90 % of the member-months, in whole tokens
    carried_percent: float  # member-months whose wishes the present allotment carries


@dataclass(frozen=True, slots=True)
class Conservation:
    """Whether every token is accounted for; `findings` is empty if so."""

    issued_grains: int
    balance_grains: int
    consumed_grains: int
    expired_grains: int
    reckoned_grains: int  # consumption by the simulator's own sum
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """How much was done."""

    events: int
    snapshots: int
    warden_passes: int


@dataclass(frozen=True, slots=True)
class MemberFigures:
    """One member, over the whole time."""

    name: str
    archetype: str
    plan: str
    starts: int
    refused: int
    refused_balance: int
    not_tried: int
    stopped_dry: int
    out_of_tokens_ms: int | None  # when first stopped or refused for want of balance
    hours_ms: int
    wanted_grains: int
    used_grains: int
    allotted_grains: int
    lapsed_grains: int
    overrun_grains: int


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one simulation."""

    seed: str
    months: int
    start_ms: int
    end_ms: int
    zone: str
    enforce: bool
    plans: tuple[PlanFigures, ...]
    archetypes: tuple[ArchetypeFigures, ...]
    profiles: tuple[ProfileFigures, ...]
    weeks: tuple[WeekFigures, ...]
    refusals: dict[str, int]  # by code
    acts: dict[str, int]  # what members did and what befell their servers
    notices: dict[str, int]  # by kind
    overrun: Overrun
    advice: tuple[Advice, ...]
    conservation: Conservation
    work: Work
    members: tuple[MemberFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything for JSON; amounts as elsewhere: exact grains and rounded tokens."""
        return {name: _plain(value) for name, value in _fields(self)}


def _fields(value: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return dict(_named(name, item) for name, item in _fields(value))
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _named(name: str, value: Any) -> tuple[str, Any]:
    if name.endswith("_grains"):
        return name.removesuffix("_grains"), Amount.of(value).model_dump()
    return name, _plain(value)
