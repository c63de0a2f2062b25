"""Break-glass: what the hub needs to know beforehand, and what it tells of afterwards.

While the token service is away an operator may let starts through for a limited time. The hub
then knows the catalogue by what it last heard (`HubCatalogue`), and tells what was done and
what ran (`BreakGlassReport`) again and again until a receipt names it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from jhub_tokens.in_languages import InLanguages
from jhub_tokens.wire.base import INT64_MAX, AgeMs, Amount, Identity, Key, Name, Wire
from jhub_tokens.wire.snapshots import TRANSIT_MS_MAX
from jhub_tokens.wire.starts import HardwareModel, ImageChoice, NodePool

__all__ = [
    "ActTold",
    "BreakGlassItem",
    "BreakGlassList",
    "BreakGlassReceipt",
    "BreakGlassReport",
    "BreakGlassStart",
    "FrozenMember",
    "HubCatalogue",
    "KnownImage",
    "KnownPlan",
    "KnownProfile",
    "KnownTeam",
    "StartTold",
]

HowOpened = Literal["command", "environment"]
_Reason = Annotated[str, StringConstraints(min_length=1, max_length=500)]
_Choice = Annotated[str, StringConstraints(max_length=200)]
_DurationMs = Annotated[int, Field(ge=0, le=366 * 86_400_000)]


# --- beforehand ------------------------------------------------------------------------------


class KnownImage(ImageChoice):
    """An image version with what a spawner starts it by."""

    reference: str | None = None


class KnownProfile(InLanguages, Wire):
    """A profile with all that a start of it needs."""

    profile: str
    title: str
    description: str = ""
    rate_mtok_h: int
    rate: str  # "10 tokens/h"
    hardware: HardwareModel
    images: list[KnownImage] = []
    node_selector: dict[str, str] = {}
    pools: list[NodePool] = []
    shm_bytes: int | None = None
    environment: dict[str, str] = {}
    max_run_ms: int | None = None
    files: bool = False


class KnownPlan(InLanguages, Wire):
    """A plan as the sign-in page shows it."""

    plan: str
    title: str
    description: str = ""
    allotment_mtok: int
    calendar: bool = False  # whether its months are those of the calendar
    price_minor: int | None = None
    currency: str = ""
    max_servers: int = 1
    profiles: list[str] = []
    trial_mtok: int | None = None
    trial_ms: int | None = None


class KnownTeam(InLanguages, Wire):
    """A team that can pay for the members of a hub group."""

    team: str
    title: str
    group: str


class FrozenMember(Wire):
    """A hub user whose membership is frozen."""

    hub_user_id: int
    created: str


class HubCatalogue(InLanguages, Wire):
    """What the hub keeps for the time when the service is away."""

    title: str = ""
    welcome: dict[str, str] = {}
    announcement: dict[str, str] = {}
    plans: list[KnownPlan] = []
    zone: str = "UTC"
    enforced: bool = True
    charged: bool = True  # whether break-glass use is charged
    default_profiles: list[str] = []  # those of the plan that everybody has
    profiles: list[KnownProfile] = []
    teams: list[KnownTeam] = []
    frozen: list[FrozenMember] = []


# --- afterwards ------------------------------------------------------------------------------


class ActTold(Wire):
    """An operator let starts through."""

    act_id: Key
    opened_age_ms: AgeMs
    duration_ms: _DurationMs
    actor: Name
    how: HowOpened
    reason: _Reason
    profiles: Annotated[list[_Choice], Field(max_length=1000)] | None = None  # None: the default
    servers_max: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    ended_age_ms: AgeMs | None = None  # ended early
    ended_by: Annotated[str, StringConstraints(max_length=255)] = ""


class StartTold(Wire):
    """A start that went through, with all that is known of its run so far."""

    start_key: Key
    act_id: Key
    member: Identity
    server_name: Annotated[str, StringConstraints(max_length=255)] = ""
    profile: _Choice
    image: _Choice | None = None
    gpu_model: _Choice | None = None
    gpus: Annotated[int, Field(ge=0, le=100_000)] = 0
    payer: _Choice | None = None
    rate_mtok_h: Annotated[int, Field(ge=0, le=INT64_MAX)]  # as it was when it started
    max_run_ms: Annotated[int, Field(ge=60_000, le=366 * 86_400_000)] | None = None
    started_age_ms: AgeMs
    ready_age_ms: AgeMs | None = None  # None: not (yet) ready
    alive_age_ms: AgeMs | None = None  # the last proof of life
    ended_age_ms: AgeMs | None = None  # None: it runs
    reason: Literal["stopped", "exited", "failed", "cancelled", "lost"] = "stopped"


class BreakGlassReport(Wire):
    """What was done while the service was away; repeated until a receipt names it."""

    hub: Name = "hub"
    sent_at_ms: Annotated[int, Field(ge=0, le=INT64_MAX)] | None = None  # see `Snapshot`
    acts: Annotated[list[ActTold], Field(max_length=1000)] = []
    starts: Annotated[list[StartTold], Field(max_length=100_000)] = []

    def left_ms(self, now_ms: int) -> int:
        """Return when this report left, on the service's clock: its ages count from then."""
        if self.sent_at_ms is None or now_ms - self.sent_at_ms <= TRANSIT_MS_MAX:
            return now_ms
        return self.sent_at_ms


class BreakGlassReceipt(Wire):
    """What is in the books now, by act and by start key."""

    acts: list[str] = []
    starts: list[str] = []


# --- for administrators ----------------------------------------------------------------------


class BreakGlassStart(Wire):
    """A start that went through while the service was away."""

    session_id: str
    member_id: str
    name: str
    server_name: str
    profile: str
    rate_mtok_h: int
    started_at_ms: int
    ready_at_ms: int | None
    ended_at_ms: int | None
    charged: bool  # by the policy when it was booked
    charge: Amount


class BreakGlassItem(Wire):
    """One act: who let starts through, why, how long, and what went through."""

    act_id: str
    hub: str
    opened_at_ms: int
    until_ms: int
    ended_at_ms: int | None  # ended early
    ended_by: str
    actor: str
    how: HowOpened
    reason: str
    profiles: list[str] | None
    servers_max: int | None
    starts: list[BreakGlassStart]


class BreakGlassList(Wire):
    """The latest acts, newest first."""

    acts: list[BreakGlassItem]
