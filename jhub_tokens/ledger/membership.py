"""Members, their subscriptions and wallets: who holds which plan and when periods begin."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.engine import RowMapping

from jhub_tokens import burndown
from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.deadlines import (
    close_stop_orders,
    notify,
    order_stops,
    reschedule,
)
from jhub_tokens.ledger.records import LedgerError, MemberRecord
from jhub_tokens.ledger.wallet import OpenWallet, new_id
from jhub_tokens.periods import period, period_at
from jhub_tokens.units import GRAINS_PER_MILLITOKEN
from jhub_tokens.wire import Identity

__all__ = [
    "close_wallet",
    "current_plan",
    "ensure_member",
    "find_member",
    "load_wallet",
    "member_record",
    "set_frozen",
]

#: A wallet idle for longer than this renews period by period in several passes.
RENEWALS_AT_ONCE_MAX = 120

_MEMBER_COLUMNS = (
    schema.members,
    schema.subscriptions.c.plan,
    schema.subscriptions.c.next_plan,
    schema.wallets.c.wallet_id,
)
_MEMBERS = schema.members.join(schema.subscriptions).join(
    schema.wallets, schema.wallets.c.member_id == schema.members.c.member_id
)


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


def known_member(
    connection: Connection, catalogue: Catalogue, identity: Identity
) -> MemberRecord | None:
    """Return the member if nothing about the identity is news to the books."""
    row = find_member(connection, *_by_identity(identity))
    if row is None or row["name"] != identity.name or not row["holds_name"]:
        return None
    plan = catalogue.plan_for(identity.name, identity.groups).name
    if (row["next_plan"] or row["plan"]) != plan:
        return None
    return member_record(row)


def ensure_member(
    connection: Connection, catalogue: Catalogue, now_ms: int, identity: Identity
) -> MemberRecord:
    """Make sure that member, subscription, wallet and this period's grant exist; idempotent.

    A new name is followed (the wallet stays); a plan that the catalogue's rules have changed
    holds from the next period on.
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
    plan = catalogue.plan_for(identity.name, identity.groups)
    if (row["next_plan"] or row["plan"]) != plan.name:
        _change_plan(connection, catalogue, now_ms, row, plan.name)
    row = find_member(connection, *_by_identity(identity))
    assert row is not None
    return member_record(row)


def _change_plan(
    connection: Connection, catalogue: Catalogue, now_ms: int, member: RowMapping, plan: str
) -> None:
    """Have `plan` hold from the next period on, once what is due is booked under the old one."""
    member_id = member["member_id"]
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    wallet.advance()
    close_wallet(wallet, catalogue)
    if wallet.row["period_end_ms"] <= now_ms:
        return  # a renewal waits for proof of life, and is the old plan's: ask again later
    connection.execute(
        update(schema.subscriptions)
        .where(schema.subscriptions.c.member_id == member_id)
        .values(next_plan=None if plan == member["plan"] else plan)
    )
    # When the wallet runs dry may depend on the next period's tokens.
    close_wallet(load_wallet(connection, catalogue, now_ms, member_id), catalogue)


def _wait_turn(connection: Connection, identity: Identity) -> None:
    """Let one caller at a time create a member: there is no row yet that could be locked."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        who = f"jhub-tokens member {identity.hub_user_id} {identity.created}"
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(who, 0))))


def _pass_name_on(connection: Connection, name: str) -> None:
    members = schema.members
    connection.execute(update(members).where(members.c.name == name).values(holds_name=False))


def _create(connection: Connection, catalogue: Catalogue, now_ms: int, identity: Identity) -> None:
    plan = catalogue.plan_for(identity.name, identity.groups)
    anchor_ms = _day_start_ms(now_ms, catalogue.zone)
    _, start_ms, _ = period_at(anchor_ms, now_ms, catalogue.zone, plan.period)
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
    subscription = {
        "subscription_id": new_id(),
        "member_id": member_id,
        "plan": plan.name,
        "terms": plan.model_dump(mode="json"),
        "anchor_ms": anchor_ms,
        "zone": catalogue.zone,
    }
    connection.execute(insert(schema.subscriptions), subscription)
    wallet = {
        "wallet_id": new_id(),
        "kind": "member",
        "member_id": member_id,
        # Just before the first period, so that its renewal grants the first allotment.
        "settled_to_ms": start_ms - 1,
        "period_n": -1,
        "period_start_ms": start_ms,
        "period_end_ms": start_ms,
        "next_deadline_ms": start_ms,
    }
    connection.execute(insert(schema.wallets), wallet)
    opened = load_wallet(connection, catalogue, now_ms, member_id)
    opened.advance()
    close_wallet(opened, catalogue)


def _day_start_ms(at_ms: int, zone: str) -> int:
    """Return the beginning of the local day: the first instant that bears its date.

    Counting back from noon finds it also where midnight does not exist or happens twice.
    """
    tz = ZoneInfo(zone)
    day = datetime.fromtimestamp(at_ms / 1000, tz).date()
    start_ms, end_ms = at_ms - 36 * 3_600_000, at_ms
    while end_ms - start_ms > 1:
        middle_ms = (start_ms + end_ms) // 2
        if datetime.fromtimestamp(middle_ms / 1000, UTC).astimezone(tz).date() < day:
            start_ms = middle_ms
        else:
            end_ms = middle_ms
    return end_ms


# --- wallets ---------------------------------------------------------------------------------


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
    query = select(schema.wallets).where(schema.wallets.c.member_id == member_id)
    if lock:
        query = query.with_for_update()
    row = connection.execute(query).mappings().first()
    if row is None:
        raise LedgerError("unknown_member", "There is no such member.", "member_id")
    wallet_id = row["wallet_id"]
    subscription = (
        connection.execute(
            select(schema.subscriptions).where(schema.subscriptions.c.member_id == member_id)
        )
        .mappings()
        .one()
    )
    grants = select(schema.grants).where(
        schema.grants.c.wallet_id == wallet_id, schema.grants.c.spent.is_(False)
    )
    sessions = select(schema.sessions).where(
        schema.sessions.c.wallet_id == wallet_id, schema.sessions.c.settled.is_(False)
    )
    return OpenWallet(
        connection,
        now_ms,
        row,
        connection.execute(grants).mappings().all(),
        connection.execute(sessions).mappings().all(),
        _renewals(row, subscription, catalogue, now_ms),
        deducts_overrun=catalogue.policy.overrun == "deduct",
    )


def close_wallet(wallet: OpenWallet, catalogue: Catalogue) -> tuple[int, int]:
    """Reschedule and save; return how many notices and stop orders that gave."""
    done = reschedule(wallet, catalogue.policy, enforce=catalogue.enforce)
    if wallet.renewed:
        subscriptions = schema.subscriptions
        owned = subscriptions.c.member_id == wallet.row["member_id"]
        row = wallet.connection.execute(select(subscriptions).where(owned)).mappings().one()
        plan = _plan(row, catalogue)
        terms = {**plan.model_dump(mode="json"), "period": row["terms"]["period"]}
        wallet.connection.execute(
            update(subscriptions).where(owned).values(plan=plan.name, next_plan=None, terms=terms)
        )
    wallet.save()
    return done.notices, done.stops


def current_plan(connection: Connection, catalogue: Catalogue, member_id: str) -> Plan:
    """Return the plan that a member holds now; one that left the catalogue keeps its terms."""
    subscriptions = schema.subscriptions
    owned = select(subscriptions).where(subscriptions.c.member_id == member_id)
    row = connection.execute(owned).mappings().one()
    return catalogue.plans.get(row["plan"]) or Plan.model_validate(row["terms"])


def _plan(subscription: RowMapping, catalogue: Catalogue) -> Plan:
    """Return the plan from the next period on; one that left the catalogue keeps its terms."""
    for name in (subscription["next_plan"], subscription["plan"]):
        if name in catalogue.plans:
            return catalogue.plans[name]
    return Plan.model_validate(subscription["terms"])


def _renewals(
    wallet: RowMapping, subscription: RowMapping, catalogue: Catalogue, now_ms: int
) -> tuple[burndown.Renewal, ...]:
    """Return the renewals that are due and the one after them, which bounds what is foreseen."""
    plan = _plan(subscription, catalogue)
    # Whether months are anchored or calendar ones is fixed when the subscription begins:
    # otherwise a period's number would name two spans of time.
    kind = subscription["terms"]["period"]
    renewals: list[burndown.Renewal] = []
    n = wallet["period_n"]
    while len(renewals) < RENEWALS_AT_ONCE_MAX and (not renewals or renewals[-1].at_ms <= now_ms):
        n += 1
        start_ms, end_ms = period(subscription["anchor_ms"], n, subscription["zone"], kind)
        prefix = f"{subscription['subscription_id'][:32]}-{n}"
        renewals.append(
            burndown.Renewal(
                start_ms,
                end_ms,
                plan.allotment_mtok * GRAINS_PER_MILLITOKEN,
                (plan.rollover_cap_mtok or 0) * GRAINS_PER_MILLITOKEN,
                allotment_id=f"{prefix}-plan",
                rollover_id=f"{prefix}-rollover",
                age=2 * n,
            )
        )
    return tuple(renewals)


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
    """Freeze a member (running servers are ordered to stop, nothing starts) or undo it."""
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    row = find_member(connection, schema.members.c.member_id == member_id)
    assert row is not None
    state = "frozen" if frozen else "active"
    if row["state"] != state:
        connection.execute(
            update(schema.members)
            .where(schema.members.c.member_id == member_id)
            .values(state=state)
        )
        wallet.advance()
        notify(wallet, "frozen" if frozen else "unfrozen", {"reason": reason, "actor": actor})
        if frozen and catalogue.enforce:
            order_stops(wallet, wallet.open_sessions(), "frozen")
        if not frozen:
            close_stop_orders(wallet, wallet.open_sessions(), "revoked", only_reason="frozen")
        close_wallet(wallet, catalogue)
        row = find_member(connection, schema.members.c.member_id == member_id)
        assert row is not None
    return member_record(row)
