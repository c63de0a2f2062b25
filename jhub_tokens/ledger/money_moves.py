"""Money that moved, for reports of revenue: each move once, dated, with plan and cost centre.

What providers tell are totals that only grow ("refunded so far"); here they become moves with an
instant of their own, so that a month's revenue stays what it was.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.rows import Row

__all__ = ["book_fee", "book_moves_back", "book_top_up"]

_m = schema.money_moves
Kind = Literal["topup", "fee", "refund", "dispute", "dispute_won"]


def book_top_up(connection: Connection, now_ms: int, invoice: Row) -> None:
    """Book an invoice that was paid."""
    _book(
        connection,
        now_ms,
        "topup",
        invoice,
        invoice["invoice_id"],
        invoice["price_minor"],
        invoice["paid_ms"],
        *_booked_to(connection, invoice["transaction_id"]),
    )


def book_moves_back(connection: Connection, now_ms: int, invoice: Row, at_ms: int) -> None:
    """Book what of an invoice's payment was refunded and disputed since this was last asked."""
    r, d = schema.payment_refunds, schema.payment_disputes
    key = (invoice["provider"], invoice["payment_ref"])
    borne_by = _booked_to(connection, invoice["transaction_id"])
    total = connection.execute(
        select(r.c.refunded_minor).where(r.c.provider == key[0], r.c.payment_ref == key[1])
    ).scalar()
    booked = connection.execute(
        select(func.sum(_m.c.amount_minor)).where(
            _m.c.invoice_id == invoice["invoice_id"], _m.c.kind == "refund"
        )
    ).scalar()
    more = int(total or 0) + int(booked or 0)
    if more > 0:
        _book(connection, now_ms, "refund", invoice, f"{key[1]} {total}", -more, at_ms, *borne_by)
    disputes = select(d).where(d.c.provider == key[0], d.c.payment_ref == key[1])
    for row in connection.execute(disputes).mappings().all():
        what, amount = row["dispute_id"], row["amount_minor"]
        if not row["won"]:
            _book(connection, now_ms, "dispute", invoice, what, -amount, at_ms, *borne_by)
        elif _is_booked(connection, _move_id("dispute", invoice, what)):
            _book(connection, now_ms, "dispute_won", invoice, what, amount, at_ms, *borne_by)


def book_fee(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    account: Row,
    bill_ref: str,
    paid_ms: int,
) -> None:
    """Book a plan's fee at the price that the catalogue has when it is told; none: no money."""
    plan = catalogue.plans.get(account["plan"])
    if plan is None or plan.price is None or not plan.price.amount_minor:
        return
    subscriptions = schema.subscriptions
    mine = subscriptions.c.member_id == account["member_id"]
    centre = connection.execute(select(subscriptions.c.cost_centre).where(mine)).scalar()
    bill = {**account, "invoice_id": None, "currency": plan.price.currency}
    _book(
        connection,
        now_ms,
        "fee",
        bill,
        bill_ref,
        plan.price.amount_minor,
        paid_ms,
        plan.name,
        centre or plan.cost_centre or "",
    )


def _booked_to(connection: Connection, transaction_id: str) -> tuple[str, str]:
    """Return plan and cost centre of the transaction that a payment made."""
    t = schema.transactions
    query = select(t.c.plan, t.c.cost_centre).where(t.c.transaction_id == transaction_id)
    row = connection.execute(query).one()
    return row.plan or "", row.cost_centre or ""


def _move_id(kind: Kind, of: Row, what: str) -> str:
    return hashlib.sha256(f"{kind} {of['provider']} {what}".encode()).hexdigest()


def _is_booked(connection: Connection, move_id: str) -> bool:
    return connection.execute(select(_m.c.kind).where(_m.c.move_id == move_id)).first() is not None


def _book(
    connection: Connection,
    now_ms: int,
    kind: Kind,
    of: Any,
    what: str,
    amount_minor: int,
    at_ms: int,
    plan: str,
    cost_centre: str,
) -> None:
    move_id = _move_id(kind, of, what)
    if _is_booked(connection, move_id):
        return
    row = {
        "move_id": move_id,
        "kind": kind,
        "provider": of["provider"],
        "member_id": of["member_id"],
        "invoice_id": of["invoice_id"],
        "plan": plan,
        "cost_centre": cost_centre,
        "amount_minor": amount_minor,
        "currency": of["currency"],
        "at_ms": at_ms,
        "booked_ms": now_ms,
    }
    connection.execute(insert(_m), row)
