"""Changes of plan and members' shares of a team."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from jhub_tokens.wire.base import Wire

__all__ = ["PlanChangeItem", "PlanChanges", "PlanOrder", "PlanReason", "TeamCap", "TrialOrder"]

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Reason = Annotated[str, StringConstraints(max_length=500)]


class PlanOrder(Wire):
    """Change a member's plan, now (pro rata) or from the next period on."""

    plan: Name
    #: Missing: a plan with more tokens begins as the catalogue says, any other one next period.
    when: Literal["now", "next"] | None = None
    reason: Reason = ""


class TrialOrder(Wire):
    """Let a member try a plan."""

    plan: Name


class PlanReason(Wire):
    """Why."""

    reason: Reason = ""


class PlanChangeItem(Wire):
    """A change of plan: waiting, applied or revoked."""

    change_id: str
    kind: Literal["rule", "chosen", "cancel", "trial"]
    plan: str
    at_ms: int
    created_ms: int
    applied_ms: int | None
    revoked_ms: int | None
    actor: str
    reason: str


class PlanChanges(Wire):
    """A member's changes of plan, the latest first."""

    changes: list[PlanChangeItem]


class TeamCap(Wire):
    """What one member may spend of a team's tokens in a period."""

    #: Tokens, such as 20 or 0.5; missing: the catalogue's own cap.
    tokens: Annotated[str, StringConstraints(max_length=20)] | None = None
