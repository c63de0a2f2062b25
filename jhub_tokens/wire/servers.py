"""A running server's own routes: what it may know and say, and nothing of anybody else's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jhub_tokens.wire.base import INT64_MAX, AgeMs, Amount, Name, Wire
from jhub_tokens.wire.settings import Language
from jhub_tokens.wire.standing import NoticeItem, RunningSession

__all__ = ["Busy", "KeepOrder", "ServerReport", "ServerView"]

#: What can keep a server busy that JupyterHub does not see.
Busy = Literal["kernels", "jobs", "terminals", "ssh", "gpu", "page"]


class ServerReport(Wire):
    """What a server knows of itself."""

    busy: Annotated[list[Busy], Field(max_length=10)] = []
    active_age_ms: AgeMs | None = None  # how long ago it last was busy; None: never seen


class KeepOrder(Wire):
    """Keep this server running even if idle, for so long from now; None: like any other."""

    for_ms: Annotated[int, Field(ge=60_000, le=INT64_MAX // 4)] | None


class ServerView(Wire):
    """A server and the wallet that pays for it, at one instant."""

    member: Name
    server_name: str
    plan_title: str
    team: bool  # whether a team pays
    balance: Amount  # of the wallet that pays
    allotment: Amount
    burn_mtok_h: int  # of everything that burns this wallet
    runs_out_at_ms: int | None
    session: RunningSession | None  # None: not known yet, or over
    ends_at_ms: int | None  # None: nothing in sight
    stop_at_ms: int | None  # when the order to stop is given
    end_reason: str | None  # dry, max_run, day_limit, …
    stopping: str | None  # the reason of the stop order that stands
    warn_before_ms: list[int]  # before `ends_at_ms`, the earliest first
    save_before_ms: int  # one of these: from here on documents are saved
    enforced: bool  # False: shadow mode, nobody is stopped
    keep_until_ms: int | None
    keep_latest_ms: int | None  # None: the plan does not allow it
    stop_when_done: bool  # whether the plan allows it
    notices: list[NoticeItem]
    language: Language  # in which the member is told; the notices are in it
    console_url: str  # path, or whole address with subdomains
    ask_again_ms: int  # how long to wait before the next report
    as_of_ms: int
