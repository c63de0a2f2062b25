"""Stripe's library, deliveries signed as Stripe signs them, and a small Stripe of our own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

stripe = pytest.importorskip("stripe", reason="the extra payments is not installed")

from jhub_tokens.catalogue import Plan, Price  # noqa: E402
from jhub_tokens.ledger.payment_records import (  # noqa: E402
    Disputed,
    FeeTold,
    Invoice,
    Paid,
    Refunded,
)
from jhub_tokens.payments import Checkout, PaymentProblem, WebhookRefused  # noqa: E402
from jhub_tokens.payments.stripe import StripeProvider, facts_of  # noqa: E402

SECRET = "whsec_test"
INVOICE = Invoice("in-1", "stripe", "m-1", 36 * 10**10, 1_000, "EUR", 0, "", None, "", 0, 0)
PLAN = Plan(
    name="pro", title="Pro", allotment_mtok=1, price=Price(amount_minor=2_990, currency="EUR")
)
CHECKOUT = Checkout("100 tokens", "https://hub.example.org/services/tokens/")


def signed(event: dict[str, Any], secret: str = SECRET, **options: Any) -> tuple[bytes, str]:
    payload = json.dumps(event)
    header = stripe.WebhookSignature.generate_signature_header(payload, secret, **options)
    return payload.encode(), header


def delivery(kind: str, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "created": 1_795_510_800,
        "data": {"object": told},
    }


@pytest.fixture
def provider() -> StripeProvider:
    return StripeProvider("sk_test_x", SECRET)


# --- deliveries -------------------------------------------------------------------------------

METADATA = {"jhub_tokens_member": "m-1", "jhub_tokens_plan": "pro"}
SESSION = {
    "object": "checkout.session",
    "mode": "payment",
    "payment_status": "paid",
    "payment_intent": "pi_1",
    "amount_total": 1_000,
    "currency": "eur",
    "metadata": {"jhub_tokens_invoice": "in-1"},
}
DISPUTE = {"id": "dp_1", "payment_intent": "pi_1", "amount": 1_000}
BILL = {
    "id": "in_1",
    "parent": {"subscription_details": {"subscription": "sub_1", "metadata": METADATA}},
}


@pytest.mark.parametrize(
    ("kind", "told", "fact"),
    [
        ("checkout.session.completed", SESSION, Paid("in-1", "pi_1", 1_000, "EUR")),
        ("checkout.session.completed", {**SESSION, "payment_status": "unpaid"}, None),
        ("checkout.session.completed", {**SESSION, "metadata": None}, None),
        ("checkout.session.async_payment_succeeded", SESSION, Paid("in-1", "pi_1", 1_000, "EUR")),
        (
            "checkout.session.completed",
            {"mode": "subscription", "subscription": "sub_1", "metadata": METADATA},
            FeeTold("begun", "sub_1", "", "m-1", "pro"),
        ),
        ("invoice.paid", BILL, FeeTold("paid", "sub_1", "in_1", "m-1", "pro")),
        ("invoice.payment_failed", BILL, FeeTold("failed", "sub_1", "in_1", "m-1", "pro")),
        (
            "invoice.paid",
            {"id": "in_1", "subscription": {"id": "sub_1"}},
            FeeTold("paid", "sub_1", "in_1"),
        ),
        ("invoice.paid", {"id": "in_1", "subscription": None}, None),
        (
            "customer.subscription.deleted",
            {"id": "sub_1", "metadata": METADATA},
            FeeTold("ended", "sub_1", "", "m-1", "pro"),
        ),
        (
            "charge.refunded",
            {"payment_intent": "pi_1", "amount_refunded": 300},
            Refunded("pi_1", 300),
        ),
        (
            "charge.dispute.created",
            {**DISPUTE, "status": "needs_response"},
            Disputed("pi_1", "dp_1", 1_000, False),
        ),
        ("charge.dispute.created", {**DISPUTE, "status": "warning_needs_response"}, None),
        (
            "charge.dispute.closed",
            {**DISPUTE, "status": "won"},
            Disputed("pi_1", "dp_1", 1_000, True),
        ),
        ("customer.created", {"id": "cus_1"}, None),
    ],
)
def test_a_signed_delivery_becomes_facts(
    provider: StripeProvider, kind: str, told: dict[str, Any], fact: object
) -> None:
    event = provider.read_delivery(*signed(delivery(kind, told)))
    assert event.facts == (() if fact is None else (fact,))
    assert (event.provider, event.event_id, event.kind) == ("stripe", "evt_1", kind)
    assert event.occurred_ms == 1_795_510_800_000


def test_what_is_not_signed_by_stripe_just_now_is_refused(provider: StripeProvider) -> None:
    event = delivery("checkout.session.completed", SESSION)
    payload, header = signed(event)
    for body, signature in (
        signed(event, "whsec_other"),
        signed(event, timestamp=1_000_000_000),
        (payload.replace(b"1000", b"1001"), header),
        (payload, ""),
        (payload, "t=x,v1=y"),
        (b"\xff", header),
    ):
        with pytest.raises(WebhookRefused):
            provider.read_delivery(body, signature)
    with pytest.raises(WebhookRefused, match="cannot be read"):
        provider.read_delivery(*signed({"id": "evt_1"}))
    assert facts_of("no.such.kind", {}) == ()


# --- checkout ---------------------------------------------------------------------------------


class FakeStripe:
    """Answers like Stripe's API, as far as a checkout needs it, and keeps what it was asked."""

    def __init__(self) -> None:
        fake = self
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.status = 200

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = parse_qs(self.rfile.read(length).decode())
                fields = {name: values[0] for name, values in form.items()}
                fake.asked.append((self.path, fields, dict(self.headers)))
                body = {"id": "cs_1", "object": "checkout.session", "url": "https://pay.example/1"}
                if fake.status != 200:
                    body = {"error": {"type": "card_error", "message": "no"}}  # type: ignore[dict-item]
                payload = json.dumps(body).encode()
                self.send_response(fake.status)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    fake = FakeStripe()
    yield fake
    fake.close()


def test_an_invoice_is_paid_at_a_checkout(fake: FakeStripe) -> None:
    provider = StripeProvider("sk_test_x", SECRET, fake.url)
    assert provider.pay_invoice(INVOICE, CHECKOUT) == "https://pay.example/1"
    ((path, fields, headers),) = fake.asked
    assert path == "/v1/checkout/sessions"
    assert headers["Idempotency-Key"] == "jhub-tokens-in-1"
    assert fields["mode"] == "payment"
    assert fields["metadata[jhub_tokens_invoice]"] == "in-1"
    assert fields["line_items[0][price_data][unit_amount]"] == "1000"
    assert fields["line_items[0][price_data][currency]"] == "eur"
    assert fields["success_url"] == CHECKOUT.return_url


def test_a_fee_is_subscribed_to_at_a_checkout(fake: FakeStripe) -> None:
    provider = StripeProvider("sk_test_x", SECRET, fake.url)
    assert provider.pay_fee("m-1", PLAN, CHECKOUT) == "https://pay.example/1"
    ((_, fields, _),) = fake.asked
    assert fields["mode"] == "subscription"
    assert fields["subscription_data[metadata][jhub_tokens_member]"] == "m-1"
    assert fields["line_items[0][price_data][recurring][interval]"] == "month"
    with pytest.raises(PaymentProblem, match="costs nothing"):
        provider.pay_fee("m-1", PLAN.model_copy(update={"price": None}), CHECKOUT)


def test_what_stripe_refuses_is_said(fake: FakeStripe) -> None:
    fake.status = 402
    provider = StripeProvider("sk_test_x", SECRET, fake.url)
    with pytest.raises(PaymentProblem, match="Stripe: "):
        provider.pay_invoice(INVOICE, CHECKOUT)
