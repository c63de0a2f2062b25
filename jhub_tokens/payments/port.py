"""The port: what a payment provider does for the token service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jhub_tokens.catalogue import Plan
from jhub_tokens.ledger.payment_records import Invoice, PaymentEvent

__all__ = ["Checkout", "PaymentProblem", "PaymentProvider", "WebhookRefused"]


class PaymentProblem(Exception):
    """The provider cannot do it now; the message is for administrators."""


class WebhookRefused(Exception):
    """A delivery that the provider has not signed, or that cannot be read."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where somebody pays, and where they come back to."""

    title: str  # what is paid for
    return_url: str


class PaymentProvider(Protocol):
    """A way to be paid. Methods may block on the network."""

    name: str
    collects_fees: bool  # whether members can subscribe to a plan's fee

    def pay_invoice(self, invoice: Invoice, checkout: Checkout) -> str:
        """Return the link to pay an invoice at, empty if there is none.

        Raises
        ------
        PaymentProblem
            If the provider cannot be reached or refuses.
        """
        ...

    def pay_fee(self, member_id: str, plan: Plan, checkout: Checkout) -> str:
        """Return the link to subscribe to a plan's fee at.

        Raises
        ------
        PaymentProblem
            If the provider has no fees, cannot be reached or refuses.
        """
        ...

    def read_delivery(self, payload: bytes, signature: str) -> PaymentEvent:
        """Return what a delivery tells, once its signature has been checked.

        Raises
        ------
        WebhookRefused
            If it is not signed by the provider, or cannot be read.
        """
        ...
