"""Invitations to teams: given by owners, answered by members.

The hub's groups decide who is in a team. Beside them an owner may invite a member by name; whoever
accepts is in the team whatever their groups say, until an owner removes them. The hub's own groups
are left alone: a sign-in provider that manages them would undo any change at the next sign-in, and
this service needs no right to change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update

from jhub_tokens.catalogue import Catalogue, Team
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.loading import load_team_wallet
from jhub_tokens.ledger.membership import find_member
from jhub_tokens.ledger.notices import tell
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.teams import ensure_team, is_in_team, join, team_of

__all__ = [
    "Answer",
    "Invitation",
    "answer",
    "invite",
    "waiting_for",
    "waiting_in",
    "withdraw",
]

Answer = Literal["", "accepted", "declined", "withdrawn"]
_i, _tm, _m = schema.team_invitations, schema.team_members, schema.members


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation to a team."""

    invitation_id: str
    team: str
    member_id: str
    name: str  # of the member who is invited
    invited_ms: int
    answered_ms: int | None
    answer: Answer


def waiting_for(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> tuple[Invitation, ...]:
    """Return the invitations that wait for a member's answer."""
    query = _query().where(_i.c.member_id == member_id, _i.c.answered_ms.is_(None))
    found = (_record(row) for row in connection.execute(query).mappings())
    return tuple(item for item in found if item.team in catalogue.teams)


def waiting_in(connection: Connection, team_id: str) -> tuple[Invitation, ...]:
    """Return a team's invitations that wait for an answer."""
    query = _query().where(_i.c.team_id == team_id, _i.c.answered_ms.is_(None))
    return tuple(_record(row) for row in connection.execute(query).mappings())


def invite(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    team: str,
    name: str,
    invited_by: str,
) -> Invitation:
    """Invite the member called `name`; see `TeamBooks.invite`."""
    found = team_of(catalogue, team)
    team_id = ensure_team(connection, catalogue, now_ms, found)
    # Under the wallet's lock, so that two invitations cannot both take the last place.
    load_team_wallet(connection, catalogue, now_ms, team_id)
    named = (_m.c.name == name, _m.c.holds_name.is_(True), _m.c.state != "erased")
    member = find_member(connection, *named)
    if member is None:
        raise LedgerError(
            "no_such_name",
            _("Nobody of this name is a member here. They have to sign in once first."),
            "name",
        )
    member_id = member["member_id"]
    if is_in_team(connection, team_id, member_id):
        message = _("%(name)s is in the team already.", name=name)
        raise LedgerError("in_team", message, "name")
    mine = (_i.c.team_id == team_id, _i.c.member_id == member_id, _i.c.answered_ms.is_(None))
    waiting = connection.execute(_query().where(*mine)).mappings().first()
    if waiting is not None:
        return _record(waiting)
    _refuse_full(connection, catalogue, found, team_id, more=1)
    row = {
        "invitation_id": new_id(),
        "team_id": team_id,
        "member_id": member_id,
        "invited_by": invited_by,
        "invited_ms": now_ms,
        "answered_ms": None,
        "answer": "",
    }
    connection.execute(insert(_i), row)
    tell(connection, now_ms, member_id, "team_invited", {"team": team})
    return _find(connection, str(row["invitation_id"]))


def _refuse_full(
    connection: Connection, catalogue: Catalogue, team: Team, team_id: str, *, more: int
) -> None:
    """Refuse if the plan's size leaves no place; places are kept for those who are invited."""
    size = catalogue.plans[team.plan].max_members
    if size is None:
        return
    count = func.count()
    here = select(count).where(_tm.c.team_id == team_id, _tm.c.left_ms.is_(None))
    waiting = select(count).where(_i.c.team_id == team_id, _i.c.answered_ms.is_(None))
    taken = sum(connection.execute(query).scalar_one() for query in (here, waiting))
    if taken + more > size:
        raise LedgerError(
            "team_full",
            _(
                "The team's plan is for %(size)s members, and all places are taken or kept for "
                "those who are invited.",
                size=size,
            ),
            "name",
        )


def withdraw(
    connection: Connection, catalogue: Catalogue, now_ms: int, team: str, invitation_id: str
) -> Invitation:
    """Take back an invitation that waits; see `TeamBooks.withdraw`."""
    found = _find(connection, invitation_id)
    if found.team != team:
        raise _no_invitation()
    return _settle(connection, now_ms, found, "withdrawn")


def answer(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    invitation_id: str,
    accept: bool,
) -> Invitation:
    """Accept or decline an invitation; see `TeamBooks.answer`."""
    found = _find(connection, invitation_id)
    if found.member_id != member_id:
        raise _no_invitation()
    if not accept:
        return _settle(connection, now_ms, found, "declined")
    if found.answer == "accepted":
        return found
    team = team_of(catalogue, found.team)
    team_id = ensure_team(connection, catalogue, now_ms, team)
    load_team_wallet(connection, catalogue, now_ms, team_id)
    # The plan may have become smaller since; the place kept for this one counts already.
    _refuse_full(connection, catalogue, team, team_id, more=0)
    settled = _settle(connection, now_ms, found, "accepted")
    join(connection, catalogue, now_ms, team_id, member_id)
    return settled


def _settle(connection: Connection, now_ms: int, found: Invitation, answer: Answer) -> Invitation:
    if found.answer == answer:
        return found
    waiting = update(_i).where(
        _i.c.invitation_id == found.invitation_id, _i.c.answered_ms.is_(None)
    )
    if not connection.execute(waiting.values(answered_ms=now_ms, answer=answer)).rowcount:
        raise LedgerError(
            "answered", _("This invitation was answered or taken back already."), "invitation_id"
        )
    if answer in ("accepted", "declined"):
        query = select(_i.c.invited_by).where(_i.c.invitation_id == found.invitation_id)
        owner = connection.execute(query).scalar_one()
        kind: Any = f"team_{answer}"
        tell(connection, now_ms, owner, kind, {"team": found.team, "name": found.name})
    return _find(connection, found.invitation_id)


def _find(connection: Connection, invitation_id: str) -> Invitation:
    row = connection.execute(_query().where(_i.c.invitation_id == invitation_id)).mappings().first()
    if row is None:
        raise _no_invitation()
    return _record(row)


def _no_invitation() -> LedgerError:
    return LedgerError("unknown_invitation", _("There is no such invitation."), "invitation_id")


def _query() -> Any:
    teams = schema.teams
    return (
        select(_i, teams.c.name.label("team"), _m.c.name.label("member_name"))
        .join(teams, teams.c.team_id == _i.c.team_id)
        .join(_m, _m.c.member_id == _i.c.member_id)
        .order_by(_i.c.invited_ms, _i.c.invitation_id)
    )


def _record(row: Any) -> Invitation:
    return Invitation(
        row["invitation_id"],
        row["team"],
        row["member_id"],
        row["member_name"],
        row["invited_ms"],
        row["answered_ms"],
        row["answer"],
    )
