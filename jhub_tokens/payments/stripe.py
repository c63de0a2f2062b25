"""Stripe: checkout links for top-ups and fees, and its signed webhooks.

Needs the extra ``payments``, which is Stripe's own library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import stripe

from jhub_tokens.catalogue import Plan
from jhub_tokens.ledger.payment_records import (
    Disputed,
    FeeTold,
    Invoice,
    Paid,
    PaymentEvent,
    PaymentFact,
    Refunded,
)
from jhub_tokens.payments.port import Checkout, PaymentProblem, WebhookRefused

__all__ = ["StripeProvider", "facts_of"]

_TIMEOUT_S = 15
_INVOICE = "jhub_tokens_invoice"
_MEMBER = "jhub_tokens_member"
_PLAN = "jhub_tokens_plan"


class StripeProvider:
    """Stripe Checkout and its webhooks.

    Parameters
    ----------
    api_key
        The secret key, or better a restricted one that may write Checkout Sessions.
    webhook_secret
        The signing secret of the endpoint, ``whsec_…``.
    api_base
        Another address of the API, for tests.
    """

    name = "stripe"
    collects_fees = True

    def __init__(self, api_key: str, webhook_secret: str, api_base: str = "") -> None:
        addresses: Any = {"api": api_base} if api_base else {}
        self._client = stripe.StripeClient(
            api_key,
            base_addresses=addresses,
            max_network_retries=1,
            http_client=stripe.RequestsClient(timeout=_TIMEOUT_S),
        )
        self._webhook_secret = webhook_secret

    def pay_invoice(self, invoice: Invoice, checkout: Checkout) -> str:
        """Return the link to a Checkout Session for one payment."""
        metadata = {_INVOICE: invoice.invoice_id}
        item = {"unit_amount": invoice.price_minor, "product_data": {"name": checkout.title}}
        return self._checkout(
            {
                "mode": "payment",
                "client_reference_id": invoice.member_id,
                "metadata": metadata,
                "payment_intent_data": {"metadata": metadata},
                "line_items": [
                    {"quantity": 1, "price_data": {**item, "currency": invoice.currency.lower()}}
                ],
            },
            checkout,
            # Asked again for the same invoice, Stripe answers with the same session.
            {"idempotency_key": f"jhub-tokens-{invoice.invoice_id}"},
        )

    def pay_fee(self, member_id: str, plan: Plan, checkout: Checkout) -> str:
        """Return the link to a Checkout Session for a monthly fee."""
        if plan.price is None or not plan.price.amount_minor:
            raise PaymentProblem(f"The plan {plan.title} costs nothing.")
        metadata = {_MEMBER: member_id, _PLAN: plan.name}
        price = {
            "currency": plan.price.currency.lower(),
            "unit_amount": plan.price.amount_minor,
            "product_data": {"name": checkout.title},
            "recurring": {"interval": "month"},
        }
        return self._checkout(
            {
                "mode": "subscription",
                "client_reference_id": member_id,
                "metadata": metadata,
                # Stripe copies it to each invoice, so that any event alone says whose it is.
                "subscription_data": {"metadata": metadata},
                "line_items": [{"quantity": 1, "price_data": price}],
            },
            checkout,
            {},
        )

    def _checkout(self, order: dict[str, Any], checkout: Checkout, options: Any) -> str:
        params: Any = {
            **order,
            "success_url": checkout.return_url,
            "cancel_url": checkout.return_url,
        }
        try:
            session = self._client.v1.checkout.sessions.create(params, options)
        except stripe.StripeError as error:
            raise PaymentProblem(f"Stripe: {error.user_message or type(error).__name__}") from error
        return str(session.url)

    def read_delivery(self, payload: bytes, signature: str) -> PaymentEvent:
        """Check the signature and its age (five minutes), then read the event."""
        try:
            stripe.Webhook.construct_event(
                payload, signature, self._webhook_secret, api_key="unused"
            )
            event = json.loads(payload)
            return PaymentEvent(
                self.name,
                str(event["id"]),
                str(event["type"]),
                int(event["created"]) * 1000,
                facts_of(event["type"], event["data"]["object"]),
            )
        except stripe.SignatureVerificationError:
            raise WebhookRefused("The signature is not Stripe's, or is too old.") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise WebhookRefused("The delivery cannot be read.") from None


def facts_of(kind: str, told: Mapping[str, Any]) -> tuple[PaymentFact, ...]:
    """Return what an event of `kind` about the object `told` comes to; nothing: not for us."""
    match kind:
        case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
            return _checkout_facts(told)
        case "invoice.paid" | "invoice.payment_succeeded":
            return _bill_facts("paid", told)
        case "invoice.payment_failed":
            return _bill_facts("failed", told)
        case "customer.subscription.deleted":
            return (FeeTold("ended", str(told["id"]), "", *_whose(told)),)
        case "charge.refunded" if told.get("payment_intent"):
            return (Refunded(_id(told["payment_intent"]), int(told["amount_refunded"])),)
        case str() if kind.startswith("charge.dispute.") and told.get("payment_intent"):
            return _dispute_facts(told)
    return ()


def _checkout_facts(told: Mapping[str, Any]) -> tuple[PaymentFact, ...]:
    metadata = told.get("metadata") or {}
    if told["mode"] == "subscription" and told.get("subscription"):
        return (FeeTold("begun", _id(told["subscription"]), "", *_whose(told)),)
    if told["mode"] != "payment" or told["payment_status"] != "paid" or _INVOICE not in metadata:
        return ()  # a payment that takes days is told by an event of its own
    payment_ref, currency = _id(told["payment_intent"]), str(told["currency"]).upper()
    return (Paid(str(metadata[_INVOICE]), payment_ref, int(told["amount_total"]), currency),)


def _bill_facts(state: Any, told: Mapping[str, Any]) -> tuple[PaymentFact, ...]:
    # Since the API of 2025 below `parent`, before that at the top.
    details = (told.get("parent") or {}).get("subscription_details") or {}
    subscription = details.get("subscription") or told.get("subscription")
    if not subscription:
        return ()
    details = details or told.get("subscription_details") or {}
    return (FeeTold(state, _id(subscription), str(told["id"]), *_whose(details)),)


def _dispute_facts(told: Mapping[str, Any]) -> tuple[PaymentFact, ...]:
    if str(told["status"]).startswith("warning_"):
        return ()  # an inquiry: no money has been taken
    won = told["status"] == "won"
    payment_ref = _id(told["payment_intent"])
    return (Disputed(payment_ref, str(told["id"]), int(told["amount"]), won),)


def _whose(told: Mapping[str, Any]) -> tuple[str | None, str | None]:
    metadata = told.get("metadata") or {}
    return metadata.get(_MEMBER), metadata.get(_PLAN)


def _id(told: Any) -> str:
    """Return an object's id, whether Stripe sent the id or the whole object."""
    return str(told["id"] if isinstance(told, Mapping) else told)
