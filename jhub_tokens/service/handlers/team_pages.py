"""A team's pages: its wallet, members and shares, invitations, its statement."""

from __future__ import annotations

from collections.abc import Mapping

from jhub_tokens.catalogue import Team
from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import LedgerError, MemberRecord
from jhub_tokens.service import members, team_view
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.handlers.account_page import AccountPage
from jhub_tokens.units import AmountError

__all__ = [
    "InvitationAnswerPage",
    "TeamInvitePage",
    "TeamPage",
    "TeamRemovePage",
    "TeamSharePage",
    "TeamStatementPage",
    "TeamWithdrawPage",
]


class _TeamPage(AccountPage):
    """A page of one team."""

    active = "plan"

    def team(self, name: str, *, changing: bool = True) -> Team:
        """Return the team, if the signed-in member may act for it."""
        return team_view.owned_team(self.service, self.person, name, changing=changing)

    async def show_team(
        self,
        team: Team,
        member: MemberRecord,
        *,
        status: int = 200,
        errors: Mapping[str, str] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """Show everything; `kept` is what was typed, `errors` what is wrong in it."""
        self.show(
            "account/team.html",
            status,
            view=await team_view.team_page(self.service, team, member),
            errors=errors or {},
            kept=kept or {},
        )

    def back(self, team: Team, message: str) -> None:
        """Go back to the team's page, and say something there once."""
        self.redirect_with(f"teams/{team.name}", message)


class TeamPage(_TeamPage):
    """A team: all of it for its owner, one's own share for its members."""

    async def get(self, name: str) -> None:
        """Show it."""
        member = await self.own()
        teams = (await members.standing(self.service, member)).teams
        share = next((team for team in teams if team.team == name), None)
        try:
            team = self.team(name, changing=False)
        except Problem:
            if share is None:
                raise
            self.show("account/share.html", team=share)
            return
        await self.show_team(team, member)


class TeamStatementPage(_TeamPage):
    """Every token of a team's period."""

    async def get(self, name: str) -> None:
        """Show the statement."""
        member, team = await self.own(), self.team(name, changing=False)
        found = await team_view.team_statement(self.service, team, member, self.asked("period"))
        statement, periods, whose = found
        self.show(
            "account/team_statement.html",
            team=team,
            statement=statement,
            periods=periods,
            whose=whose,
        )


class TeamSharePage(_TeamPage):
    """The target of the form for a member's share."""

    async def post(self, name: str) -> None:
        """Set the share, or show the form with what is wrong."""
        member, team = await self.own(), self.team(name)
        who, tokens = self.field("member_id"), self.field("tokens")
        try:
            await team_view.set_share(self.service, self.person, team, who, tokens)
        except (AmountError, Problem) as error:
            problem = problem_from(error)
            if problem.status != 422:
                raise
            await self.show_team(
                team,
                member,
                status=422,
                errors={f"share-{who}": problem.message},
                kept={f"share-{who}": tokens},
            )
            return
        self.back(team, _("The share is set."))


class TeamInvitePage(_TeamPage):
    """The target of the form that invites somebody."""

    async def post(self, name: str) -> None:
        """Invite, or show the form with what is wrong."""
        member, team = await self.own(), self.team(name)
        invited = self.field("name")
        try:
            await team_view.invite(self.service, self.person, team, member, invited)
        except (LedgerError, Problem) as error:
            problem = problem_from(error)
            if problem.field != "name":
                raise
            await self.show_team(
                team,
                member,
                status=problem.status,
                errors={"name": problem.message},
                kept={"name": invited},
            )
            return
        self.back(team, _("%(name)s is invited.", name=invited))


class TeamWithdrawPage(_TeamPage):
    """The target of the form that takes an invitation back."""

    async def post(self, name: str) -> None:
        """Take it back."""
        await self.own()
        team = self.team(name)
        found = await team_view.withdraw(self.service, team, self.field("invitation_id"))
        self.back(team, _("The invitation of %(name)s is taken back.", name=found.name))


class TeamRemovePage(_TeamPage):
    """The target of the form that lets somebody leave."""

    async def post(self, name: str) -> None:
        """Let them leave."""
        await self.own()
        team = self.team(name)
        await team_view.remove(self.service, self.person, team, self.field("member_id"))
        self.back(team, _("The member has left the team; servers that it pays for end soon."))


class InvitationAnswerPage(AccountPage):
    """The target of the forms that accept or decline an invitation."""

    active = "plan"

    async def post(self) -> None:
        """Accept or decline, of the signed-in member only."""
        member, answer = await self.own(), self.field("answer")
        if answer not in ("accept", "decline"):
            raise Problem(422, "invalid", _("Accept or decline."), field="answer")
        books = self.service.books.ledger.teams
        found = await self.service.workers.write(
            books.answer,
            member.member_id,
            self.field("invitation_id"),
            accept=answer == "accept",
        )
        self.service.written()
        team = self.service.books.catalogue.teams.get(found.team)
        title = team.title if team else found.team
        if found.answer == "accepted":
            self.redirect_with("plan", _("You are in the team %(team)s now.", team=title))
        else:
            self.redirect_with("plan", _("You have declined to join %(team)s.", team=title))
