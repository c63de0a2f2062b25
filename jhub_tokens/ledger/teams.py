"""Teams: a wallet for a hub group, who may spend from it, and what happens when somebody leaves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from jhub_tokens.catalogue import Catalogue, Team
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.accounts import open_account
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.deadlines import set_end
from jhub_tokens.ledger.loading import load_team_wallet
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.rows import new_id

__all__ = ["ensure_team", "find_team", "follow_groups", "is_in_team", "set_cap", "teams_joined"]

_teams, _team_members = schema.teams, schema.team_members


def find_team(connection: Connection, name: str) -> str | None:
    """Return the id of the team called `name`, None if the books know none."""
    query = select(_teams.c.team_id).where(_teams.c.name == name)
    found: str | None = connection.execute(query).scalar()
    return found


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


def teams_joined(
    connection: Connection, catalogue: Catalogue, member_ids: Collection[str]
) -> dict[str, frozenset[str]]:
    """Return the names of the teams that members are in by the books, by member."""
    if not catalogue.teams or not member_ids:
        return {}
    query = (
        select(_team_members.c.member_id, _teams.c.name)
        .join(_teams, _teams.c.team_id == _team_members.c.team_id)
        .where(
            _team_members.c.member_id.in_(member_ids),
            _team_members.c.left_ms.is_(None),
            _teams.c.name.in_(list(catalogue.teams)),
        )
    )
    joined: dict[str, set[str]] = defaultdict(set)
    for member_id, name in connection.execute(query):
        joined[member_id].add(name)
    return {member_id: frozenset(names) for member_id, names in joined.items()}


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

    The servers that a team pays for run on for the grace and stop time after their member left.
    """
    joined = teams_joined(connection, catalogue, [member_id]).get(member_id, frozenset())
    wanted = {team.name: team for team in catalogue.teams_of(list(groups))}
    for name in sorted(joined ^ wanted.keys()):
        if name in wanted:
            team_id = ensure_team(connection, catalogue, now_ms, wanted[name])
            _join(connection, now_ms, team_id, member_id)
        else:
            team_id = find_team(connection, name) or ""
            _leave(connection, now_ms, team_id, member_id)
        _follow_in_wallet(connection, catalogue, now_ms, team_id, member_id, left=name in joined)


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
    team_id = find_team(connection, team)
    if team_id is None:
        raise LedgerError("unknown_team", f"There is no team “{team[:80]}”.", "team")
    if not is_in_team(connection, team_id, member_id):
        raise LedgerError("not_in_team", f"The member is not in the team {team}.", "member")
    # The wallet's lock comes first, as in every operation on it.
    load_team_wallet(connection, catalogue, now_ms, team_id)
    capping = update(_team_members).where(_of(team_id, member_id))
    connection.execute(capping.values(cap_grains=cap_grains))
    wallet = load_team_wallet(connection, catalogue, now_ms, team_id)
    wallet.advance()
    close_wallet(wallet, catalogue)
