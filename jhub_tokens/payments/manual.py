"""No provider: an administrator sees the money come and marks the invoice as paid."""

from __future__ import annotations

from jhub_tokens.catalogue import Plan
from jhub_tokens.ledger.payment_records import Invoice, PaymentEvent
from jhub_tokens.payments.port import Checkout, PaymentProblem, WebhookRefused

__all__ = ["ManualProvider"]


class ManualProvider:
    """Invoices without a link."""

    name = "manual"
    collects_fees = False

    def pay_invoice(self, invoice: Invoice, checkout: Checkout) -> str:
        """Return no link: the invoice says how to pay."""
        return ""

    def pay_fee(self, member_id: str, plan: Plan, checkout: Checkout) -> str:
        """Refuse: fees by hand are changes of plan by an administrator."""
        raise PaymentProblem("Fees are not collected here; an administrator changes the plan.")

    def read_delivery(self, payload: bytes, signature: str) -> PaymentEvent:
        """Refuse: nobody delivers."""
        raise WebhookRefused("There is no provider that would deliver.")
