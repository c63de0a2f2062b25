"""Members, their subscriptions and wallets: who holds which plan and when periods begin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.engine import RowMapping

from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.facts import Facts
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.accounts import open_account
from jhub_tokens.ledger.acts import note_act
from jhub_tokens.ledger.closing import finish_wallet
from jhub_tokens.ledger.deadlines import notify, set_end
from jhub_tokens.ledger.facts import (
    PROVIDER,
    are_news,
    facts_in,
    facts_now,
    keep_facts,
    note_frozen_by,
)
from jhub_tokens.ledger.loading import load_wallet, load_wallets
from jhub_tokens.ledger.oversight_records import ActKind
from jhub_tokens.ledger.plans import change_by_rule
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.saving import save_wallets
from jhub_tokens.ledger.subscriptions import held_plan
from jhub_tokens.ledger.teams import Ties, follow_groups, ties_of
from jhub_tokens.wire import Identity

__all__ = [
    "current_plan",
    "ensure_member",
    "find_member",
    "follow_account",
    "known_members",
    "member_record",
    "select_members",
    "set_frozen",
]

_MEMBER_COLUMNS = (
    schema.members,
    schema.subscriptions.c.plan,
    schema.subscriptions.c.next_plan,
    schema.subscriptions.c.pinned,
    schema.subscriptions.c.cost_centre,
    schema.wallets.c.wallet_id,
    schema.member_facts.c.facts,
    schema.member_facts.c.froze,
)
_MEMBERS = (
    schema.members.join(
        schema.subscriptions, schema.subscriptions.c.member_id == schema.members.c.member_id
    )
    .join(schema.wallets, schema.wallets.c.member_id == schema.members.c.member_id)
    .outerjoin(schema.member_facts, schema.member_facts.c.member_id == schema.members.c.member_id)
)
#: Parameters of one statement; both databases allow many more.
_AT_ONCE = 500


def member_record(row: RowMapping) -> MemberRecord:
    """Return the record of a row that `find_member` selects."""
    return MemberRecord(
        row["member_id"],
        row["hub_user_id"],
        row["hub_created"],
        row["name"],
        row["state"],
        row["plan"],
        row["wallet_id"],
    )


def find_member(connection: Connection, *conditions: Any) -> RowMapping | None:
    """Return the member that meets all `conditions`, None if there is none."""
    query = select(*_MEMBER_COLUMNS).select_from(_MEMBERS).where(*conditions)
    return connection.execute(query.limit(1)).mappings().first()


def select_members() -> Any:
    """Return the query of all members, for lists."""
    return select(*_MEMBER_COLUMNS).select_from(_MEMBERS)


def _by_identity(identity: Identity) -> tuple[Any, Any]:
    members = schema.members.c
    return (
        members.hub_user_id == identity.hub_user_id,
        members.hub_created == identity.created,
    )


def known_members(
    connection: Connection, catalogue: Catalogue, identities: Iterable[Identity]
) -> dict[tuple[int, str], MemberRecord]:
    """Return, by hub user id and creation, those members about whom nothing is news."""
    asked: dict[tuple[int, str], Identity] = {}
    for identity in identities:
        key = (identity.hub_user_id, identity.created)
        # Somebody named twice is the one with facts: a running server knows none.
        if asked.setdefault(key, identity).facts is None and identity.facts is not None:
            asked[key] = identity
    user_ids = sorted({user_id for user_id, _ in asked})
    rows: list[RowMapping] = []
    for first in range(0, len(user_ids), _AT_ONCE):
        some = schema.members.c.hub_user_id.in_(user_ids[first : first + _AT_ONCE])
        rows += connection.execute(select_members().where(some)).mappings().all()
    found = {(row["hub_user_id"], row["hub_created"]): row for row in rows}
    ties = ties_of(connection, catalogue, [row["member_id"] for row in rows])
    return {
        key: member_record(row)
        for key, identity in asked.items()
        if (row := found.get(key)) is not None
        and not _is_news(catalogue, row, identity, ties.get(row["member_id"], Ties()))
    }


def _is_news(catalogue: Catalogue, row: RowMapping, identity: Identity, ties: Ties) -> bool:
    return (
        row["name"] != identity.name
        or not row["holds_name"]
        or are_news(row, identity.facts)
        or _plan_by_rule(catalogue, row, identity) is not None
        or row["cost_centre"] != catalogue.cost_centre_of(identity.name, identity.groups)
        or ties.joined != ties.wanted(catalogue, identity.groups)
    )


def _plan_by_rule(catalogue: Catalogue, row: RowMapping, identity: Identity) -> str | None:
    """Return the plan that the catalogue's rules want instead of the present one, if any."""
    facts = facts_now(row, identity.facts)
    wanted = catalogue.plan_for(identity.name, identity.groups, facts).name
    coming = row["next_plan"] or row["plan"]
    return None if row["pinned"] or coming == wanted else wanted


def ensure_member(
    connection: Connection, catalogue: Catalogue, now_ms: int, identity: Identity
) -> MemberRecord:
    """Make sure that member, subscription, wallet and this period's grant exist; idempotent.

    A new name is followed (the wallet stays); a plan that the catalogue's rules have changed
    holds from the next period on; teams are those of the hub groups. What the sign-in provider
    says is kept, and the membership suspended while the account is gone there.
    """
    row = find_member(connection, *_by_identity(identity))
    if row is None:
        _wait_turn(connection, identity)
        row = find_member(connection, *_by_identity(identity))
    if row is None:
        _create(connection, catalogue, now_ms, identity)
        row = find_member(connection, *_by_identity(identity))
        assert row is not None
    member_id = row["member_id"]
    if row["name"] != identity.name or not row["holds_name"]:
        _pass_name_on(connection, identity.name)
        members = schema.members
        connection.execute(
            update(members)
            .where(members.c.member_id == member_id)
            .values(name=identity.name, holds_name=True)
        )
    _follow_cost_centre(connection, catalogue, row, identity)
    facts = facts_now(row, identity.facts)
    if facts is not None and facts != facts_in(row):
        keep_facts(connection, now_ms, row, facts)
    follow_account(connection, catalogue, now_ms, row, facts)
    wanted = _plan_by_rule(catalogue, row, identity)
    if wanted is not None:
        change_by_rule(connection, catalogue, now_ms, member_id, wanted)
    follow_groups(connection, catalogue, now_ms, member_id, identity.groups)
    row = find_member(connection, *_by_identity(identity))
    assert row is not None
    return member_record(row)


def _follow_cost_centre(
    connection: Connection, catalogue: Catalogue, row: RowMapping, identity: Identity
) -> None:
    """Note who bears what is booked from now on; what was booked stays where it is."""
    centre = catalogue.cost_centre_of(identity.name, identity.groups)
    if row["cost_centre"] != centre:
        owned = update(schema.subscriptions).where(
            schema.subscriptions.c.member_id == row["member_id"]
        )
        connection.execute(owned.values(cost_centre=centre))


def follow_account(
    connection: Connection, catalogue: Catalogue, now_ms: int, row: RowMapping, facts: Facts | None
) -> None:
    """Suspend a member whose account is gone, and end that once it is back."""
    if facts is None:
        return
    suspend = bool(facts.gone) and row["state"] == "active"
    if not suspend and (facts.gone or not row["froze"]):
        return
    member_id, reason = row["member_id"], facts.gone or "the account is back"
    set_frozen(
        connection, catalogue, now_ms, member_id, frozen=suspend, actor=PROVIDER, reason=reason
    )
    note_frozen_by(connection, member_id, provider=suspend)


def _wait_turn(connection: Connection, identity: Identity) -> None:
    """Let one caller at a time create a member: there is no row yet that could be locked."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        who = f"jhub-tokens member {identity.hub_user_id} {identity.created}"
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(who, 0))))


def _pass_name_on(connection: Connection, name: str) -> None:
    members = schema.members
    connection.execute(update(members).where(members.c.name == name).values(holds_name=False))


def _create(connection: Connection, catalogue: Catalogue, now_ms: int, identity: Identity) -> None:
    member_id = new_id()
    _pass_name_on(connection, identity.name)
    member = {
        "member_id": member_id,
        "hub_user_id": identity.hub_user_id,
        "hub_created": identity.created,
        "name": identity.name,
        "holds_name": True,
        "state": "active",
        "created_ms": now_ms,
    }
    connection.execute(insert(schema.members), member)
    plan = catalogue.plan_for(identity.name, identity.groups, identity.facts)
    centre = catalogue.cost_centre_of(identity.name, identity.groups)
    open_account(connection, catalogue, now_ms, plan, member_id=member_id, cost_centre=centre)


def current_plan(connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str) -> Plan:
    """Return the plan that a member holds now; one that left the catalogue keeps its terms."""
    subscriptions = schema.subscriptions
    owned = select(subscriptions).where(subscriptions.c.member_id == member_id)
    row = connection.execute(owned).mappings().one()
    return held_plan(dict(row), catalogue, now_ms)


def set_frozen(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    *,
    frozen: bool,
    actor: str,
    reason: str,
) -> MemberRecord:
    """Freeze a member (running servers are ordered to stop, nothing starts) or undo it.

    The member's servers stop whoever pays for them.
    """
    members, sessions = schema.members, schema.sessions
    own = load_wallet(connection, catalogue, now_ms, member_id, lock=False)
    paying = select(sessions.c.wallet_id).where(
        sessions.c.member_id == member_id,
        sessions.c.settled.is_(False),
        sessions.c.ended_ms.is_(None),
    )
    wallet_ids = {own.wallet_id, *connection.execute(paying).scalars()}
    wallets = load_wallets(connection, catalogue, now_ms, wallet_ids)
    state = "frozen" if frozen else "active"
    changed = connection.execute(
        update(members)
        .where(members.c.member_id == member_id, members.c.state != state)
        .values(state=state)
    )
    if frozen:
        note_frozen_by(connection, member_id, provider=False)
    if changed.rowcount:
        kind: ActKind = "frozen" if frozen else "unfrozen"
        note_act(connection, now_ms, kind, actor, member_id=member_id, reason=reason)
        for wallet in wallets:
            wallet.advance()
            if wallet.wallet_id == own.wallet_id:
                params = {"reason": reason, "actor": actor}
                notify(wallet, "frozen" if frozen else "unfrozen", params)
            for session in wallet.open_sessions():
                if session["member_id"] != member_id:
                    continue
                if frozen:
                    set_end(session, now_ms + session["stop_time_ms"], "frozen")
                elif session["stop_by_reason"] == "frozen":
                    set_end(session, None, None)
            finish_wallet(wallet, catalogue)
        save_wallets(connection, wallets)
    row = find_member(connection, members.c.member_id == member_id)
    assert row is not None
    return member_record(row)
