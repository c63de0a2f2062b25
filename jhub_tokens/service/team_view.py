"""A team as its owner sees it, and what an owner may do."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from jhub_tokens.catalogue import Team
from jhub_tokens.i18n import _
from jhub_tokens.ledger.invitations import Invitation
from jhub_tokens.ledger.owned_teams import TeamMember
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.service import texts, views
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import Problem, invalid
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens, parse_tokens_mtok
from jhub_tokens.wire import Statement

__all__ = [
    "TeamPageView",
    "invitations_for",
    "invite",
    "owned_team",
    "remove",
    "set_share",
    "team_page",
    "team_statement",
    "withdraw",
]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MemberLine:
    """Somebody in a team, for people."""

    member: TeamMember
    joined: str
    used_permille: int
    share: str  # as it is typed into the form
    gone: bool


@dataclass(frozen=True, slots=True)
class TeamPageView:
    """Everything on the page of a team."""

    team: Team
    plan_title: str
    balance_grains: int
    allotment_grains: int
    used_grains: int
    used_permille: int
    period_end: str
    runs_out: str
    rate_mtok_h: int
    size: int | None
    places: int | None
    people: list[MemberLine]
    invitations: list[tuple[Invitation, str]]


def owned_team(service: Service, caller: Caller, name: str, *, changing: bool = False) -> Team:
    """Return a team of the catalogue, if the caller owns it or may do so to all.

    Raises
    ------
    Problem
        If the caller may not; the answer does not tell which teams there are.
    """
    team = service.books.catalogue.teams.get(name)
    may_all = caller.may_grant if changing else caller.may_read_all
    if team is None or not (caller.name in team.owners or may_all):
        raise Problem(
            403,
            "forbidden",
            _("You own no team of this name."),
            remedy=_("The operator names the owners of a team in the catalogue."),
        )
    return team


async def team_page(service: Service, team: Team, viewer: MemberRecord) -> TeamPageView:
    """Read everything on the page of a team."""
    books, catalogue = service.books.ledger.teams, service.books.catalogue
    await service.workers.write(books.ensure, team.name)
    found = await service.workers.read(books.view, team.name, viewer.member_id)
    wallet = found.wallet
    now_ms, zone = wallet.as_of_ms, catalogue.zone
    at_hand = wallet.balance_grains + wallet.used_grains
    size = wallet.plan.max_members

    def line(member: TeamMember, *, gone: bool = False) -> MemberLine:
        own = member.own_cap_grains
        whole = member.cap_grains if member.cap_grains is not None else wallet.used_grains
        return MemberLine(
            member,
            texts.instant_text(member.joined_ms, now_ms, zone),
            min(1000, member.spent_grains * 1000 // whole) if whole > 0 else 0,
            "" if own is None else format_tokens(own, 3).replace(",", ""),
            gone,
        )

    people = [line(member) for member in found.members]
    people += [line(member, gone=True) for member in found.left]
    taken = len(found.members) + len(found.invitations)
    return TeamPageView(
        team=team,
        plan_title=wallet.plan.spoken().title,
        balance_grains=wallet.balance_grains,
        allotment_grains=wallet.allotment_grains,
        used_grains=wallet.used_grains,
        used_permille=wallet.used_grains * 1000 // at_hand if at_hand > 0 else 0,
        period_end=texts.instant_text(wallet.period_end_ms, now_ms, zone),
        runs_out="" if wallet.dry_at_ms is None
        else texts.instant_text(wallet.dry_at_ms, now_ms, zone),
        rate_mtok_h=wallet.burn_mtok_h,
        size=size,
        places=None if size is None else max(0, size - taken),
        people=sorted(people, key=lambda one: (-one.member.spent_grains, one.member.name)),
        invitations=[
            (item, texts.instant_text(item.invited_ms, now_ms, zone))
            for item in found.invitations
        ],
    )  # fmt: skip


async def team_statement(
    service: Service, team: Team, viewer: MemberRecord, period: str
) -> tuple[Statement, list[tuple[str, str, bool]], dict[str, str]]:
    """Return a team's statement of a period, all periods, and by session whose it was.

    Raises
    ------
    Problem
        If there is no such period.
    """
    books, catalogue = service.books.ledger.teams, service.books.catalogue
    await service.workers.write(books.ensure, team.name)

    def read() -> tuple[Statement, list[tuple[str, str, bool]], dict[str, str]]:
        periods = books.periods(team.name)
        days = [views.local_date(start, catalogue.zone).isoformat() for start, _end in periods]
        wanted = days[0] if period in ("", "current") else period
        if wanted not in days:
            raise Problem(404, "no_period", _("No period of this team began on that day."))
        from_ms, to_ms = periods[days.index(wanted)]
        view, whose = books.statement(team.name, viewer.member_id, from_ms, to_ms)
        shown = views.statement(view, catalogue)
        long_ago = from_ms - 2 * 86_400_000
        labels = [
            # The last day is the one before the period's end, which is exclusive.
            " – ".join(
                texts.day_text(at_ms, long_ago, catalogue.zone) for at_ms in (start, end - 1)
            )
            for start, end in periods
        ]
        listed = [(day, label, day == wanted) for day, label in zip(days, labels, strict=True)]
        return shown, listed, whose

    return await service.workers.read(read)


async def set_share(
    service: Service, caller: Caller, team: Team, member_id: str, tokens: str
) -> None:
    """Set what a member may spend of a team in a period; empty: what the catalogue says.

    Raises
    ------
    Problem
        If that is no amount.
    LedgerError
        If the member is not in the team.
    """
    cap_grains = None
    if tokens:
        cap_grains = parse_tokens_mtok(tokens) * GRAINS_PER_MILLITOKEN
        if cap_grains < 0:
            raise invalid("tokens", _("A share cannot be negative."))
    ledger = service.books.ledger
    await service.workers.write(ledger.set_team_cap, team.name, member_id, cap_grains)
    log.info("team share set", by=caller.label, team=team.name, member_id=member_id)
    service.written(may_stop=True)


async def invite(
    service: Service, caller: Caller, team: Team, owner: MemberRecord, name: str
) -> Invitation:
    """Invite a member by name; see `TeamBooks.invite` for what is refused."""
    if not name:
        raise invalid("name", _("Write the name by which somebody signs in."))
    books = service.books.ledger.teams
    found = await service.workers.write(books.invite, team.name, name[:255], owner.member_id)
    log.info("invited", by=caller.label, team=team.name, member_id=found.member_id)
    service.written()
    return found


async def withdraw(service: Service, team: Team, invitation_id: str) -> Invitation:
    """Take an invitation back; see `TeamBooks.withdraw` for what is refused."""
    books = service.books.ledger.teams
    return await service.workers.write(books.withdraw, team.name, invitation_id)


async def remove(service: Service, caller: Caller, team: Team, member_id: str) -> None:
    """Let somebody who was invited leave; see `TeamBooks.remove` for what is refused."""
    await service.workers.write(service.books.ledger.teams.remove, team.name, member_id)
    log.info("removed from team", by=caller.label, team=team.name, member_id=member_id)
    service.written(may_stop=True)


async def invitations_for(service: Service, member: MemberRecord) -> list[tuple[Invitation, str]]:
    """Return the invitations that wait for a member, with the team's title."""
    books, teams = service.books.ledger.teams, service.books.catalogue.teams
    found = await service.workers.read(books.waiting_for, member.member_id)
    return [(item, teams[item.team].title) for item in found if item.team in teams]
