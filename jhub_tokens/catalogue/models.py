"""What a catalogue is: plans, profiles with their rates, image versions, and who gets which plan.

These values are immutable and know nothing of files. Amounts are millitokens (``_mtok``), rates
millitokens per hour (``_mtok_h``), durations milliseconds (``_ms``).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from jhub_tokens.facts import Facts
from jhub_tokens.in_languages import InLanguages

__all__ = [
    "FACT_KINDS",
    "Accelerator",
    "AssignRule",
    "BreakGlass",
    "Catalogue",
    "CostCentre",
    "Decision",
    "Entry",
    "Idle",
    "ImageVersion",
    "Lifecycle",
    "Match",
    "Overrun",
    "PeriodKind",
    "Plan",
    "Policy",
    "Pool",
    "Price",
    "Profile",
    "SelfService",
    "TaintEffect",
    "Team",
    "Toleration",
    "TolerationOperator",
    "TopUp",
    "Trial",
    "Upgrade",
]

Accelerator = Literal["gpu", "cpu", "any"]
BreakGlass = Literal["charge", "waive"]
Lifecycle = Literal["recommended", "maintained", "retiring", "retired"]
Overrun = Literal["waive", "deduct"]
PeriodKind = Literal["anchored", "calendar"]
Upgrade = Literal["now", "next"]
SelfService = Literal["upgrade", "downgrade", "pause", "trial"]
Entry = Literal["everybody", "assigned"]
Match = Literal["any", "all"]
TolerationOperator = Literal["Equal", "Exists"]
TaintEffect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]

NO_FACTS = Facts()
#: The conditions of rules that are about what a sign-in provider says, but for claims.
FACT_KINDS = ("provider_groups", "organisations", "teams", "email_domains", "emails")

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
    break_glass: BreakGlass = "charge"
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


class Plan(InLanguages, _Value):
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
    cost_centre: str | None = None  # who bears it, where neither team nor member says otherwise
    keep_running_ms: int = 8 * 3_600_000  # how long an idle server may be kept running; 0: not
    stop_when_done: bool = True
    self_service: bool = True  # whether members may choose it, where the catalogue lets them choose
    max_members: int | None = None  # of a team with this plan, those invited included
    listed: bool = True  # among the plans on the sign-in page
    workspace_bytes: int | None = None  # size of the member's volume, for spawners that make one


class Toleration(_Value):
    """A taint that does not keep servers off a node."""

    key: str | None = None  # None: any
    operator: TolerationOperator = "Equal"
    value: str = ""
    effect: TaintEffect | None = None  # None: any
    seconds: int | None = None


class Pool(InLanguages, _Value):
    """Nodes of one kind in a cluster, and how servers get there."""

    name: str
    title: str
    gpu_model: str | None = None
    selector: dict[str, str]
    tolerations: tuple[Toleration, ...] = ()
    affinity: dict[str, Any] = {}  # as Kubernetes writes it
    gpu_resource: str = "nvidia.com/gpu"
    spot: bool = False  # the provider may take such nodes away at short notice
    priority_class: str | None = None
    runtime_class: str | None = None


class Idle(_Value):
    """When a server that nobody and nothing uses is stopped, and how it is warned of before."""

    stop_after_ms: int
    warn_before_ms: tuple[int, ...] = (10 * 60_000, 2 * 60_000)


class Profile(InLanguages, _Value):
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
    idle: Idle | None = None  # None: however long nothing uses it, it runs on
    files: bool = False  # opens the member's files and nothing else: no kernels, no terminals
    images: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    shm_bytes: int | None = None  # size of /dev/shm; None: what the container runtime gives
    node_selector: dict[str, str] = {}
    environment: dict[str, str] = {}


class ImageVersion(InLanguages, _Value):
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
    """Gives `plan`, or refuses entry, to those who meet its conditions: any of them, or all."""

    plan: str = ""  # empty: refused
    refuse: bool = False
    match: Match = "any"
    members: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    asked: Facts = NO_FACTS

    def conditions(
        self, name: str, groups: Collection[str], facts: Facts
    ) -> list[tuple[str, tuple[str, ...]]]:
        """Return each condition's key with the values of it that hold; none: it is not met."""
        found: list[tuple[str, tuple[str, ...]]] = []
        if self.members:
            found.append(("members", (name,) if name in self.members else ()))
        if self.groups:
            found.append(("groups", _held(self.groups, groups)))
        for kind in FACT_KINDS:
            if wanted := getattr(self.asked, kind):
                found.append((kind, _held(wanted, getattr(facts, kind))))
        for claim, wanted in self.asked.claims.items():
            found.append((f"claims.{claim}", _held(wanted, facts.claims.get(claim, ()))))
        return found

    def matches(self, name: str, groups: Collection[str], facts: Facts | None = None) -> bool:
        """Tell whether this rule is about the member `name`, who is in `groups`."""
        met = [bool(held) for _, held in self.conditions(name, groups, facts or NO_FACTS)]
        return all(met) if self.match == "all" else any(met)


def _held(wanted: Collection[str], values: Collection[str]) -> tuple[str, ...]:
    return tuple(value for value in wanted if value in values)


class Decision(_Value):
    """What the rules say of somebody: the place of the rule that decided, None for the default."""

    rule: int | None
    plan: str
    refused: bool
    why: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Team(InLanguages, _Value):
    """A wallet that the members of a hub group share, with a plan of its own."""

    name: str
    title: str
    group: str
    plan: str
    member_cap_mtok: int | None = None  # what each member may spend of it in a period
    owners: tuple[str, ...] = ()
    cost_centre: str | None = None


class CostCentre(InLanguages, _Value):
    """Who bears what some members consume, for reports."""

    name: str
    title: str
    members: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def is_of(self, name: str, groups: Collection[str]) -> bool:
        """Tell whether the member `name`, who is in `groups`, belongs to this cost centre."""
        return name in self.members or any(group in groups for group in self.groups)


class Catalogue(InLanguages, _Value):
    """Everything that an operator decides about tokens; see ``docs/catalogue.md``."""

    title: str = ""
    banner: str = ""
    #: Texts of the sign-in page, by language; under the empty one where there is one for all.
    welcome: dict[str, str] = {}
    announcement: dict[str, str] = {}
    zone: str = "UTC"
    enforce: bool = True
    default_plan: str
    adopt_profile: str
    top_up: str = ""
    top_ups: tuple[TopUp, ...] = ()
    self_service: tuple[SelfService, ...] = ()  # what members may do with their plan themselves
    policy: Policy = Policy()
    plans: dict[str, Plan]
    profiles: dict[str, Profile]
    images: dict[str, ImageVersion] = {}
    pools: dict[str, Pool] = {}
    entry: Entry = "everybody"
    assign: tuple[AssignRule, ...] = ()
    teams: dict[str, Team] = {}
    cost_centres: dict[str, CostCentre] = {}

    def spoken(self, code: str | None = None) -> Self:
        """Return the catalogue with all its texts in the language `code`, or that of the task."""
        shown = {
            kind: {name: item.spoken(code) for name, item in items.items()}
            for kind, items in (
                ("plans", self.plans), ("profiles", self.profiles), ("images", self.images),
                ("pools", self.pools), ("teams", self.teams), ("cost_centres", self.cost_centres),
            )
        }  # fmt: skip
        changed = {
            kind: items
            for kind, items in shown.items()
            if any(item is not getattr(self, kind)[name] for name, item in items.items())
        }
        spoken = super().spoken(code)
        return spoken.model_copy(update=changed) if changed else spoken

    def cost_centre_of(self, name: str, groups: Collection[str] = ()) -> str | None:
        """Return the cost centre that names a member: the first in the file's order, if any."""
        for centre in self.cost_centres.values():
            if centre.is_of(name, groups):
                return centre.name
        return None

    def teams_of(self, groups: Collection[str]) -> list[Team]:
        """Return the teams of somebody who is in `groups`, in the file's order."""
        return [team for team in self.teams.values() if team.group in groups]

    def plan_for(self, name: str, groups: Collection[str] = (), facts: Facts | None = None) -> Plan:
        """Return the plan of a member: the first rule that matches, else the default plan.

        A rule that refuses entry has none: who is a member all the same holds the default plan.
        """
        return self.plans[self.decide(name, groups, facts).plan]

    def decide(
        self, name: str, groups: Collection[str] = (), facts: Facts | None = None
    ) -> Decision:
        """Return what the first rule that matches says, else what holds for everybody else."""
        for place, rule in enumerate(self.assign):
            if rule.matches(name, groups, facts):
                met = rule.conditions(name, groups, facts or NO_FACTS)
                return Decision(
                    rule=place,
                    plan=self.default_plan if rule.refuse else rule.plan,
                    refused=rule.refuse,
                    why=tuple((key, held) for key, held in met if held),
                )
        return Decision(rule=None, plan=self.default_plan, refused=self.entry == "assigned")

    @property
    def asked(self) -> Facts:
        """All values that rules name: what is to be found out about whoever signs in."""
        kinds: dict[str, set[str]] = {kind: set() for kind in FACT_KINDS}
        claims: dict[str, set[str]] = {}
        for rule in self.assign:
            for kind, names in kinds.items():
                names.update(getattr(rule.asked, kind))
            for claim, values in rule.asked.claims.items():
                claims.setdefault(claim, set()).update(values)
        found: dict[str, Any] = {kind: tuple(sorted(names)) for kind, names in kinds.items()}
        found["claims"] = {claim: tuple(sorted(values)) for claim, values in claims.items()}
        return Facts.model_construct(**found)  # of many rules it may hold more than one person's

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

    def pool_for(self, profile: Profile, gpu_model: str | None = None) -> Pool | None:
        """Return the node pool of a profile for a GPU model; None: the profile names none."""
        pools = [self.pools[name] for name in profile.pools]
        if gpu_model is not None:
            pools = [pool for pool in pools if pool.gpu_model in (None, gpu_model)]
        return next(iter(pools), None)

    def is_spot(self, profile: Profile) -> bool:
        """Tell whether a profile runs on nodes that may go at short notice."""
        return any(self.pools[name].spot for name in profile.pools)

    def smaller_than(self, profile: Profile) -> list[Profile]:
        """Return the profiles with a lower rate, the next smaller one first."""
        smaller = [
            other for other in self.profiles.values() if other.rate_mtok_h < profile.rate_mtok_h
        ]
        return sorted(smaller, key=lambda other: -other.rate_mtok_h)
