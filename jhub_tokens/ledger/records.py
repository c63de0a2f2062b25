"""What the books tell: immutable records that the ledger's reads and writes return.

Amounts are grains, instants are milliseconds since the epoch, rates are millitokens per hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jhub_tokens.catalogue import Plan
from jhub_tokens.wire import ServerSeen

__all__ = [
    "URGENCIES",
    "AdvanceReport",
    "GrantBooked",
    "GrantView",
    "Language",
    "LedgerError",
    "MemberRecord",
    "MemberSummary",
    "NotAdmitted",
    "NoticeRecord",
    "ObserveReport",
    "Payer",
    "PlanChange",
    "Prospect",
    "SessionRecord",
    "StatementEntry",
    "StatementView",
    "StopEnded",
    "StopOrderRecord",
    "Urgency",
    "WalletView",
]

MemberState = Literal["active", "frozen", "erased"]
NotAdmittedCode = Literal[
    "balance", "plan", "limit", "frozen", "unknown_profile", "unknown_image", "retired_image",
    "bad_choice", "cancelled", "busy", "gpus", "spending_limit", "team_cap", "unknown_team",
    "not_in_team",
]  # fmt: skip
ChangeKind = Literal["rule", "chosen", "cancel", "trial"]
StopReason = Literal[
    "dry", "frozen", "max_run", "left_team", "day_limit", "week_limit", "team_cap", "asked",
    "idle",
    "ordered",
]  # fmt: skip
#: With params that each has; what concerns a team's wallet has `team` besides.
NoticeKind = Literal[
    "used_percent",  # params: percent, balance
    "time_left",  # params: reason, threshold_ms, dry_at_ms (the cut), stop_at_ms, servers
    "last_warning",  # the same
    "stopped_dry",  # params: reason, dry_at_ms, servers, renews_at_ms
    "stopped",  # the same, for a reason other than the balance
    "would_stop",  # shadow mode: what the two above would have said
    "stop_failed",  # params: detail
    "ended",  # by itself, or by what the cluster did: params: reason, at_ms, servers
    "credited",  # params: grains, kind, reason
    "refunded",  # params: grains, profile, server_name, reason
    "answered",  # params: profile, server_name, reason (the answer to the member's question)
    "past_due",  # params: plan, freezes_at_ms
    "renewed",  # params: grains, plan, period_end_ms
    "expiring",  # params: grains, expires_at_ms
    "plan_changed",  # params: plan
    "plan_scheduled",  # params: plan, at_ms
    "plan_kept",  # params: plan
    "trial_started",  # params: plan, until_ms
    "frozen",  # params: reason, actor
    "unfrozen",
    "ssh_key_added",  # params: key_name, fingerprint
    "team_invited",  # params: team
    "team_accepted",  # params: team, name
    "team_declined",  # the same
    "team_removed",  # params: team
]
Urgency = Literal["info", "warning", "danger"]
#: How urgent a notice is; what is not named here is for information.
URGENCIES: Mapping[str, Urgency] = {
    "time_left": "warning",
    "last_warning": "danger",
    "stopped_dry": "danger",
    "stopped": "danger",
    "would_stop": "warning",
    "stop_failed": "danger",
    "ended": "warning",
    "expiring": "warning",
    "frozen": "warning",
    "ssh_key_added": "warning",
    "team_removed": "warning",
}
Language = Literal["en", "zh"]


class LedgerError(Exception):
    """The books refuse: a code for programs, a message for people, the field to blame if any."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class NotAdmitted(LedgerError):
    """A start that the books do not admit; nothing was written."""

    def __init__(
        self,
        code: NotAdmittedCode,
        message: str,
        *,
        missing_grains: int = 0,
        until_ms: int | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(code, message, field)
        self.missing_grains = missing_grains
        self.until_ms = until_ms  # when the limit that refused begins anew


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A member as the books know them."""

    member_id: str
    hub_user_id: int
    hub_created: str
    name: str
    state: MemberState
    plan: str
    wallet_id: str


@dataclass(frozen=True, slots=True)
class PlanChange:
    """A change of plan: waiting, applied or revoked."""

    change_id: str
    kind: ChangeKind
    plan: str
    at_ms: int
    created_ms: int
    applied_ms: int | None
    revoked_ms: int | None
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One run of one server."""

    session_id: str
    wallet_id: str
    member_id: str
    server_name: str
    start_key: str
    profile: str
    image: str | None
    gpu_model: str | None
    rate_mtok_h: int
    admitted_ms: int
    ready_ms: int | None
    ended_ms: int | None
    end_reason: str | None
    alive_to_ms: int | None
    charged_grains: int  # booked
    cost_grains: int  # booked and projected to the instant of the read
    max_run_ms: int | None = None  # from ready on
    cut_ms: int | None = None  # when it will be cut off as things stood at the last write
    gpus: int = 0
    files: bool = False  # opens files only, beside all limits
    stop_time_ms: int = 0  # what stopping it may take


@dataclass(frozen=True, slots=True)
class GrantView:
    """A grant with what is left of it at the instant of the read."""

    grant_id: str
    source: str  # plan, topup, adjustment, refund, overrun
    granted_grains: int
    remaining_grains: int
    starts_ms: int
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class WalletView:
    """A wallet at one instant, projected beyond proof of life."""

    member: MemberRecord  # whose it is, or who looks at a team's
    plan: Plan  # whose profiles and limits hold now
    as_of_ms: int
    balance_grains: int
    allotment_grains: int  # this period's grant
    used_grains: int  # consumed in this period, projected
    period_start_ms: int
    period_end_ms: int
    burn_mtok_h: int
    dry_at_ms: int | None  # None: not before `horizon_ms`
    horizon_ms: int  # the end of what is foreseen: the next period's end
    sessions: tuple[SessionRecord, ...]  # those that have not ended
    grants: tuple[GrantView, ...]
    left_at_end_grains: int  # at the period's end, if all that runs goes on
    next_plan: Plan  # that begins with the next period


@dataclass(frozen=True, slots=True)
class Prospect:
    """What one more session at some rate would do to a wallet."""

    carried: bool
    missing_grains: int  # what the balance lacks
    lasts_until_ms: int | None  # None: beyond what is foreseen
    limit: str | None = None  # the spending limit that stands in the way


@dataclass(frozen=True, slots=True)
class Payer:
    """A team's wallet as one of its members sees it."""

    team: str
    wallet: WalletView
    cap_grains: int | None  # what this member may spend in a period
    left_grains: int | None  # of it


@dataclass(frozen=True, slots=True)
class StatementEntry:
    """One line of a statement."""

    at_ms: int
    kind: str  # allotment, topup, adjustment, usage, expiry, rollover, refund, overrun, return
    amount_grains: int  # signed from the member's point of view
    session_id: str | None
    profile: str | None
    rate_mtok_h: int | None
    from_ms: int | None
    to_ms: int | None
    end_reason: str | None
    actor: str
    reason: str
    server_name: str = ""
    break_glass: bool = False  # started while the service was away
    waived: bool = False  # and not charged


@dataclass(frozen=True, slots=True)
class StatementView:
    """Opening + lines = closing, to the grain."""

    member: MemberRecord
    from_ms: int
    to_ms: int
    as_of_ms: int
    opening_grains: int
    entries: tuple[StatementEntry, ...]
    closing_grains: int


@dataclass(frozen=True, slots=True)
class MemberSummary:
    """A row of the admin's list."""

    member: MemberRecord
    balance_grains: int
    allotment_grains: int
    burn_mtok_h: int
    running: int
    dry_at_ms: int | None
    last_used_ms: int | None


@dataclass(frozen=True, slots=True)
class GrantBooked:
    """The receipt of a grant; the same for a repeated key."""

    transaction_id: str
    amount_grains: int
    balance_grains: int


@dataclass(frozen=True, slots=True)
class StopOrderRecord:
    """A stop order that stands until its session has ended."""

    order_id: str
    session: SessionRecord
    member: MemberRecord
    reason: str
    issued_ms: int


@dataclass(frozen=True, slots=True)
class StopEnded:
    """A stop order that was carried out: how long that took, and how much longer than allowed."""

    session_id: str
    reason: str
    took_ms: int
    late_ms: int  # 0: in time


@dataclass(frozen=True, slots=True)
class NoticeRecord:
    """A notice; its text is made from kind and params where it is shown."""

    notice_id: str
    member_id: str
    kind: NoticeKind
    params: dict[str, object]
    created_ms: int
    language: Language = "en"  # the member's
    zone: str | None = None  # the member's display zone; None: the billing zone


@dataclass(frozen=True, slots=True)
class ObserveReport:
    """What a snapshot told the books."""

    servers: tuple[ServerSeen, ...]  # those of the snapshot that have an open session
    sessions: tuple[SessionRecord, ...]  # in the same order
    stop_at_ms: tuple[int | None, ...]  # in the same order: when to stop if the service is away
    ended: tuple[str, ...]  # start keys whose ends are booked
    cancelled: tuple[str, ...]
    stops_ended: tuple[StopEnded, ...] = ()


@dataclass(frozen=True, slots=True)
class AdvanceReport:
    """What one pass of the warden did."""

    wallets: int
    next_deadline_ms: int | None
    stops_ordered: int
    notices: int
