"""Invitations to teams, and teams as their owners see them.

The hub's groups decide who is in a team. Beside them an owner may invite a member by name; whoever
accepts is in the team whatever their groups say, until an owner removes them. The hub's own groups
are left alone: a sign-in provider that manages them would undo any change at the next sign-in, and
this service needs no right to change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update

from jhub_tokens.burndown import Charge
from jhub_tokens.catalogue import Catalogue, Team
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.loading import load_team_wallet
from jhub_tokens.ledger.membership import find_member, member_record
from jhub_tokens.ledger.reads import add_up, exact_sum, project, wallet_view_of
from jhub_tokens.ledger.records import LedgerError, StatementView, WalletView
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.statements import periods_of, statement_of
from jhub_tokens.ledger.teams import ensure_team, find_team, is_in_team, join, part
from jhub_tokens.ledger.telling import tell
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["Answer", "Invitation", "TeamBooks", "TeamMember", "TeamView"]

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


@dataclass(frozen=True, slots=True)
class TeamMember:
    """Somebody in a team.

    Parameters
    ----------
    invited
        In it by an invitation, rather than by a group of the hub.
    own_cap_grains
        A share set for this member; None: that of the catalogue.
    cap_grains
        The share that holds; None: there is none.
    spent_grains
        Consumed of the team's tokens in this period, projected to now.
    running
        Servers that the team pays for now.
    """

    member_id: str
    name: str
    joined_ms: int
    invited: bool
    own_cap_grains: int | None
    cap_grains: int | None
    spent_grains: int
    running: int


@dataclass(frozen=True, slots=True)
class TeamView:
    """A team as its owner sees it; `left` are those who spent in this period and are gone."""

    team: str
    wallet: WalletView
    members: tuple[TeamMember, ...]
    left: tuple[TeamMember, ...]
    invitations: tuple[Invitation, ...]  # those that wait


class TeamBooks:
    """The operations, each one transaction that blocks on the database.

    Whether the caller owns the team is the caller's to check.

    Parameters
    ----------
    runner
        Runs them.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def ensure(self, team: str) -> None:
        """Make sure that a team of the catalogue has its wallet. Idempotent.

        Raises
        ------
        LedgerError
            If the catalogue has no such team (``unknown_team``).
        """
        if not self._runner.read(_is_known, team):
            self._runner.write(_ensure, team)

    def view(self, team: str, viewer_id: str) -> TeamView:
        """Return a team's wallet, members and invitations.

        Raises
        ------
        LedgerError
            ``unknown_team`` or ``unknown_member``.
        """
        return self._runner.read(_view, team, viewer_id)

    def statement(
        self, team: str, viewer_id: str, from_ms: int, to_ms: int
    ) -> tuple[StatementView, dict[str, str]]:
        """Return the statement of a team's wallet, and by session whose it was."""
        return self._runner.read(_statement, team, viewer_id, from_ms, to_ms)

    def periods(self, team: str) -> tuple[tuple[int, int], ...]:
        """Return the team's periods so far, newest first."""
        return self._runner.read(_periods, team)

    def invite(self, team: str, name: str, invited_by: str) -> Invitation:
        """Invite the member called `name`; asked again, the invitation that waits is the answer.

        Raises
        ------
        LedgerError
            ``unknown_team``, ``no_such_name``, ``in_team`` or ``team_full``.
        """
        return self._runner.write(_invite, team, name, invited_by)

    def withdraw(self, team: str, invitation_id: str) -> Invitation:
        """Take back an invitation that waits. Idempotent.

        Raises
        ------
        LedgerError
            ``unknown_invitation``, or ``answered`` by the member meanwhile.
        """
        return self._runner.write(_withdraw, team, invitation_id)

    def answer(self, member_id: str, invitation_id: str, *, accept: bool) -> Invitation:
        """Accept or decline an invitation of the member's own. Idempotent.

        Raises
        ------
        LedgerError
            ``unknown_invitation``, ``answered`` otherwise before, or ``team_full``.
        """
        return self._runner.write(_answer, member_id, invitation_id, accept)

    def waiting_for(self, member_id: str) -> tuple[Invitation, ...]:
        """Return the invitations that wait for a member's answer."""
        return self._runner.read(_waiting_for, member_id)

    def remove(self, team: str, member_id: str) -> None:
        """Let somebody who was invited leave; their servers on the team end soon. Idempotent.

        Raises
        ------
        LedgerError
            ``unknown_team``, or ``by_group`` for whom the hub's groups put into it.
        """
        self._runner.write(_remove, team, member_id)


# --- reading -----------------------------------------------------------------------------------


def _is_known(connection: Connection, catalogue: Catalogue, now_ms: int, team: str) -> bool:
    return find_team(connection, team) is not None


def _ensure(connection: Connection, catalogue: Catalogue, now_ms: int, team: str) -> None:
    ensure_team(connection, catalogue, now_ms, _team(catalogue, team))


def _view(
    connection: Connection, catalogue: Catalogue, now_ms: int, team: str, viewer_id: str
) -> TeamView:
    wallet = _wallet(connection, catalogue, now_ms, team)
    viewer = find_member(connection, _m.c.member_id == viewer_id)
    if viewer is None:
        raise LedgerError("unknown_member", _("There is no such member."))
    spent = _spent(connection, wallet)
    people = select(_tm, _m.c.name).join(_m, _m.c.member_id == _tm.c.member_id)
    rows = connection.execute(
        people.where(_tm.c.team_id == wallet.row["team_id"]).order_by(_m.c.name)
    ).mappings()
    running: dict[str, int] = {}
    for session in wallet.open_sessions():
        running[session["member_id"]] = running.get(session["member_id"], 0) + 1
    here, left = [], []
    for row in rows:
        member = TeamMember(
            row["member_id"],
            row["name"],
            row["joined_ms"],
            row["invited"],
            row["cap_grains"],
            wallet.terms.member_caps.get(row["member_id"], wallet.terms.member_cap_grains),
            spent.get(row["member_id"], 0),
            running.get(row["member_id"], 0),
        )
        if row["left_ms"] is None:
            here.append(member)
        elif member.spent_grains or member.running:
            left.append(member)
    waiting = _query().where(_i.c.team_id == wallet.row["team_id"], _i.c.answered_ms.is_(None))
    return TeamView(
        team,
        wallet_view_of(connection, wallet, member_record(viewer)),
        tuple(here),
        tuple(left),
        tuple(_record(row) for row in connection.execute(waiting).mappings()),
    )


def _spent(connection: Connection, wallet: OpenWallet) -> dict[str, int]:
    """Return what each member consumed in the period, booked and projected."""
    view = project(wallet)
    e, t, s = schema.entries, schema.transactions, schema.sessions
    booked = (
        select(s.c.member_id, *exact_sum(e.c.amount_grains))
        .select_from(e)
        .join(t, t.c.transaction_id == e.c.transaction_id)
        .join(s, s.c.session_id == e.c.session_id)
        .where(
            t.c.wallet_id == wallet.wallet_id,
            t.c.at_ms > view.period_start_ms,
            e.c.account == "consumed",
        )
        .group_by(s.c.member_id)
    )
    spent = {member_id: add_up(high, low) for member_id, high, low in connection.execute(booked)}
    for event in view.events:
        if isinstance(event, Charge) and event.to_ms > view.period_start_ms:
            member_id = wallet.sessions[event.session_id]["member_id"]
            spent[member_id] = spent.get(member_id, 0) + event.amount
    return spent


def _statement(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    team: str,
    viewer_id: str,
    from_ms: int,
    to_ms: int,
) -> tuple[StatementView, dict[str, str]]:
    wallet = _wallet(connection, catalogue, now_ms, team)
    view = statement_of(connection, wallet, viewer_id, from_ms, to_ms)
    s = schema.sessions
    ids = {entry.session_id for entry in view.entries if entry.session_id is not None}
    names = (
        select(s.c.session_id, _m.c.name)
        .join(_m, _m.c.member_id == s.c.member_id)
        .where(s.c.wallet_id == wallet.wallet_id)
    )
    whose = {row.session_id: row.name for row in connection.execute(names)}
    return view, {session_id: whose.get(session_id, "") for session_id in ids}


def _periods(
    connection: Connection, catalogue: Catalogue, now_ms: int, team: str
) -> tuple[tuple[int, int], ...]:
    return periods_of(_wallet(connection, catalogue, now_ms, team))


def _waiting_for(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> tuple[Invitation, ...]:
    query = _query().where(_i.c.member_id == member_id, _i.c.answered_ms.is_(None))
    found = (_record(row) for row in connection.execute(query).mappings())
    return tuple(item for item in found if item.team in catalogue.teams)


def _wallet(connection: Connection, catalogue: Catalogue, now_ms: int, team: str) -> OpenWallet:
    team_id = find_team(connection, team)
    if team_id is None:
        raise LedgerError("unknown_team", _("There is no such team."), "team")
    return load_team_wallet(connection, catalogue, now_ms, team_id, lock=False)


def _team(catalogue: Catalogue, name: str) -> Team:
    if name not in catalogue.teams:
        raise LedgerError("unknown_team", _("There is no such team."), "team")
    return catalogue.teams[name]


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


# --- inviting ----------------------------------------------------------------------------------


def _invite(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    team: str,
    name: str,
    invited_by: str,
) -> Invitation:
    found = _team(catalogue, team)
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


def _withdraw(
    connection: Connection, catalogue: Catalogue, now_ms: int, team: str, invitation_id: str
) -> Invitation:
    found = _find(connection, invitation_id)
    if found.team != team:
        raise _no_invitation()
    return _settle(connection, now_ms, found, "withdrawn")


def _answer(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    invitation_id: str,
    accept: bool,
) -> Invitation:
    found = _find(connection, invitation_id)
    if found.member_id != member_id:
        raise _no_invitation()
    if not accept:
        return _settle(connection, now_ms, found, "declined")
    if found.answer == "accepted":
        return found
    team = _team(catalogue, found.team)
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


def _remove(
    connection: Connection, catalogue: Catalogue, now_ms: int, team: str, member_id: str
) -> None:
    team_id = find_team(connection, team)
    if team_id is None:
        raise LedgerError("unknown_team", _("There is no such team."), "team")
    query = select(_tm.c.left_ms, _tm.c.invited).where(
        _tm.c.team_id == team_id, _tm.c.member_id == member_id
    )
    row = connection.execute(query).first()
    if row is None or (row.left_ms is not None and not row.invited):
        return
    if not row.invited:
        raise LedgerError(
            "by_group",
            _(
                "The hub's groups put this member into the team; ask whoever manages the groups. "
                "To keep them from spending, set their share to 0."
            ),
            "member_id",
        )
    part(connection, catalogue, now_ms, team_id, member_id)
    tell(connection, now_ms, member_id, "team_removed", {"team": team})


def _find(connection: Connection, invitation_id: str) -> Invitation:
    row = connection.execute(_query().where(_i.c.invitation_id == invitation_id)).mappings().first()
    if row is None:
        raise _no_invitation()
    return _record(row)


def _no_invitation() -> LedgerError:
    return LedgerError("unknown_invitation", _("There is no such invitation."), "invitation_id")
