"""What administrators see of everybody: immutable records; amounts are exact grains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jhub_tokens.ledger.records import MemberSummary, SessionRecord

__all__ = [
    "ACTIONS",
    "ACT_KINDS",
    "MEMBER_STATES",
    "SORTS",
    "Act",
    "ActKind",
    "ActsPage",
    "Action",
    "BulkAct",
    "BulkItem",
    "BulkLine",
    "DrySoon",
    "Figures",
    "Fleet",
    "FleetGroup",
    "FleetRow",
    "MemberFilter",
    "MemberList",
    "Place",
    "SessionPast",
    "TopConsumer",
]

#: By what members are told apart in a list; *low*: a fifth of the allotment or less is left.
MemberListState = Literal["", "active", "frozen", "erased", "running", "low", "dry"]
MEMBER_STATES: tuple[MemberListState, ...] = (
    "", "active", "frozen", "erased", "running", "low", "dry",
)  # fmt: skip
Sort = Literal["name", "-name", "balance", "-balance", "used", "-used"]
SORTS: tuple[Sort, ...] = ("name", "-name", "balance", "-balance", "used", "-used")
#: Where a page begins: the value that it is sorted by, and the id that tells equals apart.
Place = tuple[str | int, str]


@dataclass(frozen=True, slots=True)
class MemberFilter:
    """Which members; what is empty does not matter."""

    search: str = ""
    plan: str = ""
    state: MemberListState = ""
    team: str = ""


@dataclass(frozen=True, slots=True)
class MemberList:
    """A page of members; `count` is how many match, up to a bound."""

    rows: tuple[MemberSummary, ...]
    count: int
    more: bool  # whether there are more than `count`
    before: Place | None  # where the page before ends
    after: Place | None


@dataclass(frozen=True, slots=True)
class FleetGroup:
    """What runs of one profile with one model of GPU."""

    profile: str
    gpu_model: str
    running: int
    starting: int
    burn_mtok_h: int


@dataclass(frozen=True, slots=True)
class FleetRow:
    """A server that runs or starts, whose it is and who pays."""

    session: SessionRecord
    name: str
    team: str  # empty: the member's own wallet


@dataclass(frozen=True, slots=True)
class DrySoon:
    """A wallet that runs dry soon, as of the last booking."""

    member_id: str  # empty: a team's
    name: str
    dry_ms: int
    servers: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs now."""

    as_of_ms: int
    groups: tuple[FleetGroup, ...]
    rows: tuple[FleetRow, ...]
    after: Place | None
    dry_soon: tuple[DrySoon, ...]
    dry_more: bool  # whether there are more than are listed


@dataclass(frozen=True, slots=True)
class Figures:
    """The key figures at one instant."""

    as_of_ms: int
    members: int
    running: int
    starting: int
    burn_mtok_h: int
    dry_within_hour: int
    low: int


@dataclass(frozen=True, slots=True)
class TopConsumer:
    """Who consumed how much in a span, less what was given back."""

    member_id: str
    name: str
    plan: str
    consumed_grains: int
    sessions: int


@dataclass(frozen=True, slots=True)
class SessionPast:
    """A session of a member, for whoever may refund it."""

    session: SessionRecord
    team: str
    refunded_grains: int


ActKind = Literal[
    "granted", "adjusted", "refunded", "plan_changed", "plan_kept", "follows_rules", "frozen",
    "unfrozen", "stopped", "bulk", "looked", "exported", "vouchers_made", "vouchers_revoked",
    "month_closed", "erased", "break_glass",
]  # fmt: skip
ACT_KINDS: tuple[ActKind, ...] = (
    "granted", "adjusted", "refunded", "plan_changed", "plan_kept", "follows_rules", "frozen",
    "unfrozen", "stopped", "bulk", "looked", "exported", "vouchers_made", "vouchers_revoked",
    "month_closed", "erased", "break_glass",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Act:
    """Somebody did something."""

    act_id: str  # where it is written down
    at_ms: int
    kind: ActKind
    actor: str
    member_id: str = ""
    name: str = ""  # of the member
    subject: str = ""  # a plan, a month, a batch, an action, a page
    amount_grains: int | None = None
    count: int | None = None  # vouchers, members
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ActsPage:
    """A page of acts, the latest first, and where the next one begins."""

    acts: tuple[Act, ...]
    after: Place | None


Action = Literal["topup", "adjustment", "plan", "freeze", "unfreeze", "stop", "refund"]
ACTIONS: tuple[Action, ...] = (
    "topup", "adjustment", "plan", "freeze", "unfreeze", "stop", "refund",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BulkLine:
    """What is to be done to one member; a refund is of what was used between two instants."""

    member_id: str
    amount_grains: int | None = None
    plan: str | None = None
    when: Literal["now", "next"] | None = None
    from_ms: int | None = None
    to_ms: int | None = None


@dataclass(frozen=True, slots=True)
class BulkItem:
    """What became of it."""

    line: int
    member_id: str
    name: str
    amount_grains: int | None
    plan: str | None
    when: str | None
    from_ms: int | None
    to_ms: int | None
    state: Literal["waiting", "done", "refused"]
    code: str
    message: str
    done: int | None
    moved_grains: int | None
    balance_grains: int | None


@dataclass(frozen=True, slots=True)
class BulkAct:
    """One act on many members."""

    act_id: str
    actor: str
    action: Action
    reason: str
    members: int
    made_ms: int
    waiting: int
    done: int
    refused: int
    items: tuple[BulkItem, ...]
    more: bool  # whether there are more items than are listed
