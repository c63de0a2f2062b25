"""Routes of plans and teams: change, try, cancel, take back; a member's share of a team."""

from __future__ import annotations

from jhub_tokens.service import members, plans
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import (
    PlanChangeItem,
    PlanChanges,
    PlanOrder,
    PlanReason,
    Standing,
    TeamCap,
    TrialOrder,
)

__all__ = [
    "CancelHandler",
    "FollowRulesHandler",
    "PlanChangesHandler",
    "RevokeHandler",
    "TeamCapHandler",
    "TrialHandler",
]

_REFUSED = {404: "No such member or plan", 409: "The plan does not allow it now; `code` says why"}


class PlanChangesHandler(PeopleHandler):
    """Changes of one member's plan."""

    @operation(
        summary="A member's changes of plan",
        access="own",
        answer=PlanChanges,
        errors={404: "No such member"},
    )
    async def get(self, member_id: str) -> PlanChanges:
        """Return all changes, waiting and past, the latest first; `me` is the caller."""
        member = await members.readable_member(self.service, self.person, member_id)
        return await plans.changes(self.service, member)

    @operation(
        summary="Change a member's plan",
        access="grant",
        body=PlanOrder,
        answer=PlanChangeItem,
        status=201,
        errors=_REFUSED,
    )
    async def post(self, member_id: str, *, body: PlanOrder) -> PlanChangeItem:
        """Upgrade at once (pro rata), or have a plan hold from the next period on."""
        return await plans.change(self.service, await self.recheck(), member_id, body)


class TrialHandler(PeopleHandler):
    """Trials."""

    @operation(
        summary="Start a trial of a plan",
        access="grant",
        body=TrialOrder,
        answer=PlanChangeItem,
        status=201,
        errors=_REFUSED,
    )
    async def post(self, member_id: str, *, body: TrialOrder) -> PlanChangeItem:
        """Lend a member a plan for its trial's time; each plan can be tried once."""
        return await plans.start_trial(self.service, await self.recheck(), member_id, body.plan)


class CancelHandler(PeopleHandler):
    """Cancelling."""

    @operation(
        summary="Cancel a member's plan",
        access="grant",
        body=PlanReason,
        answer=PlanChangeItem,
        status=201,
        errors=_REFUSED,
    )
    async def post(self, member_id: str, *, body: PlanReason) -> PlanChangeItem:
        """Let the plan end with its period; the default plan follows."""
        return await plans.cancel(self.service, await self.recheck(), member_id, body.reason)


class RevokeHandler(PeopleHandler):
    """Taking a change back."""

    @operation(
        summary="Take a scheduled change of plan back",
        access="grant",
        answer=PlanChangeItem,
        errors={404: "No such member or change", 409: "It has taken place already"},
    )
    async def post(self, member_id: str, change_id: str) -> PlanChangeItem:
        """Revoke a change that waits for the next period; doing so twice does nothing."""
        return await plans.revoke(self.service, await self.recheck(), member_id, change_id)


class FollowRulesHandler(PeopleHandler):
    """Back to the catalogue's rules."""

    @operation(
        summary="Let the catalogue's rules decide a member's plan again",
        access="grant",
        answer=Standing,
        errors={404: "No such member"},
    )
    async def post(self, member_id: str) -> Standing:
        """Undo that the plan was chosen by somebody, from the next sign-in on."""
        return await plans.follow_rules(self.service, await self.recheck(), member_id)


class TeamCapHandler(PeopleHandler):
    """A member's share of a team."""

    @operation(
        summary="Set a member's share of a team",
        access="grant",
        body=TeamCap,
        answer=TeamCap,
        errors={404: "No such team, or the member is not in it"},
    )
    async def post(self, team: str, member_id: str, *, body: TeamCap) -> TeamCap:
        """Set what one member may spend of a team's tokens in a period."""
        return await plans.set_cap(self.service, await self.recheck(), team, member_id, body)
