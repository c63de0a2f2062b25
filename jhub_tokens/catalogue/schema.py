"""What a catalogue file looks like: its keys, which of them are required, and their values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from jhub_tokens.catalogue.models import (
    Accelerator,
    AssignRule,
    BreakGlass,
    Catalogue,
    CostCentre,
    Entry,
    Idle,
    ImageVersion,
    Lifecycle,
    Match,
    Overrun,
    PeriodKind,
    Plan,
    Policy,
    Price,
    Profile,
    SelfService,
    Team,
    TopUp,
    Trial,
    Upgrade,
)
from jhub_tokens.catalogue.pool_schema import PoolEntry, Selector
from jhub_tokens.catalogue.pool_values import read_storage_bytes
from jhub_tokens.catalogue.rule_values import (
    read_claim_value,
    read_email,
    read_email_domain,
    read_rule_name,
)
from jhub_tokens.catalogue.values import (
    read_bool,
    read_choice,
    read_date,
    read_duration_ms,
    read_environment_name,
    read_memory_bytes,
    read_name,
    read_number,
    read_price,
    read_rate_mtok_h,
    read_spoken,
    read_text,
    read_tokens_mtok,
    read_whole,
    read_zone,
)
from jhub_tokens.facts import NAMES_MAX, Facts
from jhub_tokens.in_languages import written

__all__ = [
    "AssignEntry",
    "CatalogueFile",
    "CostCentreEntry",
    "IdleEntry",
    "ImageEntry",
    "PlanEntry",
    "PolicyEntry",
    "ProfileEntry",
    "TeamEntry",
    "TopUpEntry",
    "TrialEntry",
]


def _whole(low: int, high: int, what: str) -> Any:
    return BeforeValidator(lambda value: read_whole(value, low, high, what))


def _one_of(*choices: str) -> Any:
    return BeforeValidator(lambda value: read_choice(value, choices))


def _required_text(value: Any) -> str:
    return read_text("" if value is None else value)


Text = Annotated[str, BeforeValidator(_required_text)]
Spoken = Annotated[dict[str, str], BeforeValidator(read_spoken)]
Name = Annotated[str, BeforeValidator(read_name)]
Tokens = Annotated[int, BeforeValidator(read_tokens_mtok)]
Rate = Annotated[int, BeforeValidator(read_rate_mtok_h)]
Duration = Annotated[int, BeforeValidator(read_duration_ms)]
Memory = Annotated[int, BeforeValidator(read_memory_bytes)]
Storage = Annotated[int, BeforeValidator(read_storage_bytes)]
Cores = Annotated[float, BeforeValidator(lambda value: read_number(value, 0.01, 10_000, "cores"))]
Gpus = Annotated[int, _whole(0, 64, "GPUs")]
OwnChange = Annotated[SelfService, _one_of("upgrade", "downgrade", "pause", "trial")]
Servers = Annotated[int, _whole(1, 1000, "servers")]
Periods = Annotated[int, _whole(1, 120, "periods")]
PlanGpus = Annotated[int, _whole(0, 10_000, "GPUs")]
PriceValue = Annotated[Price, BeforeValidator(read_price)]
LongDuration = Annotated[int, BeforeValidator(lambda value: read_duration_ms(value, "366d"))]
Percent = Annotated[int, _whole(1, 100, "percent")]
Bool = Annotated[bool, BeforeValidator(read_bool)]
Zone = Annotated[str, BeforeValidator(read_zone)]
Date = Annotated[date, BeforeValidator(read_date)]
RuleName = Annotated[str, BeforeValidator(read_rule_name)]
Names = Annotated[list[RuleName], Field(max_length=NAMES_MAX)]
EmailDomain = Annotated[str, BeforeValidator(read_email_domain)]
Email = Annotated[str, BeforeValidator(read_email)]
ClaimName = Annotated[str, BeforeValidator(read_rule_name)]
ClaimValue = Annotated[str, BeforeValidator(read_claim_value)]
ClaimValues = Annotated[list[ClaimValue], Field(min_length=1, max_length=NAMES_MAX)]
EnvironmentName = Annotated[str, BeforeValidator(read_environment_name)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PolicyEntry(_Entry):
    """The keys under ``policy``."""

    minimum_run: Duration = Policy().minimum_run_ms
    grace: Duration = Policy().grace_ms
    stop_time: Duration = Policy().stop_time_ms
    warn_before: Annotated[list[Duration], Field(max_length=20)] = list(Policy().warn_before_ms)
    warn_used_percent: Annotated[list[Percent], Field(max_length=20)] = list(
        Policy().warn_used_percent
    )
    warn_expiry: LongDuration | None = None
    overrun: Annotated[Overrun, _one_of("waive", "deduct")] = "waive"
    break_glass: Annotated[BreakGlass, _one_of("charge", "waive")] = "charge"
    admin_limit: Tokens | None = None
    admin_limits: Annotated[dict[Text, Tokens], Field(max_length=1000)] = {}
    past_due_grace: LongDuration = Policy().past_due_grace_ms

    def to_policy(self) -> Policy:
        """Return the policy, its thresholds in the order in which they are reached."""
        return Policy(
            minimum_run_ms=self.minimum_run,
            grace_ms=self.grace,
            stop_time_ms=self.stop_time,
            warn_before_ms=tuple(sorted(set(self.warn_before), reverse=True)),
            warn_used_percent=tuple(sorted(set(self.warn_used_percent))),
            warn_expiry_ms=self.warn_expiry,
            overrun=self.overrun,
            break_glass=self.break_glass,
            admin_limit_mtok=self.admin_limit,
            admin_limits=self.admin_limits,
            past_due_grace_ms=self.past_due_grace,
        )


class TrialEntry(_Entry):
    """The keys of a plan's trial."""

    tokens: Tokens
    duration: LongDuration

    def to_trial(self) -> Trial:
        """Return the trial."""
        return Trial(duration_ms=self.duration, allotment_mtok=self.tokens)


class TopUpEntry(_Entry):
    """The keys of one item under ``top_ups``."""

    tokens: Tokens
    price: PriceValue

    def to_top_up(self) -> TopUp:
        """Return the top-up."""
        return TopUp(amount_mtok=self.tokens, price=self.price)


class PlanEntry(_Entry):
    """The keys of one plan."""

    title: Spoken = {}
    description: Spoken = {}
    tokens: Tokens
    period: Annotated[PeriodKind, _one_of("anchored", "calendar")] = "anchored"
    price: PriceValue | None = None
    rollover: Tokens | None = None
    rollover_periods: Periods | None = None
    upgrade: Annotated[Upgrade, _one_of("now", "next")] = "now"
    trial: TrialEntry | None = None
    profiles: list[Name]
    max_servers: Servers = 1
    max_gpus: PlanGpus | None = None
    spend_per_day: Tokens | None = None
    spend_per_week: Tokens | None = None
    cost_centre: Name | None = None
    keep_running: LongDuration = 8 * 3_600_000
    stop_when_done: Bool = True
    listed: Bool = True
    workspace: Storage | None = None
    self_service: Bool = True
    max_members: Servers | None = None

    def to_plan(self, name: str) -> Plan:
        """Return the plan called `name`."""
        return Plan(
            name=name,
            **written(title=self.title or {"": name}, description=self.description),
            allotment_mtok=self.tokens,
            period=self.period,
            price=self.price,
            rollover_cap_mtok=self.rollover,
            rollover_periods=self.rollover_periods,
            upgrade=self.upgrade,
            trial=self.trial.to_trial() if self.trial else None,
            profiles=tuple(self.profiles),
            max_servers=self.max_servers,
            max_gpus=self.max_gpus,
            spend_per_day_mtok=self.spend_per_day,
            spend_per_week_mtok=self.spend_per_week,
            cost_centre=self.cost_centre,
            keep_running_ms=self.keep_running,
            stop_when_done=self.stop_when_done,
            self_service=self.self_service,
            max_members=self.max_members,
            listed=self.listed,
            workspace_bytes=self.workspace,
        )


class IdleEntry(_Entry):
    """The keys of a profile's idle policy."""

    stop_after: LongDuration
    warn_before: Annotated[list[Duration], Field(max_length=20)] = list(
        Idle(stop_after_ms=0).warn_before_ms
    )

    def to_idle(self) -> Idle:
        """Return the policy, its thresholds in the order in which they are reached."""
        warn_before_ms = tuple(sorted(set(self.warn_before), reverse=True))
        return Idle(stop_after_ms=self.stop_after, warn_before_ms=warn_before_ms)


class ProfileEntry(_Entry):
    """The keys of one profile."""

    title: Spoken = {}
    description: Spoken = {}
    rate: Rate
    cpu: Cores
    memory: Memory
    gpus: Gpus = 0
    gpu_models: list[Name] = []
    max_run: LongDuration | None = None
    idle: IdleEntry | None = None
    files: Bool = False
    images: list[Name] = []
    pools: list[Name] = []
    shm: Memory | None = None
    node_selector: Selector = {}
    environment: dict[EnvironmentName, Text] = {}

    def to_profile(self, name: str, pools: Mapping[str, PoolEntry]) -> Profile:
        """Return the profile called `name`; its GPU models are those of its pools if it is silent.

        Training with several workers needs far more shared memory than the 64 MB that containers
        begin with, so a profile with GPUs gets half of its memory unless it says otherwise.
        """
        models = [pools[pool].gpu_model for pool in self.pools if pool in pools]
        gpu_models = self.gpu_models or list(dict.fromkeys(filter(None, models)))
        return Profile(
            name=name,
            **written(title=self.title or {"": name}, description=self.description),
            rate_mtok_h=self.rate,
            cpu=self.cpu,
            memory_bytes=self.memory,
            gpus=self.gpus,
            gpu_models=tuple(gpu_models) if self.gpus else tuple(self.gpu_models),
            max_run_ms=self.max_run,
            idle=self.idle.to_idle() if self.idle else None,
            files=self.files,
            images=tuple(self.images),
            pools=tuple(self.pools),
            shm_bytes=self.shm or (self.memory // 2 if self.gpus else None),
            node_selector=self.node_selector,
            environment=self.environment,
        )


class ImageEntry(_Entry):
    """The keys of one image version."""

    title: Spoken = {}
    reference: Text | None = None
    accelerator: Annotated[Accelerator, _one_of("gpu", "cpu", "any")] = "any"
    lifecycle: Annotated[Lifecycle, _one_of("recommended", "maintained", "retiring", "retired")] = (
        "maintained"
    )
    until: Date | None = None
    successor: Name | None = None

    def to_image(self, tag: str) -> ImageVersion:
        """Return the image version called `tag`."""
        return ImageVersion(
            tag=tag,
            **written(title=self.title or {"": tag}),
            reference=self.reference or None,
            accelerator=self.accelerator,
            lifecycle=self.lifecycle,
            until=self.until,
            successor=self.successor,
        )


class AssignEntry(_Entry):
    """The keys of one rule under ``assign``."""

    plan: Name | None = None
    refuse: Bool = False
    match: Annotated[Match, _one_of("any", "all")] = "any"
    members: Names = []
    groups: Names = []
    provider_groups: Names = []
    organisations: Names = []
    teams: Names = []
    email_domains: list[EmailDomain] = []
    emails: list[Email] = []
    claims: Annotated[dict[ClaimName, ClaimValues], Field(max_length=100)] = {}

    def to_rule(self) -> AssignRule:
        """Return the rule."""
        return AssignRule(
            plan=self.plan or "",
            refuse=self.refuse,
            match=self.match,
            members=tuple(self.members),
            groups=tuple(self.groups),
            asked=Facts(
                provider_groups=tuple(self.provider_groups),
                organisations=tuple(self.organisations),
                teams=tuple(self.teams),
                email_domains=tuple(self.email_domains),
                emails=tuple(self.emails),
                claims={name: tuple(values) for name, values in self.claims.items()},
            ),
        )


class TeamEntry(_Entry):
    """The keys of one team."""

    title: Spoken = {}
    group: Text
    plan: Name
    member_cap: Tokens | None = None
    owners: list[Text] = []
    cost_centre: Name | None = None

    def to_team(self, name: str) -> Team:
        """Return the team called `name`."""
        return Team(
            name=name,
            **written(title=self.title or {"": name}),
            group=self.group,
            plan=self.plan,
            member_cap_mtok=self.member_cap,
            owners=tuple(self.owners),
            cost_centre=self.cost_centre,
        )


class CostCentreEntry(_Entry):
    """The keys of one cost centre."""

    title: Spoken = {}
    members: list[Text] = []
    groups: list[Text] = []

    def to_cost_centre(self, name: str) -> CostCentre:
        """Return the cost centre called `name`."""
        return CostCentre(
            name=name,
            **written(title=self.title or {"": name}),
            members=tuple(self.members),
            groups=tuple(self.groups),
        )


class CatalogueFile(_Entry):
    """The keys at the top of the file."""

    title: Spoken = {}
    banner: Spoken = {}
    welcome: Spoken = {}
    announcement: Spoken = {}
    zone: Zone = "UTC"
    enforce: Bool = True
    default_plan: Name
    adopt_profile: Name
    top_up: Spoken = {}
    top_ups: Annotated[list[TopUpEntry], Field(max_length=100)] = []
    self_service: Annotated[list[OwnChange], Field(max_length=10)] = []
    policy: PolicyEntry = PolicyEntry()
    plans: Annotated[dict[Name, PlanEntry], Field(min_length=1, max_length=1000)]
    profiles: Annotated[dict[Name, ProfileEntry], Field(min_length=1, max_length=1000)]
    images: Annotated[dict[Name, ImageEntry], Field(max_length=1000)] = {}
    pools: Annotated[dict[Name, PoolEntry], Field(max_length=1000)] = {}
    entry: Annotated[Entry, _one_of("everybody", "assigned")] = "everybody"
    assign: Annotated[list[AssignEntry], Field(max_length=1000)] = []
    teams: Annotated[dict[Name, TeamEntry], Field(max_length=10_000)] = {}
    cost_centres: Annotated[dict[Name, CostCentreEntry], Field(max_length=1000)] = {}

    def to_catalogue(self) -> Catalogue:
        """Return the catalogue that this file describes."""
        return Catalogue(
            **written(title=self.title, banner=self.banner, top_up=self.top_up),
            welcome=self.welcome,
            announcement=self.announcement,
            zone=self.zone,
            enforce=self.enforce,
            default_plan=self.default_plan,
            adopt_profile=self.adopt_profile,
            top_ups=tuple(entry.to_top_up() for entry in self.top_ups),
            self_service=tuple(dict.fromkeys(self.self_service)),
            policy=self.policy.to_policy(),
            plans={name: entry.to_plan(name) for name, entry in self.plans.items()},
            profiles={
                name: entry.to_profile(name, self.pools) for name, entry in self.profiles.items()
            },
            images={tag: entry.to_image(tag) for tag, entry in self.images.items()},
            pools={name: entry.to_pool(name) for name, entry in self.pools.items()},
            entry=self.entry,
            assign=tuple(rule.to_rule() for rule in self.assign),
            teams={name: entry.to_team(name) for name, entry in self.teams.items()},
            cost_centres={
                name: entry.to_cost_centre(name) for name, entry in self.cost_centres.items()
            },
        )
