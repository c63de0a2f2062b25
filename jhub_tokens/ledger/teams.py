"""Teams: a wallet for a hub group, who may spend from it, and what happens when somebody leaves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from jhub_tokens.catalogue import Catalogue, Team
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.accounts import open_account
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.deadlines import set_end
from jhub_tokens.ledger.loading import load_team_wallet
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.rows import new_id

__all__ = [
    "Ties",
    "ensure_team",
    "find_team",
    "follow_groups",
    "is_in_team",
    "join",
    "known_team",
    "part",
    "set_cap",
    "team_of",
    "teams_joined",
    "ties_of",
]

_teams, _team_members = schema.teams, schema.team_members


def find_team(connection: Connection, name: str) -> str | None:
    """Return the id of the team called `name`, None if the books know none."""
    query = select(_teams.c.team_id).where(_teams.c.name == name)
    found: str | None = connection.execute(query).scalar()
    return found


def known_team(connection: Connection, name: str) -> str:
    """Return the id of the team called `name`; raises `LedgerError` (``unknown_team``)."""
    team_id = find_team(connection, name)
    if team_id is None:
        raise _unknown(name)
    return team_id


def team_of(catalogue: Catalogue, name: str) -> Team:
    """Return the catalogue's team called `name`; raises `LedgerError` (``unknown_team``)."""
    if name not in catalogue.teams:
        raise _unknown(name)
    return catalogue.teams[name]


def _unknown(name: str) -> LedgerError:
    message = _("There is no team “%(team)s”.", team=name[:80])
    return LedgerError("unknown_team", message, "team")


def ensure_team(connection: Connection, catalogue: Catalogue, now_ms: int, team: Team) -> str:
    """Make sure that a team's wallet and this period's grant exist; return the team's id."""
    team_id = find_team(connection, team.name)
    if team_id is None and connection.dialect.name == "postgresql":
        # One caller at a time creates it: there is no row yet that could be locked.
        who = f"jhub-tokens team {team.name}"
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(who, 0))))
        team_id = find_team(connection, team.name)
    if team_id is None:
        team_id = new_id()
        row = {"team_id": team_id, "name": team.name, "created_ms": now_ms}
        connection.execute(insert(_teams), row)
        open_account(connection, catalogue, now_ms, catalogue.plans[team.plan], team_id=team_id)
    return team_id


@dataclass(slots=True)
class Ties:
    """What ties a member to teams, by their names: being in one, and having been invited."""

    joined: set[str] = field(default_factory=set)
    invited: set[str] = field(default_factory=set)

    def wanted(self, catalogue: Catalogue, groups: Collection[str]) -> set[str]:
        """Return the teams that the member belongs to, by the hub's groups or by invitation."""
        return self.invited | {team.name for team in catalogue.teams_of(groups)}


def ties_of(
    connection: Connection, catalogue: Catalogue, member_ids: Collection[str]
) -> Mapping[str, Ties]:
    """Return what ties members to the catalogue's teams; whoever is named nowhere has no tie."""
    found: dict[str, Ties] = defaultdict(Ties)
    if not catalogue.teams or not member_ids:
        return found
    columns = _team_members.c
    query = (
        select(columns.member_id, columns.left_ms, columns.invited, _teams.c.name)
        .join(_teams, _teams.c.team_id == columns.team_id)
        .where(
            columns.member_id.in_(member_ids),
            or_(columns.left_ms.is_(None), columns.invited),
            _teams.c.name.in_(list(catalogue.teams)),
        )
    )
    for member_id, left_ms, invited, name in connection.execute(query):
        if left_ms is None:
            found[member_id].joined.add(name)
        if invited:
            found[member_id].invited.add(name)
    return found


def teams_joined(connection: Connection, catalogue: Catalogue, member_id: str) -> frozenset[str]:
    """Return the names of the teams that a member is in by the books."""
    return frozenset(ties_of(connection, catalogue, [member_id])[member_id].joined)


def is_in_team(connection: Connection, team_id: str, member_id: str) -> bool:
    """Tell whether a member may spend from a team's wallet."""
    query = select(_team_members.c.left_ms).where(_of(team_id, member_id))
    row = connection.execute(query).first()
    return row is not None and row.left_ms is None


def follow_groups(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    groups: Iterable[str],
) -> None:
    """Let a member join the teams of the hub's groups, and leave those of no group any more.

    Whoever was invited stays.

    The servers that a team pays for run on for the grace and stop time after their member left.
    """
    ties = ties_of(connection, catalogue, [member_id])[member_id]
    joined = ties.joined
    wanted = ties.wanted(catalogue, list(groups))
    for name in sorted(joined ^ wanted):
        if name in wanted:
            team_id = ensure_team(connection, catalogue, now_ms, catalogue.teams[name])
            _join(connection, now_ms, team_id, member_id)
        else:
            team_id = find_team(connection, name) or ""
            _leave(connection, now_ms, team_id, member_id)
        _follow_in_wallet(connection, catalogue, now_ms, team_id, member_id, left=name in joined)


def join(
    connection: Connection, catalogue: Catalogue, now_ms: int, team_id: str, member_id: str
) -> None:
    """Let a member into a team who accepted an invitation, whatever the hub's groups say."""
    _join(connection, now_ms, team_id, member_id)
    invited = update(_team_members).where(_of(team_id, member_id))
    connection.execute(invited.values(invited=True))
    _follow_in_wallet(connection, catalogue, now_ms, team_id, member_id, left=False)


def part(
    connection: Connection, catalogue: Catalogue, now_ms: int, team_id: str, member_id: str
) -> None:
    """Let a member leave who was invited; the hub's groups may put them back."""
    _leave(connection, now_ms, team_id, member_id)
    invited = update(_team_members).where(_of(team_id, member_id))
    connection.execute(invited.values(invited=False))
    _follow_in_wallet(connection, catalogue, now_ms, team_id, member_id, left=True)


def _of(team_id: str, member_id: str) -> ColumnElement[bool]:
    return and_(_team_members.c.team_id == team_id, _team_members.c.member_id == member_id)


def _join(connection: Connection, now_ms: int, team_id: str, member_id: str) -> None:
    again = update(_team_members).where(_of(team_id, member_id))
    if not connection.execute(again.values(left_ms=None, joined_ms=now_ms)).rowcount:
        row = {"team_id": team_id, "member_id": member_id, "joined_ms": now_ms}
        connection.execute(insert(_team_members), row)


def _leave(connection: Connection, now_ms: int, team_id: str, member_id: str) -> None:
    leaving = update(_team_members).where(_of(team_id, member_id))
    connection.execute(leaving.values(left_ms=now_ms))


def _follow_in_wallet(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    team_id: str,
    member_id: str,
    *,
    left: bool,
) -> None:
    """Set an end for what runs on the team's wallet, or take it back."""
    wallet = load_team_wallet(connection, catalogue, now_ms, team_id)
    mine = [s for s in wallet.open_sessions() if s["member_id"] == member_id]
    if not mine:
        return
    wallet.advance()
    for session in mine:
        if left:
            ends_ms = now_ms + session["grace_ms"] + session["stop_time_ms"]
            set_end(session, ends_ms, "left_team")
        elif session["stop_by_reason"] == "left_team":
            set_end(session, None, None)
    close_wallet(wallet, catalogue)


def set_cap(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    team: str,
    member_id: str,
    cap_grains: int | None,
) -> None:
    """Set what one member may spend of a team's wallet in a period; None: the catalogue's cap.

    Raises
    ------
    LedgerError
        ``unknown_team`` or ``not_in_team``.
    """
    team_id = known_team(connection, team)
    if not is_in_team(connection, team_id, member_id):
        message = _("The member is not in the team %(team)s.", team=team)
        raise LedgerError("not_in_team", message, "member")
    # The wallet's lock comes first, as in every operation on it.
    load_team_wallet(connection, catalogue, now_ms, team_id)
    capping = update(_team_members).where(_of(team_id, member_id))
    connection.execute(capping.values(cap_grains=cap_grains))
    wallet = load_team_wallet(connection, catalogue, now_ms, team_id)
    wallet.advance()
    close_wallet(wallet, catalogue)
