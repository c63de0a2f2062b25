"""Paying over HTTP: invoices by hand, and Stripe's signed deliveries."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger
from jhub_tokens.service.paying import provider_from
from jhub_tokens.service.serve import RunningService
from jhub_tokens.service.settings import Settings, SettingsError
from tests.service.conftest import CATALOGUE, PREFIX, Api, Story, tokens
from tests.service.stub_hub import StubHub, User

SECRET = "whsec_test"


@pytest.fixture
def catalogue_path(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.yaml"
    priced = CATALOGUE.replace("title: Enterprise, tokens", "title: Big, price: 99 EUR, tokens")
    priced = priced.replace("price: 99 EUR", "price: 99.00 EUR")
    path.write_text(priced + "top_ups:\n  - {tokens: 100, price: 10.00 EUR}\n")
    return path


@pytest.fixture(params=["manual"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    stripe = {
        "stripe_key": "sk_test_x",
        "stripe_webhook_secret": SECRET,
        "public_url": "https://hub.example.org/services/tokens/",
        "stripe_api_base": "http://127.0.0.1:1",
    }
    return replace(settings, payments=request.param, **stripe)


@pytest.fixture
def own(hub: StubHub, grace: User, api: Callable[..., Api]) -> Api:
    return api(hub.add_token(grace, "custom:jhub-tokens:read!user=grace", "read:users!user=grace"))


async def test_an_invoice_is_ordered_and_marked_as_paid(
    story: Story, grace: User, boss: Api, own: Api
) -> None:
    member = await story.join(grace)
    ordered = await own.post("api/v1/members/me/invoices", {"tokens": "100"})
    assert ordered.status_code == 201, ordered.text
    invoice = ordered.json()
    assert (invoice["price_minor"], invoice["currency"]) == (1_000, "EUR")
    path = f"api/v1/invoices/{invoice['invoice_id']}/paid"
    assert (await own.post(path, {})).status_code == 403
    for _ in range(2):
        done = await boss.post(path, {})
        assert (done.status_code, done.json()["paid_by"]) == (200, "admin")
    standing = (await boss.get(f"api/v1/members/{member}")).json()
    assert tokens(standing["balance"]) == 400
    (listed,) = (await own.get("api/v1/members/me/invoices")).json()["invoices"]
    assert listed["paid_at_ms"] == story.clock.now_ms()


async def test_what_is_not_sold_is_refused(story: Story, grace: User, boss: Api, own: Api) -> None:
    member = await story.join(grace)
    wrong = await own.post("api/v1/members/me/invoices", {"tokens": "99"})
    assert (wrong.status_code, wrong.json()["remedy"]) == (422, "Top-ups have 100 tokens.")
    other = await boss.post(f"api/v1/members/{member}/invoices", {"tokens": "100"})
    assert other.status_code == 403
    fee = await own.post("api/v1/members/me/fees", {"plan": "enterprise"})
    assert (fee.status_code, fee.json()["code"]) == (409, "payment_unavailable")
    free = await own.post("api/v1/members/me/fees", {"plan": "basic"})
    assert (free.status_code, free.json()["field"]) == (422, "plan")
    assert (await boss.post("api/v1/invoices/none/paid", {})).status_code == 404


@pytest.mark.parametrize("settings", ["stripe"], indirect=True)
class TestStripe:
    """Deliveries as Stripe signs them."""

    @pytest.fixture
    async def stripe(self, running: RunningService) -> AsyncIterator[Callable[..., Any]]:
        library = pytest.importorskip("stripe", reason="the extra payments is not installed")
        url = f"http://127.0.0.1:{running.port}{PREFIX}payments/stripe"
        async with httpx.AsyncClient() as client:

            async def deliver(
                event_id: str, kind: str, told: dict[str, Any], secret: str = SECRET
            ) -> httpx.Response:
                event = {
                    "id": event_id,
                    "object": "event",
                    "type": kind,
                    "created": 1_795_510_800,
                    "data": {"object": told},
                }
                payload = json.dumps(event)
                header = library.WebhookSignature.generate_signature_header(payload, secret)
                headers = {"Stripe-Signature": header}
                return await client.post(url, content=payload, headers=headers)

            yield deliver

    async def test_a_top_up_is_paid_refunded_and_disputed(
        self, story: Story, grace: User, own: Api, ledger: Ledger, stripe: Callable[..., Any]
    ) -> None:
        member = await story.join(grace)
        # Stripe cannot be reached here, but the invoice stands and can be paid later.
        refused = await own.post("api/v1/members/me/invoices", {"tokens": "100"})
        assert (refused.status_code, refused.json()["code"]) == (409, "payment_unavailable")
        (invoice,) = ledger.payments.invoices(member)
        session = {
            "mode": "payment",
            "payment_status": "paid",
            "payment_intent": "pi_1",
            "amount_total": 1_000,
            "currency": "eur",
            "metadata": {"jhub_tokens_invoice": invoice.invoice_id},
        }
        forged = await stripe("evt_1", "checkout.session.completed", session, "whsec_other")
        assert (forged.status_code, forged.json()["code"]) == (400, "bad_delivery")
        early = await stripe(
            "evt_2", "charge.refunded", {"payment_intent": "pi_1", "amount_refunded": 250}
        )
        assert early.json() == {"received": True, "new": True}
        for is_new in (True, False):
            answer = await stripe("evt_1", "checkout.session.completed", session)
            assert answer.json() == {"received": True, "new": is_new}, answer.text
        standing = (await own.get("api/v1/members/me")).json()
        assert tokens(standing["balance"]) == 375
        wrong = {**session, "amount_total": 1}
        assert (await stripe("evt_3", "checkout.session.completed", wrong)).status_code == 409

    async def test_an_unpaid_fee_stops_the_members_servers(
        self,
        story: Story,
        grace: User,
        own: Api,
        ledger: Ledger,
        stripe: Callable[..., Any],
        clock: ManualClock,
    ) -> None:
        member = await story.join(grace)
        await story.run(grace, "cpu")
        whose = {"jhub_tokens_member": member, "jhub_tokens_plan": "enterprise"}
        details = {"subscription": "sub_1", "metadata": whose}
        bill = {"id": "in_1", "parent": {"subscription_details": details}}
        await stripe("evt_1", "invoice.paid", bill)
        assert (await own.get("api/v1/members/me")).json()["plan_title"] == "Big"
        again = await own.post("api/v1/members/me/fees", {"plan": "enterprise"})
        assert (again.status_code, again.json()["code"]) == (409, "already_paying")
        clock.advance_ms(3_600_000)
        await stripe("evt_2", "invoice.payment_failed", {**bill, "id": "in_2"})
        (fee,) = (await own.get("api/v1/members/me/invoices")).json()["fees"]
        assert fee["state"] == "past_due"
        await story.pass_ms(8 * 86_400_000)
        assert ledger.member(member).state == "frozen"  # type: ignore[union-attr]
        (stop,) = (await story.api.get("api/v1/hub/stops")).json()["stops"]
        assert stop["reason"] == "Your membership was frozen."
        await stripe("evt_3", "invoice.paid", {**bill, "id": "in_2"})
        assert ledger.member(member).state == "active"  # type: ignore[union-attr]


async def test_nobody_delivers_to_a_hub_that_sells_by_hand(running: RunningService) -> None:
    url = f"http://127.0.0.1:{running.port}{PREFIX}payments/"
    async with httpx.AsyncClient() as client:
        for name in ("stripe", "manual"):
            answer = await client.post(url + name, content=b"{}")
            assert answer.status_code == 404


def test_stripe_without_its_secrets_is_a_setting_to_mend(settings: Settings) -> None:
    wanting = replace(settings, payments="stripe", stripe_webhook_secret="")
    with pytest.raises(SettingsError, match="JHUB_TOKENS_STRIPE_WEBHOOK_SECRET"):
        provider_from(wanting)
    assert provider_from(replace(settings, payments="")) is None
    assert "whsec" not in repr(settings)
