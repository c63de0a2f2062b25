"""Paying for tokens: which provider is set up, and what happens when people or it ask."""

from __future__ import annotations

import asyncio

import structlog

from jhub_tokens.i18n import _
from jhub_tokens.ledger.payment_records import Invoice
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.payments import (
    Checkout,
    ManualProvider,
    PaymentProblem,
    PaymentProvider,
    WebhookRefused,
)
from jhub_tokens.service import members
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.settings import Settings, SettingsError
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens, parse_tokens_mtok
from jhub_tokens.wire import Amount
from jhub_tokens.wire.payments import (
    FeeOrder,
    FeeRow,
    InvoiceList,
    InvoiceOrder,
    InvoiceRow,
    PaymentLink,
)

__all__ = [
    "list_invoices",
    "mark_paid",
    "order_top_up",
    "provider_from",
    "subscribe",
    "take_delivery",
]

log = structlog.get_logger(__name__)


def provider_from(settings: Settings) -> PaymentProvider | None:
    """Return the provider that is set up, None if tokens are not sold.

    Raises
    ------
    SettingsError
        If Stripe is wanted and its library or its secrets are missing.
    """
    if settings.payments == "":
        return None
    if settings.payments == "manual":
        return ManualProvider()
    if not (settings.stripe_key and settings.stripe_webhook_secret and settings.public_url):
        raise SettingsError(
            "Stripe needs JHUB_TOKENS_STRIPE_KEY, JHUB_TOKENS_STRIPE_WEBHOOK_SECRET and "
            "JHUB_TOKENS_PUBLIC_URL, this service's address as browsers know it"
        )
    try:
        from jhub_tokens.payments.stripe import StripeProvider
    except ImportError:
        raise SettingsError(
            "Stripe's library is not installed: pip install 'jhub-tokens[payments]'"
        ) from None
    return StripeProvider(
        settings.stripe_key, settings.stripe_webhook_secret, settings.stripe_api_base
    )


async def order_top_up(
    service: Service, caller: Caller, member_id: str, order: InvoiceOrder
) -> InvoiceRow:
    """Write an invoice for one of the catalogue's top-ups, with a link if the provider has one.

    Raises
    ------
    Problem
        If nothing is sold, there is no such top-up, or the provider cannot be reached.
    """
    provider = _provider(service)
    _for_oneself(member_id)
    member = await members.own_member(service, caller)
    amount_mtok = parse_tokens_mtok(order.tokens)
    offers = service.books.catalogue.top_ups
    found = next((offer for offer in offers if offer.amount_mtok == amount_mtok), None)
    if found is None:
        sizes = ", ".join(format_tokens(o.amount_mtok * GRAINS_PER_MILLITOKEN, 3) for o in offers)
        raise Problem(
            422,
            "unknown_top_up",
            _("There is no such top-up."),
            field="tokens",
            remedy=_("Top-ups have %(sizes)s tokens.", sizes=sizes)
            if sizes
            else _("None are sold here."),
        )
    payments = service.books.ledger.payments
    invoice = await service.workers.write(
        payments.order,
        member.member_id,
        provider=provider.name,
        amount_grains=amount_mtok * GRAINS_PER_MILLITOKEN,
        price_minor=found.price.amount_minor,
        currency=found.price.currency,
        actor=caller.name,
        key=order.key,
    )
    if invoice.checkout_url:  # asked again
        return _row(invoice)
    title = f"{format_tokens(invoice.amount_grains, 3)} tokens"
    try:
        # In a thread of its own: the workers' are for the books, and a network may be slow.
        url = await asyncio.to_thread(provider.pay_invoice, invoice, _checkout(service, title))
    except PaymentProblem as problem:
        raise _unreachable(problem) from problem
    if url:
        invoice = await service.workers.write(payments.offer_checkout, invoice.invoice_id, url)
    log.info("top-up ordered", by=caller.label, invoice_id=invoice.invoice_id)
    return _row(invoice)


async def subscribe(
    service: Service, caller: Caller, member_id: str, order: FeeOrder
) -> PaymentLink:
    """Return the link at which the caller subscribes to a plan's fee.

    Raises
    ------
    Problem
        If nothing is sold, there is no such plan, it is paid for already, or the provider
        cannot be reached.
    """
    provider = _provider(service)
    _for_oneself(member_id)
    member = await members.own_member(service, caller)
    plan = service.books.catalogue.plans.get(order.plan)
    if plan is None or plan.price is None:
        message = _("There is no such plan that has a price.")
        raise Problem(422, "unknown_plan", message, field="plan")
    accounts = await service.workers.read(
        service.books.ledger.payments.fee_accounts, member.member_id
    )
    if any(account.state in ("active", "past_due") for account in accounts):
        raise Problem(
            409,
            "already_paying",
            _("You pay a plan's fee already."),
            remedy=_("Let it be cancelled first, so that you do not pay twice."),
        )
    checkout = _checkout(service, plan.title)
    try:
        url = await asyncio.to_thread(provider.pay_fee, member.member_id, plan, checkout)
    except PaymentProblem as problem:
        raise _unreachable(problem) from problem
    return PaymentLink(url=url)


async def list_invoices(service: Service, caller: Caller, member_id: str) -> InvoiceList:
    """Return a member's invoices and fees, if the caller may read the books."""
    member = await members.readable_member(service, caller, member_id)
    payments = service.books.ledger.payments
    invoices = await service.workers.read(payments.invoices, member.member_id)
    accounts = await service.workers.read(payments.fee_accounts, member.member_id)
    fees = [
        FeeRow(plan=a.plan, provider=a.provider, state=a.state, past_due_since_ms=a.past_due_ms)
        for a in accounts
    ]
    return InvoiceList(invoices=[_row(invoice) for invoice in invoices], fees=fees)


async def mark_paid(service: Service, caller: Caller, invoice_id: str) -> InvoiceRow:
    """Credit a manual invoice; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not.
    LedgerError
        If the books refuse.
    """
    if not caller.may_grant:
        raise members.lacks_scope("custom:jhub-tokens:grant")
    invoice = await service.workers.write(
        service.books.ledger.payments.mark_paid,
        invoice_id,
        actor=caller.name,
        caller=caller.label,
    )
    log.info("invoice paid", by=caller.label, invoice_id=invoice_id)
    service.written()
    return _row(invoice)


async def take_delivery(service: Service, name: str, payload: bytes, signature: str) -> bool:
    """Take a provider's delivery in; return False if it had been taken before.

    Raises
    ------
    Problem
        If it is not for us or not signed. Whatever is not taken is delivered again.
    """
    provider = service.payments
    if provider is None or provider.name != name or name == "manual":
        raise Problem(404, "not_found", "No such payment provider is set up.")
    try:
        event = provider.read_delivery(payload, signature)
    except WebhookRefused as refusal:
        raise Problem(400, "bad_delivery", str(refusal)) from refusal
    try:
        is_new = await service.workers.write(service.books.ledger.payments.take, event)
    except LedgerError as error:
        log.error("payment cannot be booked", event_id=event.event_id, reason=error.message)
        raise
    log.info("payment told", provider=name, kind=event.kind, event_id=event.event_id, new=is_new)
    service.written(may_stop=True)
    return bool(is_new)


def _provider(service: Service) -> PaymentProvider:
    if service.payments is None:
        raise Problem(
            409,
            "not_sold",
            _("Tokens are not sold here."),
            remedy=_("The operator sets JHUB_TOKENS_PAYMENTS to manual or stripe."),
        )
    return service.payments


def _for_oneself(member_id: str) -> None:
    if member_id != "me":
        raise Problem(
            403,
            "forbidden",
            _("Members order for themselves."),
            remedy=_("Write me for the member."),
        )


def _checkout(service: Service, title: str) -> Checkout:
    settings = service.settings
    return Checkout(title, settings.public_url)


def _unreachable(problem: PaymentProblem) -> Problem:
    log.error("payment provider failed", reason=str(problem))
    return Problem(
        409,
        "payment_unavailable",
        _("The payment cannot be begun right now."),
        remedy=_("Try again later, or tell the operator of this hub."),
    )


def _row(invoice: Invoice) -> InvoiceRow:
    return InvoiceRow(
        invoice_id=invoice.invoice_id,
        provider=invoice.provider,
        member_id=invoice.member_id,
        amount=Amount.of(invoice.amount_grains),
        price_minor=invoice.price_minor,
        currency=invoice.currency,
        created_at_ms=invoice.created_ms,
        checkout_url=invoice.checkout_url if invoice.paid_ms is None else "",
        paid_at_ms=invoice.paid_ms,
        paid_by=invoice.paid_by,
        taken_back=Amount.of(invoice.taken_grains),
        missing=Amount.of(invoice.missing_grains),
    )
