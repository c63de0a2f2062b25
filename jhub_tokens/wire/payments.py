"""Paying for tokens: invoices, fees and links to a provider's checkout."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from jhub_tokens.wire.base import Amount, Key, Name, Wire

__all__ = ["FeeOrder", "FeeRow", "InvoiceList", "InvoiceOrder", "InvoiceRow", "PaymentLink"]


class InvoiceOrder(Wire):
    """Order the catalogue's top-up of so many tokens."""

    tokens: Annotated[str, StringConstraints(max_length=20)]
    key: Key | None = None  # the same key writes one invoice


class InvoiceRow(Wire):
    """An order of tokens for money."""

    invoice_id: str
    provider: str
    member_id: str
    amount: Amount
    price_minor: int  # in the currency's smallest unit
    currency: str
    created_at_ms: int
    checkout_url: str  # where to pay; empty when paid, or paid by hand
    paid_at_ms: int | None
    paid_by: str
    taken_back: Amount  # for a refund or a dispute
    missing: Amount  # asked back, but spent already


class FeeRow(Wire):
    """A plan's fee that a member pays through a provider."""

    plan: str
    provider: str
    state: str  # waiting, active, past_due, ended
    past_due_since_ms: int | None


class InvoiceList(Wire):
    """A member's invoices, the newest first, and fees."""

    invoices: list[InvoiceRow]
    fees: list[FeeRow]


class FeeOrder(Wire):
    """Pay the monthly fee of a plan."""

    plan: Name


class PaymentLink(Wire):
    """Where to pay."""

    url: str
