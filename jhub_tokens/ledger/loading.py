"""Reading wallets, one or many at once: a fixed handful of statements, whatever their number.

The statements are built once, here; building and compiling them anew would cost more than the
database takes to answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Any

from sqlalchemy import BindParameter, Connection, CursorResult, Select, bindparam, or_, select

from jhub_tokens.catalogue import Catalogue, Plan, Team
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.rows import Row, Terms
from jhub_tokens.ledger.subscriptions import coming_plan, due_renewals, held_plan, own_plan
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.periods import week_start_ms
from jhub_tokens.units import GRAINS_PER_MILLITOKEN

__all__ = ["TROUBLE", "load_team_wallet", "load_wallet", "load_wallets", "rows_of"]

#: What can be wrong with one wallet, a database that works.
TROUBLE = (LedgerError, AssertionError, KeyError, ValueError)

_MANY: BindParameter[Any] = bindparam("wallet_ids", expanding=True)


def _and_locked(query: Select[Any]) -> tuple[Select[Any], Select[Any]]:
    return query, query.with_for_update()


_w, _s, _t = schema.wallets, schema.sessions, schema.transactions
_BY_MEMBER = _and_locked(select(_w).where(_w.c.member_id == bindparam("member_id")))
_BY_TEAM = _and_locked(select(_w).where(_w.c.team_id == bindparam("team_id")))
# In one order for everybody, so that two replicas cannot wait for each other.
_BY_ID = _and_locked(select(_w).where(_w.c.wallet_id.in_(_MANY)).order_by(_w.c.wallet_id))
_SUBSCRIPTIONS = select(schema.subscriptions).where(
    or_(
        schema.subscriptions.c.member_id.in_(bindparam("member_ids", expanding=True)),
        schema.subscriptions.c.team_id.in_(bindparam("team_ids", expanding=True)),
    )
)
_GRANTS = select(schema.grants).where(
    schema.grants.c.wallet_id.in_(_MANY), schema.grants.c.spent.is_(False)
)
_SESSIONS = select(_s).where(_s.c.wallet_id.in_(_MANY), _s.c.settled.is_(False))
_PAST = select(
    _s.c.wallet_id, _s.c.member_id, _s.c.rate_mtok_h, _s.c.ready_ms, _s.c.ended_ms
).where(
    _s.c.wallet_id.in_(_MANY),
    _s.c.ended_ms > bindparam("since_ms"),
    _s.c.settled.is_(True),
    _s.c.ready_ms.is_not(None),
)
_r = schema.server_reports.c
_REPORTS = select(_r.session_id, _r.keep_until_ms, _r.active_ms, _r.reported_ms).where(
    _r.session_id.in_(bindparam("session_ids", expanding=True))
)
_AHEAD = (
    select(_t.c.wallet_id, _t.c.kind, _t.c.at_ms, _t.c.change_grains)
    .join(_w, _w.c.wallet_id == _t.c.wallet_id)
    .where(_t.c.wallet_id.in_(_MANY), _t.c.at_ms >= _w.c.period_end_ms)
)
_TEAMS = select(schema.teams).where(
    schema.teams.c.team_id.in_(bindparam("team_ids", expanding=True))
)
_CAPS = select(schema.team_members).where(
    schema.team_members.c.team_id.in_(bindparam("team_ids", expanding=True)),
    schema.team_members.c.cap_grains.is_not(None),
)
_OWNERS = select(schema.members.c.name, schema.members.c.member_id).where(
    schema.members.c.name.in_(bindparam("names", expanding=True)),
    schema.members.c.holds_name.is_(True),
)


def rows_of(result: CursorResult[Any]) -> list[Row]:
    """Return a result's rows as plain dictionaries."""
    keys = tuple(result.keys())
    return [dict(zip(keys, row, strict=True)) for row in result]


def load_wallet(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    *,
    lock: bool = True,
) -> OpenWallet:
    """Read a member's wallet with all that decides how it burns, under its lock if asked.

    Raises
    ------
    LedgerError
        If there is no such member (code ``unknown_member``).
    """
    found = _load(connection, catalogue, now_ms, _BY_MEMBER, {"member_id": member_id}, lock=lock)
    if not found:
        raise LedgerError("unknown_member", _("There is no such member."), "member_id")
    return found[0]


def load_team_wallet(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    team_id: str,
    *,
    lock: bool = True,
) -> OpenWallet:
    """Read a team's wallet, under its lock if asked.

    Raises
    ------
    LedgerError
        If there is no such team (code ``unknown_team``).
    """
    found = _load(connection, catalogue, now_ms, _BY_TEAM, {"team_id": team_id}, lock=lock)
    if not found:
        raise LedgerError("unknown_team", _("There is no such team."), "team")
    return found[0]


def load_wallets(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    wallet_ids: Collection[str],
    *,
    lock: bool = True,
    on_trouble: Callable[[str], None] | None = None,
) -> list[OpenWallet]:
    """Read wallets in the order of their ids, under their locks if asked.

    One that makes no sense is told to `on_trouble` (within its ``except``) and left out, if
    somebody wants to know; else it raises.
    """
    asked = {"wallet_ids": list(wallet_ids)}
    return _load(connection, catalogue, now_ms, _BY_ID, asked, lock=lock, on_trouble=on_trouble)


def _load(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    query: tuple[Select[Any], Select[Any]],
    asked: dict[str, Any],
    *,
    lock: bool,
    on_trouble: Callable[[str], None] | None = None,
) -> list[OpenWallet]:
    rows = rows_of(connection.execute(query[lock], asked))
    if not rows:
        return []
    wallet_ids = [row["wallet_id"] for row in rows]
    owners = {
        "member_ids": [row["member_id"] for row in rows if row["member_id"] is not None],
        "team_ids": [row["team_id"] for row in rows if row["team_id"] is not None],
    }
    subscriptions = {
        subscription["member_id"] or subscription["team_id"]: subscription
        for subscription in rows_of(connection.execute(_SUBSCRIPTIONS, owners))
    }
    grants = _by_wallet(connection.execute(_GRANTS, {"wallet_ids": wallet_ids}))
    sessions = _by_wallet(connection.execute(_SESSIONS, {"wallet_ids": wallet_ids}))
    teams = _Teams(connection, catalogue, owners["team_ids"])
    loaded = []
    for row in rows:
        subscription = subscriptions[row["member_id"] or row["team_id"]]
        try:
            loaded.append(_Loaded(row, subscription, catalogue, teams, now_ms))
        except TROUBLE:
            if on_trouble is None:
                raise
            on_trouble(row["wallet_id"])
    past = _past(connection, loaded, now_ms)
    ahead = _ahead(connection, loaded, now_ms)
    reports = _reports(connection, sessions)
    return [
        OpenWallet(
            connection,
            now_ms,
            item.row,
            item.subscription,
            grants[item.wallet_id],
            sessions[item.wallet_id],
            item.terms,
            past[item.wallet_id],
            ahead[item.wallet_id],
            item.own,
            reports[item.wallet_id],
        )
        for item in loaded
    ]


def _by_wallet(result: CursorResult[Any]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows_of(result):
        found[row["wallet_id"]].append(row)
    return found


class _Loaded:
    """A wallet's row and what catalogue and subscription say of it."""

    def __init__(
        self, row: Row, subscription: Row, catalogue: Catalogue, teams: _Teams, now_ms: int
    ) -> None:
        self.row = row
        self.subscription = subscription
        self.wallet_id: str = row["wallet_id"]
        plan = held_plan(subscription, catalogue, now_ms)
        team_id = row["team_id"]
        coming = coming_plan(subscription, catalogue)
        if team_id is not None:
            coming = teams.plan(team_id) or coming
        self.terms = Terms(
            plan,
            coming,
            due_renewals(row["period_n"], subscription, coming, now_ms),
            catalogue.policy.overrun == "deduct",
            subscription["zone"],
            (row["member_id"],) if team_id is None else teams.owners(team_id),
            None if team_id is None else teams.cap_grains(team_id),
            {} if team_id is None else teams.caps[team_id],
            subscription["cost_centre"] if team_id is None else teams.cost_centre(team_id),
            None if team_id is None else teams.name(team_id),
        )
        self.own = own_plan(subscription, catalogue)

    def counts_since_ms(self, now_ms: int) -> int | None:
        """Return since when past sessions count for a limit, None if there is no limit."""
        plan, terms = self.terms.plan, self.terms
        since_ms = []
        if plan.spend_per_day_mtok is not None or plan.spend_per_week_mtok is not None:
            since_ms.append(week_start_ms(now_ms, terms.zone))
        if terms.member_cap_grains is not None or terms.member_caps:
            since_ms.append(self.row["period_start_ms"])
        return min(since_ms, default=None)


class _Teams:
    """The teams that some of the wallets belong to."""

    def __init__(self, connection: Connection, catalogue: Catalogue, team_ids: list[str]) -> None:
        self._catalogue = catalogue
        self._names: dict[str, str] = {}
        self.caps: dict[str, dict[str, int]] = defaultdict(dict)
        self._members: dict[str, str] = {}
        if not team_ids:
            return
        asked = {"team_ids": team_ids}
        for row in connection.execute(_TEAMS, asked):
            self._names[row.team_id] = row.name
        for row in connection.execute(_CAPS, asked):
            self.caps[row.team_id][row.member_id] = row.cap_grains
        names = [name for team in self._known(team_ids) for name in team.owners]
        for row in connection.execute(_OWNERS, {"names": names}) if names else ():
            self._members[row.name] = row.member_id

    def _known(self, team_ids: Iterable[str]) -> list[Team]:
        teams = self._catalogue.teams
        return [teams[self._names[key]] for key in team_ids if self._names[key] in teams]

    def name(self, team_id: str) -> str:
        """Return the name of a team, which is the catalogue's key for it."""
        return self._names[team_id]

    def owners(self, team_id: str) -> tuple[str, ...]:
        """Return the members who are told what concerns the team's wallet."""
        names = [name for team in self._known([team_id]) for name in team.owners]
        return tuple(self._members[name] for name in names if name in self._members)

    def plan(self, team_id: str) -> Plan | None:
        """Return the plan that the catalogue gives a team, from the next period on."""
        for team in self._known([team_id]):
            return self._catalogue.plans[team.plan]
        return None

    def cost_centre(self, team_id: str) -> str | None:
        """Return who bears a team's wallet by the catalogue, None: whoever bears its plan."""
        for team in self._known([team_id]):
            return team.cost_centre
        return None

    def cap_grains(self, team_id: str) -> int | None:
        """Return what each member may spend in a period, in grains."""
        for team in self._known([team_id]):
            if team.member_cap_mtok is not None:
                return int(team.member_cap_mtok) * GRAINS_PER_MILLITOKEN
        return None


def _reports(connection: Connection, sessions: dict[str, list[Row]]) -> dict[str, dict[str, Row]]:
    """Return, by wallet and session, what servers say of themselves whose idleness matters."""
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    wallet_of = {
        session["session_id"]: wallet_id
        for wallet_id, rows in sessions.items()
        for session in rows
        if session["idle_stop_ms"] is not None and session["ended_ms"] is None
    }
    if wallet_of:
        for row in rows_of(connection.execute(_REPORTS, {"session_ids": list(wallet_of)})):
            found[wallet_of[row["session_id"]]][row["session_id"]] = row
    return found


def _past(connection: Connection, loaded: Iterable[_Loaded], now_ms: int) -> dict[str, list[Row]]:
    since_ms = {item.wallet_id: item.counts_since_ms(now_ms) for item in loaded}
    limited = {key: value for key, value in since_ms.items() if value is not None}
    if not limited:
        return defaultdict(list)
    asked = {"wallet_ids": list(limited), "since_ms": min(limited.values())}
    return _by_wallet(connection.execute(_PAST, asked))


def _ahead(connection: Connection, loaded: Iterable[_Loaded], now_ms: int) -> dict[str, list[Row]]:
    renewing = [item.wallet_id for item in loaded if item.row["period_end_ms"] <= now_ms]
    if not renewing:
        return defaultdict(list)
    return _by_wallet(connection.execute(_AHEAD, {"wallet_ids": renewing}))
