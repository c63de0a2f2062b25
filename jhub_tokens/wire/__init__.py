"""What travels between the hub, the token service and its API's callers.

Both sides import these models, and the OpenAPI description is generated from them, so they
cannot drift apart. Conventions: an amount travels as a string of grains with rounded tokens
beside it for people; an instant is an integer of milliseconds since the epoch on the *service's*
clock and its name ends in ``_ms``; what the hub has seen travels as an *age* in milliseconds,
measured on the hub's monotonic clock when the message leaves, so that two machines' clocks
never need to agree.
"""

from __future__ import annotations

from jhub_tokens.wire.base import (
    Amount,
    Identity,
)
from jhub_tokens.wire.break_glass import (
    ActTold,
    BreakGlassItem,
    BreakGlassList,
    BreakGlassReceipt,
    BreakGlassReport,
    BreakGlassStart,
    FrozenMember,
    HubCatalogue,
    KnownImage,
    KnownProfile,
    KnownTeam,
    StartTold,
)
from jhub_tokens.wire.directory import DirectoryAccount, DirectoryDone, DirectoryOrder
from jhub_tokens.wire.people import (
    ErrorBody,
    GrantOrder,
    GrantReceipt,
    MemberPage,
    MemberRow,
    MemberState,
    Statement,
    StatementLine,
)
from jhub_tokens.wire.plans import (
    PlanChangeItem,
    PlanChanges,
    PlanOrder,
    PlanReason,
    TeamCap,
    TrialOrder,
)
from jhub_tokens.wire.servers import Busy, KeepOrder, ServerReport, ServerView
from jhub_tokens.wire.settings import EmailOrder, SettingsOrder, SettingsView
from jhub_tokens.wire.snapshots import (
    EndSeen,
    ServerSeen,
    SessionKnown,
    Snapshot,
    SnapshotReceipt,
    StopFailed,
    StopOrder,
    StopOrders,
)
from jhub_tokens.wire.standing import (
    NoticeItem,
    OverviewRequest,
    RunningSession,
    Standing,
    TeamStanding,
)
from jhub_tokens.wire.starts import (
    Admission,
    AdmitRequest,
    Alternative,
    HardwareModel,
    ImageChoice,
    Offer,
    Offers,
    OffersRequest,
    PayerChoice,
    Refusal,
    RefusalCode,
)

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
    "KnownProfile",
    "KnownTeam",
    "StartTold",
    "TrialOrder",
    "TeamCap",
    "PlanReason",
    "PlanOrder",
    "PlanChanges",
    "PlanChangeItem",
    "Admission",
    "AdmitRequest",
    "Alternative",
    "Amount",
    "DirectoryAccount",
    "DirectoryDone",
    "DirectoryOrder",
    "EmailOrder",
    "EndSeen",
    "ErrorBody",
    "GrantOrder",
    "GrantReceipt",
    "HardwareModel",
    "Identity",
    "ImageChoice",
    "MemberPage",
    "MemberRow",
    "MemberState",
    "NoticeItem",
    "Offer",
    "Offers",
    "OffersRequest",
    "PayerChoice",
    "OverviewRequest",
    "Refusal",
    "RefusalCode",
    "RunningSession",
    "Busy",
    "KeepOrder",
    "ServerReport",
    "ServerSeen",
    "ServerView",
    "SessionKnown",
    "SettingsOrder",
    "SettingsView",
    "Snapshot",
    "SnapshotReceipt",
    "Standing",
    "TeamStanding",
    "Statement",
    "StatementLine",
    "StopFailed",
    "StopOrder",
    "StopOrders",
]
