"""Payments for tokens: invoices, what providers tell of them, and tokens taken back.

Every delivery is first kept as facts that only grow, then the invoice is settled from all the
facts there are: what was paid is credited once, what was refunded or disputed is taken back as
far as it is there, and the rest is noted.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, case, func, insert, select, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import N_, _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.allowances import spend_allowance
from jhub_tokens.ledger.chain import Entry
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.credits import check_room
from jhub_tokens.ledger.deadlines import notify
from jhub_tokens.ledger.fees import fee_accounts, freeze_next, has_overdue, take_fee
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.money_moves import book_moves_back, book_top_up
from jhub_tokens.ledger.payment_records import (
    Disputed,
    FeeAccount,
    FeeTold,
    Invoice,
    Paid,
    PaymentEvent,
    PaymentFact,
    Refunded,
)
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.repeats import Repeat
from jhub_tokens.ledger.rows import Row, new_id
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.units import GRAINS_MAX, GRAINS_PER_MILLITOKEN

__all__ = ["PaymentBooks"]

_i, _r, _d, _e = (
    schema.invoices,
    schema.payment_refunds,
    schema.payment_disputes,
    schema.payment_events,
)


class PaymentBooks:
    """The operations on payments, each one transaction."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def order(
        self,
        member_id: str,
        *,
        provider: str,
        amount_grains: int,
        price_minor: int,
        currency: str,
        actor: str,
        key: str | None = None,
    ) -> Invoice:
        """Write an invoice, which nobody has paid yet; with a key, once for each key.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``bad_amount``, ``bad_price``, ``too_much`` or
            ``idempotency_conflict``.
        """
        return self._runner.write(
            _order, member_id, provider, amount_grains, price_minor, currency, actor, key
        )

    def offer_checkout(self, invoice_id: str, url: str) -> Invoice:
        """Note where an invoice can be paid."""
        return self._runner.write(_offer_checkout, invoice_id, url)

    def invoice(self, invoice_id: str) -> Invoice:
        """Return an invoice; raises `LedgerError` (``unknown_invoice``) if there is none."""
        return self._runner.read(_invoice, invoice_id)

    def invoices(self, member_id: str) -> tuple[Invoice, ...]:
        """Return a member's invoices, the newest first."""
        return self._runner.read(_invoices, member_id)

    def mark_paid(self, invoice_id: str, *, actor: str, caller: str) -> Invoice:
        """Credit a manual invoice that an administrator saw paid, once.

        Raises
        ------
        LedgerError
            ``unknown_invoice``, ``not_manual``, ``too_much`` or ``admin_limit``.
        """
        return self._runner.write(_mark_paid, invoice_id, actor, caller)

    def take(self, event: PaymentEvent) -> bool:
        """Take a provider's event in; return False if it had been taken before.

        Raises
        ------
        LedgerError
            ``payment_mismatch``, ``too_much`` or ``wait``; nothing was written, so that the
            provider's next delivery is a new chance.
        """
        return self._runner.write(_take, event)

    def fee_accounts(self, member_id: str) -> tuple[FeeAccount, ...]:
        """Return what a member pays fees through."""
        return self._runner.read(fee_accounts, member_id)

    def freeze_overdue(self) -> int:
        """Freeze members whose fee is past due for too long; return how many."""
        if not self._runner.read(has_overdue):
            return 0
        frozen = 0
        while (was_active := self._runner.write(_freeze_next)) is not None:
            frozen += was_active
        return frozen


# --- invoices ----------------------------------------------------------------------------------


def _order(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    provider: str,
    amount_grains: int,
    price_minor: int,
    currency: str,
    actor: str,
    key: str | None,
) -> Invoice:
    if not 0 < amount_grains <= GRAINS_MAX or amount_grains % GRAINS_PER_MILLITOKEN:
        raise LedgerError("bad_amount", _("An invoice is about more than 0 tokens."), "tokens")
    if price_minor <= 0:
        raise LedgerError("bad_price", _("An invoice has a price."), "price")
    # With a key under the lock, under which two requests with one key wait for each other.
    wallet = load_wallet(connection, catalogue, now_ms, member_id, lock=key is not None)
    repeat = None
    if key is not None:
        request = ["invoice", provider, str(amount_grains), price_minor, currency]
        repeat = Repeat(connection, f"member:{member_id}", key, request)
        answered = repeat.answer()
        if answered is not None:
            return _record(_row(connection, answered["invoice_id"]))
    check_room(wallet, amount_grains)
    row = {
        "invoice_id": new_id(),
        "provider": provider,
        "member_id": member_id,
        "amount_grains": amount_grains,
        "price_minor": price_minor,
        "currency": currency,
        "created_ms": now_ms,
        "actor": actor,
    }
    connection.execute(insert(_i), row)
    if repeat is not None:
        repeat.keep({"invoice_id": row["invoice_id"]}, now_ms)
    return _record(_row(connection, str(row["invoice_id"])))


def _offer_checkout(
    connection: Connection, catalogue: Catalogue, now_ms: int, invoice_id: str, url: str
) -> Invoice:
    this = update(_i).where(_i.c.invoice_id == invoice_id)
    connection.execute(this.values(checkout_url=url))
    return _record(_row(connection, invoice_id))


def _invoice(connection: Connection, catalogue: Catalogue, now_ms: int, invoice_id: str) -> Invoice:
    return _record(_row(connection, invoice_id))


def _invoices(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> tuple[Invoice, ...]:
    query = select(_i).where(_i.c.member_id == member_id)
    rows = connection.execute(query.order_by(_i.c.created_ms.desc(), _i.c.invoice_id)).mappings()
    return tuple(_record(dict(row)) for row in rows)


def _mark_paid(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    invoice_id: str,
    actor: str,
    caller: str,
) -> Invoice:
    _wait_turn(connection)
    row = _row(connection, invoice_id)
    if row["provider"] != "manual":
        message = _(
            "Invoices of %(provider)s are marked as paid by %(provider)s alone.",
            provider=row["provider"],
        )
        raise LedgerError("not_manual", message, "invoice_id")
    _refuse_void(row)
    if row["paid_ms"] is None:
        _pay(connection, catalogue, now_ms, row, paid_ms=now_ms, paid_by=actor, payment_ref=None)
        amount = int(row["amount_grains"])
        # Last, so that the wallet's lock comes before the allowance's.
        spend_allowance(
            connection, catalogue, now_ms, actor=actor, caller=caller, amount_grains=amount
        )
    return _record(_row(connection, invoice_id))


def _row(connection: Connection, invoice_id: str) -> Row:
    query = select(_i).where(_i.c.invoice_id == invoice_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise LedgerError("unknown_invoice", _("There is no such invoice."), "invoice_id")
    return dict(row)


def _record(row: Row) -> Invoice:
    return Invoice(
        row["invoice_id"],
        row["provider"],
        row["member_id"],
        row["amount_grains"],
        row["price_minor"],
        row["currency"],
        row["created_ms"],
        row["checkout_url"],
        row["paid_ms"],
        row["paid_by"],
        row["taken_grains"],
        row["missing_grains"],
    )


# --- events ------------------------------------------------------------------------------------


def _wait_turn(connection: Connection) -> None:
    """Let one payment at a time be taken: its facts may not have a row yet to be locked.

    This lock comes before any wallet's.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        key = func.hashtextextended("jhub-tokens payments", 0)
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def _take(connection: Connection, catalogue: Catalogue, now_ms: int, event: PaymentEvent) -> bool:
    _wait_turn(connection)
    known = select(_e.c.kind).where(
        _e.c.provider == event.provider, _e.c.event_id == event.event_id
    )
    if connection.execute(known).first() is not None:
        return False
    row = {
        "provider": event.provider,
        "event_id": event.event_id,
        "kind": event.kind,
        "occurred_ms": event.occurred_ms,
        "received_ms": now_ms,
    }
    connection.execute(insert(_e), row)
    for fact in event.facts:
        _take_fact(connection, catalogue, now_ms, event, fact)
    return True


def _take_fact(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    event: PaymentEvent,
    fact: PaymentFact,
) -> None:
    match fact:
        case Paid():
            _take_paid(connection, catalogue, now_ms, event, fact)
        case Refunded():
            _remember_refund(connection, event.provider, fact)
            _settle(connection, catalogue, now_ms, event, fact.payment_ref)
        case Disputed():
            _remember_dispute(connection, event.provider, fact)
            _settle(connection, catalogue, now_ms, event, fact.payment_ref)
        case FeeTold():
            take_fee(connection, catalogue, now_ms, event, fact)


def _take_paid(
    connection: Connection, catalogue: Catalogue, now_ms: int, event: PaymentEvent, fact: Paid
) -> None:
    query = select(_i).where(_i.c.invoice_id == fact.invoice_id, _i.c.provider == event.provider)
    found = connection.execute(query).mappings().first()
    if found is None:
        return  # the provider's account is used for other things too
    row = dict(found)
    _refuse_void(row)
    if fact.currency != row["currency"] or fact.paid_minor < row["price_minor"]:
        raise LedgerError(
            "payment_mismatch",
            f"The invoice {row['invoice_id']} is about {row['price_minor']} {row['currency']}, "
            f"but {fact.paid_minor} {fact.currency} were paid (in the smallest unit).",
        )
    if row["paid_ms"] is None:
        _pay(
            connection,
            catalogue,
            now_ms,
            row,
            paid_ms=event.occurred_ms,
            paid_by=event.provider,
            payment_ref=fact.payment_ref,
        )
        _settle(connection, catalogue, now_ms, event, fact.payment_ref)
    elif event.occurred_ms < row["paid_ms"]:
        this = update(_i).where(_i.c.invoice_id == row["invoice_id"])
        connection.execute(this.values(paid_ms=event.occurred_ms))


def _refuse_void(row: Row) -> None:
    if row["voided_ms"] is not None:
        raise LedgerError(
            "invoice_void",
            _(
                "The invoice %(invoice)s is void, since its member was erased. If it was paid "
                "all the same, pay the money back at the provider.",
                invoice=row["invoice_id"],
            ),
            "invoice_id",
        )


def _pay(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    row: Row,
    *,
    paid_ms: int,
    paid_by: str,
    payment_ref: str | None,
) -> None:
    wallet = load_wallet(connection, catalogue, now_ms, row["member_id"])
    wallet.advance()
    amount = int(row["amount_grains"])
    check_room(wallet, amount)
    reason = N_("invoice %(invoice)s paid") % {"invoice": row["invoice_id"][:8]}
    grant_id = wallet.credit(
        "topup", amount, at_ms=wallet.at_ms, starts_ms=now_ms, actor=paid_by, reason=reason
    )
    _say(wallet, catalogue, amount, reason)
    paid = {
        "paid_ms": paid_ms,
        "paid_by": paid_by,
        "payment_ref": payment_ref,
        "transaction_id": wallet.last_transaction_id,
        "grant_id": grant_id,
    }
    connection.execute(update(_i).where(_i.c.invoice_id == row["invoice_id"]).values(paid))
    book_top_up(connection, now_ms, {**row, **paid})


def _say(wallet: OpenWallet, catalogue: Catalogue, amount: int, reason: str) -> None:
    wallet.forget_warnings()
    notify(wallet, "credited", {"grains": str(amount), "kind": "topup", "reason": reason})
    close_wallet(wallet, catalogue)


def _remember_refund(connection: Connection, provider: str, fact: Refunded) -> None:
    mine = (_r.c.provider == provider, _r.c.payment_ref == fact.payment_ref)
    most = case(
        (_r.c.refunded_minor > fact.refunded_minor, _r.c.refunded_minor),
        else_=fact.refunded_minor,
    )
    if not connection.execute(update(_r).where(*mine).values(refunded_minor=most)).rowcount:
        row = {"payment_ref": fact.payment_ref, "refunded_minor": fact.refunded_minor}
        connection.execute(insert(_r), {"provider": provider, **row})


def _remember_dispute(connection: Connection, provider: str, fact: Disputed) -> None:
    mine = (_d.c.provider == provider, _d.c.dispute_id == fact.dispute_id)
    known = connection.execute(select(_d.c.won).where(*mine)).first()
    if known is None:
        row = {
            "provider": provider,
            "dispute_id": fact.dispute_id,
            "payment_ref": fact.payment_ref,
            "amount_minor": fact.amount_minor,
            "won": fact.won,
        }
        connection.execute(insert(_d), row)
    elif fact.won:
        connection.execute(update(_d).where(*mine).values(won=True))


# --- settling ----------------------------------------------------------------------------------


def _settle(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    event: PaymentEvent,
    payment_ref: str,
) -> None:
    """Take back, or give again, what all the facts about a payment come to."""
    provider = event.provider
    query = select(_i).where(_i.c.provider == provider, _i.c.payment_ref == payment_ref)
    row = connection.execute(query).mappings().first()
    if row is None:
        return  # not paid yet as far as is known: the payment's own event settles then
    book_moves_back(connection, now_ms, dict(row), event.occurred_ms)
    wanted = asked_back(connection, row)
    more = wanted - row["taken_grains"] - row["missing_grains"]
    if not more:
        return
    wallet = load_wallet(connection, catalogue, now_ms, row["member_id"])
    wallet.advance()
    if more > 0:
        moved = -min(more, _there(wallet, row["grant_id"]))
        missing = row["missing_grains"] + more + moved
    else:
        # What was noted as missing was never taken: it is struck first.
        missing = max(0, row["missing_grains"] + more)
        moved = row["missing_grains"] - missing - more
    if moved:
        wallet.any_grant(row["grant_id"])
        entries = [Entry("grant", moved, row["grant_id"]), Entry("issued:topup", -moved)]
        what = (
            N_("payment of invoice %(invoice)s refunded or disputed")
            if moved < 0
            else N_("payment of invoice %(invoice)s came back")
        )
        reason = what % {"invoice": row["invoice_id"][:8]}
        wallet.post("reversal", wallet.at_ms, entries, actor=provider, reason=reason)
        _say(wallet, catalogue, moved, reason)
    settled = {"taken_grains": row["taken_grains"] - moved, "missing_grains": missing}
    connection.execute(update(_i).where(_i.c.invoice_id == row["invoice_id"]).values(settled))


def asked_back(connection: Connection, row: Any) -> int:
    """Return how many grains of an invoice refunds and disputes ask back."""
    mine = (_r.c.provider == row["provider"], _r.c.payment_ref == row["payment_ref"])
    refunded = connection.execute(select(_r.c.refunded_minor).where(*mine)).scalar() or 0
    lost = select(func.sum(_d.c.amount_minor)).where(
        _d.c.provider == row["provider"],
        _d.c.payment_ref == row["payment_ref"],
        _d.c.won.is_(False),
    )
    disputed = int(connection.execute(lost).scalar() or 0)
    back_minor = min(row["price_minor"], refunded + disputed)
    amount_mtok = row["amount_grains"] // GRAINS_PER_MILLITOKEN
    return int(amount_mtok * back_minor // row["price_minor"]) * GRAINS_PER_MILLITOKEN


def _there(wallet: OpenWallet, grant_id: str) -> int:
    """Return what is left of a grant, also when what runs is booked up to now."""
    walked = {grant.grant_id: grant.remaining for grant in wallet.projected().grants}
    return min(int(wallet.any_grant(grant_id)["remaining_grains"]), walked.get(grant_id, 0))


def _freeze_next(connection: Connection, catalogue: Catalogue, now_ms: int) -> bool | None:
    _wait_turn(connection)
    return freeze_next(connection, catalogue, now_ms)
