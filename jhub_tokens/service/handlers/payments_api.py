"""Routes of payments: invoices, fees, and a provider's deliveries."""

from __future__ import annotations

from jhub_tokens import i18n
from jhub_tokens.service import paying
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.handlers.base import BaseHandler
from jhub_tokens.service.models import Nothing
from jhub_tokens.service.operations import operation
from jhub_tokens.wire.payments import (
    FeeOrder,
    InvoiceList,
    InvoiceOrder,
    InvoiceRow,
    PaymentLink,
)

__all__ = ["DeliveryHandler", "FeesHandler", "InvoicePaidHandler", "InvoicesHandler"]

_CLOSED = "Nothing is sold here, or the provider cannot be reached"


class InvoicesHandler(PeopleHandler):
    """One member's invoices."""

    @operation(
        summary="A member's invoices",
        access="own",
        answer=InvoiceList,
        errors={404: "No such member"},
    )
    async def get(self, member_id: str) -> InvoiceList:
        """Return the invoices and fees of a member; `me` is the caller."""
        return await paying.list_invoices(self.service, self.person, member_id)

    @operation(
        summary="Order a top-up",
        access="own",
        body=InvoiceOrder,
        answer=InvoiceRow,
        status=201,
        errors={404: "No membership yet", 409: _CLOSED},
    )
    async def post(self, member_id: str, *, body: InvoiceOrder) -> InvoiceRow:
        """Write an invoice for one of the catalogue's top-ups; `member_id` is `me`."""
        return await paying.order_top_up(self.service, self.person, member_id, body)


class FeesHandler(PeopleHandler):
    """Subscribing to a plan's fee."""

    @operation(
        summary="Pay a plan's fee",
        access="own",
        body=FeeOrder,
        answer=PaymentLink,
        status=201,
        errors={404: "No membership yet", 409: f"{_CLOSED}, or a fee is paid already"},
    )
    async def post(self, member_id: str, *, body: FeeOrder) -> PaymentLink:
        """Return the link at which to subscribe; the plan begins when the first fee is paid."""
        return await paying.subscribe(self.service, self.person, member_id, body)


class InvoicePaidHandler(PeopleHandler):
    """Marking one invoice as paid."""

    @operation(
        summary="Mark an invoice as paid",
        access="grant",
        body=Nothing,
        answer=InvoiceRow,
        errors={404: "No such invoice", 409: "A provider marks it, or the limit is reached"},
    )
    async def post(self, invoice_id: str, *, body: Nothing) -> InvoiceRow:
        """Credit the invoice's tokens, once."""
        caller = await self.recheck()
        return await paying.mark_paid(self.service, caller, invoice_id)


class DeliveryHandler(BaseHandler):
    """A provider's webhook: nobody signs in, the delivery itself is signed."""

    async def post(self, provider: str) -> None:
        """Take the delivery in; any other answer than 200 makes the provider try again."""
        i18n.speak(i18n.SOURCE)  # a program calls: what is refused goes to logs, ours as well
        signature = self.request.headers.get("Stripe-Signature", "")
        is_new = await paying.take_delivery(self.service, provider, self.request.body, signature)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish({"received": True, "new": is_new})

    def write_problem(self, problem: Problem) -> None:
        """Answer with an error body."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(problem.body.model_dump_json())
