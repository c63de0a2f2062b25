"""A member's balance and what burns it."""

from __future__ import annotations

from typing import Literal

from jhub_tokens.wire.base import Amount, Identity, Wire

__all__ = [
    "NoticeItem",
    "OverviewRequest",
    "RunningSession",
    "Standing",
    "TeamStanding",
]


class RunningSession(Wire):
    """A server that is metered or about to be."""

    session_id: str
    server_name: str
    profile: str
    title: str
    rate_mtok_h: int
    admitted_at_ms: int
    ready_at_ms: int | None
    cost: Amount  # to the instant of the answer, projected beyond proof of life
    ends_at_ms: int | None = None  # when it will be stopped as things stand
    ends_at: str | None = None
    url: str | None = None  # of the server, once it is ready; a path where the host is not known
    ssh_command: str | None = None  # None: not ready, or SSH is off


class TeamStanding(Wire):
    """A team's wallet as one of its members sees it."""

    team: str
    title: str
    balance: Amount
    cap: Amount | None = None  # what this member may spend of it in a period
    left: Amount | None = None  # of that
    period_end_ms: int
    period_end: str
    runs_out_at_ms: int | None
    runs_out_at: str | None
    sessions: list[RunningSession]  # this member's


class NoticeItem(Wire):
    """Something the member should know, shown once in the console."""

    notice_id: str
    kind: str
    severity: Literal["info", "warning", "danger"]
    text: str
    created_at_ms: int
    created_at: str


class Standing(Wire):
    """A member's balance and what burns it, at one instant."""

    member_id: str
    name: str
    state: Literal["active", "frozen"]
    plan: str
    plan_title: str
    balance: Amount
    allotment: Amount  # of the current period
    used: Amount  # consumed in the current period
    period_start_ms: int
    period_end_ms: int
    period_end: str  # for people, in the billing zone
    burn_mtok_h: int
    runs_out_at_ms: int | None  # None: nothing running, or not before the next period's end
    runs_out_at: str | None
    sessions: list[RunningSession]
    teams: list[TeamStanding] = []
    notices: list[NoticeItem]
    as_of_ms: int
    zone: str
    banner: str = ""  # the catalogue's own remark, e.g. that demo rates are higher
    enforced: bool = True
    language: str | None = None  # what the member has chosen; None: that of the browser


class OverviewRequest(Wire):
    """Ask for a member's standing, from the hub side."""

    member: Identity
