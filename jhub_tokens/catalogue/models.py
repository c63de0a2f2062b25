"""What a catalogue is: plans, profiles with their rates, image versions, and who gets which plan.

These values are immutable and know nothing of files. Amounts are millitokens (``_mtok``), rates
millitokens per hour (``_mtok_h``), durations milliseconds (``_ms``).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = [
    "Accelerator",
    "AssignRule",
    "Catalogue",
    "ImageVersion",
    "Lifecycle",
    "Overrun",
    "PeriodKind",
    "Plan",
    "Policy",
    "Price",
    "Profile",
    "Team",
    "TopUp",
    "Trial",
    "Upgrade",
]

Accelerator = Literal["gpu", "cpu", "any"]
Lifecycle = Literal["recommended", "maintained", "retiring", "retired"]
Overrun = Literal["waive", "deduct"]
PeriodKind = Literal["anchored", "calendar"]
Upgrade = Literal["now", "next"]

#: The order in which a member is shown image versions.
_LIFECYCLE_ORDER: tuple[Lifecycle, ...] = ("recommended", "maintained", "retiring", "retired")


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Policy(_Value):
    """When a start is carried, when members are warned, and who pays for a late stop."""

    minimum_run_ms: int = 5 * 60_000
    grace_ms: int = 2 * 60_000
    stop_time_ms: int = 30_000
    warn_before_ms: tuple[int, ...] = (30 * 60_000, 10 * 60_000, 5 * 60_000, 60_000)
    warn_used_percent: tuple[int, ...] = (80, 95)
    warn_expiry_ms: int | None = None
    overrun: Overrun = "waive"
    admin_limit_mtok: int | None = None  # what one administrator may move in a month
    admin_limits: dict[str, int] = {}  # by name, in millitokens, where it differs
    past_due_grace_ms: int = 7 * 86_400_000


class Price(_Value):
    """An amount of money, in the currency's smallest unit."""

    amount_minor: int
    currency: str


class TopUp(_Value):
    """Tokens that can be bought at a price."""

    amount_mtok: int
    price: Price


class Trial(_Value):
    """A plan for a while, once for each member, with tokens of its own."""

    duration_ms: int
    allotment_mtok: int


class Plan(_Value):
    """What a member or a team has each period, and what may be started with it."""

    name: str
    title: str
    description: str = ""
    allotment_mtok: int
    period: PeriodKind = "anchored"
    price: Price | None = None
    rollover_cap_mtok: int | None = None
    rollover_periods: int | None = None  # how many renewals a token may survive; None: any
    upgrade: Upgrade = "now"
    trial: Trial | None = None
    profiles: tuple[str, ...] = ()
    max_servers: int = 1
    max_gpus: int | None = None
    spend_per_day_mtok: int | None = None
    spend_per_week_mtok: int | None = None
    keep_running_ms: int = 8 * 3_600_000  # how long an idle server may be kept running; 0: not
    stop_when_done: bool = True


class Profile(_Value):
    """Hardware at a rate."""

    name: str
    title: str
    description: str = ""
    rate_mtok_h: int
    cpu: float
    memory_bytes: int
    gpus: int = 0
    gpu_models: tuple[str, ...] = ()
    max_run_ms: int | None = None
    images: tuple[str, ...] = ()
    node_selector: dict[str, str] = {}
    environment: dict[str, str] = {}


class ImageVersion(_Value):
    """One version of an image, with its place in its life."""

    tag: str
    title: str
    reference: str | None = None
    accelerator: Accelerator = "any"
    lifecycle: Lifecycle = "maintained"
    until: date | None = None
    successor: str | None = None

    def fits(self, profile: Profile) -> bool:
        """Tell whether this image is made for the profile's hardware."""
        return self.accelerator in ("any", "gpu" if profile.gpus else "cpu")

    def is_retired(self, today: date | None = None) -> bool:
        """Tell whether this image may no longer be started.

        A retiring image retires on its `until` date; without `today`, only the written
        lifecycle counts.
        """
        if self.lifecycle == "retired":
            return True
        return today is not None and self.until is not None and today >= self.until


class AssignRule(_Value):
    """Gives `plan` to the members named, and to everybody in one of the hub groups named."""

    plan: str
    members: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def matches(self, name: str, groups: Collection[str]) -> bool:
        """Tell whether this rule is about the member `name`, who is in `groups`."""
        return name in self.members or any(group in groups for group in self.groups)


class Team(_Value):
    """A wallet that the members of a hub group share, with a plan of its own."""

    name: str
    title: str
    group: str
    plan: str
    member_cap_mtok: int | None = None  # what each member may spend of it in a period
    owners: tuple[str, ...] = ()


class Catalogue(_Value):
    """Everything that an operator decides about tokens; see ``docs/catalogue.md``."""

    title: str = ""
    banner: str = ""
    zone: str = "UTC"
    enforce: bool = True
    default_plan: str
    adopt_profile: str
    top_up: str = ""
    top_ups: tuple[TopUp, ...] = ()
    policy: Policy = Policy()
    plans: dict[str, Plan]
    profiles: dict[str, Profile]
    images: dict[str, ImageVersion] = {}
    assign: tuple[AssignRule, ...] = ()
    teams: dict[str, Team] = {}

    def teams_of(self, groups: Collection[str]) -> list[Team]:
        """Return the teams of somebody who is in `groups`, in the file's order."""
        return [team for team in self.teams.values() if team.group in groups]

    def plan_for(self, name: str, groups: Collection[str] = ()) -> Plan:
        """Return the plan of a member: the first rule that matches, else the default plan."""
        for rule in self.assign:
            if rule.matches(name, groups):
                return self.plans[rule.plan]
        return self.plans[self.default_plan]

    def images_for(self, profile_name: str, today: date | None = None) -> list[ImageVersion]:
        """Return the images that can be started with a profile, the recommended ones first.

        Raises
        ------
        KeyError
            If there is no such profile.
        """
        profile = self.profiles[profile_name]
        if profile.images:
            candidates = [self.images[tag] for tag in profile.images]
        else:
            candidates = [image for image in self.images.values() if image.fits(profile)]
        offered = [image for image in candidates if not image.is_retired(today)]
        # sorted() is stable: within a stage of life the file's (or the profile's) order stands.
        return sorted(offered, key=lambda image: _LIFECYCLE_ORDER.index(image.lifecycle))

    def smaller_than(self, profile: Profile) -> list[Profile]:
        """Return the profiles with a lower rate, the next smaller one first."""
        smaller = [
            other for other in self.profiles.values() if other.rate_mtok_h < profile.rate_mtok_h
        ]
        return sorted(smaller, key=lambda other: -other.rate_mtok_h)
