"""Teams as their owners see them: the wallet, who spends of it, who is invited."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from jhub_tokens.burndown import Charge
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import invitations, schema
from jhub_tokens.ledger.invitations import Invitation
from jhub_tokens.ledger.loading import load_team_wallet
from jhub_tokens.ledger.membership import find_member, member_record
from jhub_tokens.ledger.notices import tell
from jhub_tokens.ledger.reads import add_up, exact_sum, project, wallet_view_of
from jhub_tokens.ledger.records import LedgerError, StatementView, WalletView
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.statements import periods_of, statement_of
from jhub_tokens.ledger.teams import ensure_team, find_team, known_team, part, team_of
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["TeamBooks", "TeamMember", "TeamView"]

_tm, _m = schema.team_members, schema.members


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
        return self._runner.write(invitations.invite, team, name, invited_by)

    def withdraw(self, team: str, invitation_id: str) -> Invitation:
        """Take back an invitation that waits. Idempotent.

        Raises
        ------
        LedgerError
            ``unknown_invitation``, or ``answered`` by the member meanwhile.
        """
        return self._runner.write(invitations.withdraw, team, invitation_id)

    def answer(self, member_id: str, invitation_id: str, *, accept: bool) -> Invitation:
        """Accept or decline an invitation of the member's own. Idempotent.

        Raises
        ------
        LedgerError
            ``unknown_invitation``, ``answered`` otherwise before, or ``team_full``.
        """
        return self._runner.write(invitations.answer, member_id, invitation_id, accept)

    def waiting_for(self, member_id: str) -> tuple[Invitation, ...]:
        """Return the invitations that wait for a member's answer."""
        return self._runner.read(invitations.waiting_for, member_id)

    def remove(self, team: str, member_id: str) -> None:
        """Let somebody who was invited leave; their servers on the team end soon. Idempotent.

        Raises
        ------
        LedgerError
            ``unknown_team``, or ``by_group`` for whom the hub's groups put into it.
        """
        self._runner.write(_remove, team, member_id)


def _is_known(connection: Connection, catalogue: Catalogue, now_ms: int, team: str) -> bool:
    return find_team(connection, team) is not None


def _ensure(connection: Connection, catalogue: Catalogue, now_ms: int, team: str) -> None:
    ensure_team(connection, catalogue, now_ms, team_of(catalogue, team))


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
    return TeamView(
        team,
        wallet_view_of(connection, wallet, member_record(viewer)),
        tuple(here),
        tuple(left),
        invitations.waiting_in(connection, wallet.row["team_id"]),
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


def _wallet(connection: Connection, catalogue: Catalogue, now_ms: int, team: str) -> OpenWallet:
    team_id = known_team(connection, team)
    return load_team_wallet(connection, catalogue, now_ms, team_id, lock=False)


def _remove(
    connection: Connection, catalogue: Catalogue, now_ms: int, team: str, member_id: str
) -> None:
    team_id = known_team(connection, team)
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
