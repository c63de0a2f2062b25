"""Fees of plans: who pays through which subscription of a provider, past due, and frozen for it.

An account's state is derived from all of its bills, so that a failure told after the payment
that mended it changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, insert, select, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import N_
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.deadlines import notify
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.membership import set_frozen
from jhub_tokens.ledger.money_moves import book_fee
from jhub_tokens.ledger.payment_records import FeeAccount, FeeTold, PaymentEvent
from jhub_tokens.ledger.plans import cancel_plan, change_plan
from jhub_tokens.ledger.records import LedgerError

__all__ = ["fee_accounts", "freeze_next", "has_overdue", "take_fee"]

log = logging.getLogger(__name__)

_a, _b = schema.payment_accounts, schema.payment_bills


def take_fee(
    connection: Connection, catalogue: Catalogue, now_ms: int, event: PaymentEvent, fact: FeeTold
) -> None:
    """Remember what is told about a fee, and do what follows from all that is known."""
    at_ms = event.occurred_ms
    _remember_account(connection, event.provider, fact)
    if fact.state == "ended":
        _earliest(connection, _a, _account(event.provider, fact), "ended_ms", at_ms)
    elif fact.bill_ref:
        _remember_bill(connection, event.provider, fact, at_ms)
    found = select(_a).where(*_account(event.provider, fact))
    row = connection.execute(found).mappings().one()
    if row["member_id"] is not None:  # otherwise another fact will tell whose it is
        _settle(connection, catalogue, now_ms, dict(row))


def has_overdue(connection: Connection, catalogue: Catalogue, now_ms: int) -> bool:
    """Tell whether anybody is past due for longer than the catalogue allows."""
    return connection.execute(_overdue(catalogue, now_ms).limit(1)).first() is not None


def freeze_next(connection: Connection, catalogue: Catalogue, now_ms: int) -> bool | None:
    """Freeze one of those members; tell whether it was active, None if there was nobody left.

    One for each transaction: the wallets of several could not be locked in one order.
    """
    row = connection.execute(_overdue(catalogue, now_ms).limit(1)).mappings().first()
    if row is None:
        return None
    member = schema.members.c.member_id == row["member_id"]
    state = connection.execute(select(schema.members.c.state).where(member)).scalar_one()
    # Where an administrator has frozen before, payment will not end it.
    _note(connection, row, frozen_ms=now_ms, thaws=state == "active")
    if state == "active":
        _freeze(connection, catalogue, now_ms, row, frozen=True, reason=N_("the fee was not paid"))
    return bool(state == "active")


def fee_accounts(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> tuple[FeeAccount, ...]:
    """Return what a member pays fees through."""
    query = select(_a).where(_a.c.member_id == member_id).order_by(_a.c.subscription_ref)
    return tuple(
        FeeAccount(
            row["provider"],
            row["subscription_ref"],
            row["member_id"],
            row["plan"],
            "past_due" if row["past_due_ms"] is not None
            else "ended" if row["ended_ms"] is not None
            else "active" if row["started_ms"] is not None
            else "waiting",
            row["past_due_ms"],
            row["frozen_ms"],
        )
        for row in connection.execute(query).mappings()
    )  # fmt: skip


def _overdue(catalogue: Catalogue, now_ms: int) -> Any:
    until_ms = now_ms - catalogue.policy.past_due_grace_ms
    return select(_a).where(_a.c.past_due_ms <= until_ms, _a.c.frozen_ms.is_(None))


# --- what is told ------------------------------------------------------------------------------


def _account(provider: str, fact: FeeTold) -> tuple[Any, Any]:
    return (_a.c.provider == provider, _a.c.subscription_ref == fact.subscription_ref)


def _remember_account(connection: Connection, provider: str, fact: FeeTold) -> None:
    mine = _account(provider, fact)
    if connection.execute(select(_a.c.plan).where(*mine)).first() is None:
        row = {"provider": provider, "subscription_ref": fact.subscription_ref}
        connection.execute(insert(_a), row)
    if fact.member_id is None or fact.plan is None:
        return
    member = schema.members.c.member_id == fact.member_id
    if connection.execute(select(schema.members.c.member_id).where(member)).first() is None:
        log.warning("a subscription names a member that the books do not know")
        return
    whose = update(_a).where(*mine, _a.c.member_id.is_(None))
    connection.execute(whose.values(member_id=fact.member_id, plan=fact.plan))


def _remember_bill(connection: Connection, provider: str, fact: FeeTold, at_ms: int) -> None:
    mine = (_b.c.provider == provider, _b.c.bill_ref == fact.bill_ref)
    if connection.execute(select(_b.c.bill_ref).where(*mine)).first() is None:
        row = {"bill_ref": fact.bill_ref, "subscription_ref": fact.subscription_ref}
        connection.execute(insert(_b), {"provider": provider, **row})
    column = "paid_ms" if fact.state == "paid" else "failed_ms"
    _earliest(connection, _b, mine, column, at_ms)


def _earliest(connection: Connection, table: Any, mine: Any, column: str, at_ms: int) -> None:
    later = table.c[column].is_(None) | (table.c[column] > at_ms)
    connection.execute(update(table).where(*mine, later).values({column: at_ms}))


# --- what follows ------------------------------------------------------------------------------


def _settle(connection: Connection, catalogue: Catalogue, now_ms: int, row: Any) -> None:
    bills = connection.execute(
        select(_b.c.bill_ref, _b.c.failed_ms, _b.c.paid_ms).where(
            _b.c.provider == row["provider"], _b.c.subscription_ref == row["subscription_ref"]
        )
    ).all()
    paid = [bill.paid_ms for bill in bills if bill.paid_ms is not None]
    missing = [bill.failed_ms for bill in bills if bill.failed_ms and bill.paid_ms is None]
    past_due_ms = min(missing, default=None)
    for bill in bills:
        if bill.paid_ms is not None:
            book_fee(connection, catalogue, now_ms, row, bill.bill_ref, bill.paid_ms)
    # First of all, since it locks the wallets of teams as well, in the order of everybody.
    if past_due_ms is None and row["frozen_ms"] is not None:
        if row["thaws"]:
            _freeze(connection, catalogue, now_ms, row, frozen=False, reason=N_("the fee is paid"))
        _note(connection, row, frozen_ms=None, thaws=False)
    if past_due_ms is not None and row["past_due_ms"] is None:
        _say_past_due(connection, catalogue, now_ms, row, past_due_ms)
    if paid and row["started_ms"] is None:
        _plan(change_plan, connection, catalogue, now_ms, row, plan=row["plan"], when=None)
    _note(connection, row, started_ms=min(paid, default=None), past_due_ms=past_due_ms)
    if paid and row["ended_ms"] is not None and row["cancelled_ms"] is None:
        _plan(cancel_plan, connection, catalogue, now_ms, row)
        _note(connection, row, cancelled_ms=now_ms)


def _say_past_due(
    connection: Connection, catalogue: Catalogue, now_ms: int, row: Any, past_due_ms: int
) -> None:
    wallet = load_wallet(connection, catalogue, now_ms, row["member_id"])
    wallet.advance()
    freezes_at_ms = past_due_ms + catalogue.policy.past_due_grace_ms
    notify(wallet, "past_due", {"plan": row["plan"], "freezes_at_ms": freezes_at_ms})
    close_wallet(wallet, catalogue)


def _plan(
    change: Callable[..., Any],
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    row: Any,
    **options: Any,
) -> None:
    who = {"actor": row["provider"], "reason": "the plan's fee"}
    try:
        change(connection, catalogue, now_ms, row["member_id"], **options, **who)
    except LedgerError as error:
        if error.code == "wait":
            raise  # the provider tells again later
        # The plan is held already, or the catalogue has lost it: the payment stands all the same.
        log.warning("the plan of a fee is not changed: %s", error.message)


def _freeze(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    row: Any,
    *,
    frozen: bool,
    reason: str,
) -> None:
    set_frozen(
        connection,
        catalogue,
        now_ms,
        row["member_id"],
        frozen=frozen,
        actor=row["provider"],
        reason=reason,
    )


def _note(connection: Connection, row: Any, **values: Any) -> None:
    mine = (
        _a.c.provider == row["provider"],
        _a.c.subscription_ref == row["subscription_ref"],
    )
    connection.execute(update(_a).where(*mine).values(values))
