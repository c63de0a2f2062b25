"""People's routes: the standing, the statement that adds up, the list, grants and freezes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from jhub_tokens.ledger import Ledger
from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.service.conftest import HOUR_MS, Api, Story, identity, tokens
from tests.service.stub_hub import StubHub, User


def order(**changes: str) -> dict[str, str]:
    return {"tokens": "12.5", "reason": "a workshop", "key": "key-of-this-grant", **changes}


async def test_a_statement_adds_up_exactly_and_as_shown(
    story: Story, grace: User, boss: Api
) -> None:
    member = await story.join(grace)
    # Thirds of tokens: each line rounded by itself would not add up.
    for minutes in (20, 20, 20, 40):
        run = await story.run(grace, "cpu")
        await story.pass_ms(minutes * 60_000 + 7)
        await story.end(run["start_key"])
    await boss.post(f"api/v1/members/{member}/grants", order())
    await story.run(grace, "gpu")
    await story.pass_ms(HOUR_MS)
    statement = (await boss.get(f"api/v1/members/{member}/statement")).json()
    exact = int(statement["opening"]["grains"])
    shown = Decimal(0)
    for line in statement["lines"]:
        exact += int(line["amount"]["grains"])
        shown += Decimal(line["tokens"].replace(",", ""))
        assert int(line["balance"]["grains"]) == exact
    assert exact == int(statement["closing"]["grains"])
    closing = Decimal(exact) / GRAINS_PER_TOKEN
    assert shown == closing.quantize(Decimal("0.01")), "what a person adds up agrees"
    standing = (await boss.get(f"api/v1/members/{member}")).json()
    assert statement["closing"]["grains"] == standing["balance"]["grains"]
    usage = [line for line in statement["lines"] if line["kind"] == "usage"]
    assert len(usage) == 5
    assert usage[0]["text"] == "CPU · 20 min at 1 token/h · stopped"
    assert usage[-1]["text"] == "One GPU · 1 h at 10 tokens/h · running"
    (topup,) = (line for line in statement["lines"] if line["kind"] == "topup")
    assert (topup["actor"], topup["reason"]) == ("admin", "a workshop")


async def test_statements_of_earlier_periods(story: Story, grace: User, boss: Api) -> None:
    member = await story.join(grace)
    path = f"api/v1/members/{member}/statement"
    first = (await boss.get(f"{path}?period=2026-11-24")).json()
    assert first["period_start"].endswith("00:00 CET")
    wrong = await boss.get(f"{path}?period=2026-11-01")
    assert (wrong.status_code, wrong.json()["code"]) == (404, "no_period")
    assert "2026-11-24" in wrong.json()["remedy"], "the periods that there are"
    bad = await boss.get(f"{path}?period=november")
    assert (bad.status_code, bad.json()["field"]) == (422, "period")
    twice = await boss.get(f"{path}?period=current&period=current")
    assert (twice.status_code, twice.json()["field"]) == (422, "period")


async def test_the_list_searches_filters_and_turns_pages(
    story: Story, hub: StubHub, ada: User, boss: Api
) -> None:
    for name in ("Bob", "bobby tables", "zoë@example.org", "100%"):
        await story.join(hub.add_user(name))
    await story.join(ada)
    await story.run(ada, "cpu")

    async def names(query: str) -> list[str]:
        answer = await boss.get(f"api/v1/members?{query}")
        assert answer.status_code == 200, answer.text
        return [row["name"] for row in answer.json()["members"]]

    assert set(await names("q=bob")) == {"Bob", "bobby tables"}
    assert await names("q=zo%C3%AB%40") == ["zoë@example.org"]
    assert await names("q=%25") == ["100%"], "a per cent sign is a character, not a pattern"
    assert await names("state=running") == ["ada"]
    assert await names("state=frozen") == []
    every = [await names(f"page_size=2&page={page}") for page in (1, 2, 3)]
    assert sorted(sum(every, [])) == sorted(
        ["Bob", "bobby tables", "zoë@example.org", "100%", "ada"]
    )
    for query, field in (("page=0", "page"), ("page_size=501", "page_size"), ("shoe=1", "shoe")):
        answer = await boss.get(f"api/v1/members?{query}")
        assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_a_grant_is_booked_once_for_its_key(
    story: Story, grace: User, boss: Api, ledger: Ledger
) -> None:
    member = await story.join(grace)
    path = f"api/v1/members/{member}/grants"
    answers = await asyncio.gather(*(boss.post(path, order()) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.json()["transaction_id"] for answer in answers}) == 1
    assert tokens(answers[0].json()["amount"]) == 12.5
    assert ledger.wallet_view(member).balance_grains == int(312.5 * GRAINS_PER_TOKEN)
    other = await boss.post(path, order(tokens="13"))
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"tokens": "a lot"}, 422, "tokens"),
        ({"tokens": "0"}, 422, "tokens"),
        ({"tokens": "-1"}, 422, "tokens"),
        ({"tokens": "0.0001"}, 422, "tokens"),
        ({"tokens": "9999999999"}, 422, "tokens"),
        ({"tokens": "-301", "kind": "adjustment"}, 409, "tokens"),
        ({"reason": ""}, 422, "reason"),
        ({"kind": "gift"}, 422, "kind"),
        ({"key": "short"}, 422, "key"),
        ({"amount": "5"}, 422, "amount"),
    ],
)
async def test_a_bad_grant_is_refused_at_its_field(
    story: Story,
    grace: User,
    boss: Api,
    ledger: Ledger,
    change: dict[str, str],
    status: int,
    field: str,
) -> None:
    member = await story.join(grace)
    answer = await boss.post(f"api/v1/members/{member}/grants", order(**change))
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text
    assert ledger.wallet_view(member).balance_grains == 300 * GRAINS_PER_TOKEN


async def test_a_correction_takes_back(story: Story, grace: User, boss: Api) -> None:
    member = await story.join(grace)
    taken = order(tokens="-100", kind="adjustment")
    answer = await boss.post(f"api/v1/members/{member}/grants", taken)
    assert answer.status_code == 201
    assert tokens(answer.json()["balance"]) == 200


async def test_a_frozen_member_is_stopped_and_starts_nothing(
    story: Story, ada: User, boss: Api
) -> None:
    member = await story.join(ada)
    run = await story.run(ada, "cpu")
    answer = await boss.post(f"api/v1/members/{member}/freeze", {"reason": "unpaid fees"})
    assert (answer.status_code, answer.json()["state"]) == (200, "frozen")
    (stop,) = (await story.api.get("api/v1/hub/stops")).json()["stops"]
    assert (stop["start_key"], stop["reason"]) == (run["start_key"], "Your membership was frozen.")
    await story.end(run["start_key"])
    refused = await story.admit(ada, "cpu")
    assert (refused.status_code, refused.json()["code"]) == (403, "frozen")
    offers = await story.api.post("api/v1/hub/offers", {"member": identity(ada)})
    assert {offer["refusal"]["code"] for offer in offers.json()["offers"]} == {"frozen"}
    answer = await boss.post(f"api/v1/members/{member}/unfreeze", {"reason": "paid"})
    assert answer.json()["state"] == "active"
    assert (await story.admit(ada, "cpu")).status_code == 201


async def test_nobody_there(story: Story, boss: Api) -> None:
    for path in ("", "/statement"):
        answer = await boss.get(f"api/v1/members/nobody{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_member")
    for path, body in (("grants", order()), ("freeze", {"reason": "a test"})):
        answer = await boss.post(f"api/v1/members/nobody/{path}", body)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_member")


async def test_metrics_tell_the_books(story: Story, ada: User, api: Callable[..., Api]) -> None:
    await story.run(ada, "cpu")
    await story.admit(ada, "gpu")
    text = (await story.api.get("metrics")).text
    assert "jhub_tokens_up 1.0" in text
    assert 'jhub_tokens_admissions_total{profile="cpu"} 1.0' in text
    assert 'jhub_tokens_refusals_total{code="plan"} 1.0' in text
    assert "jhub_tokens_books_members 1.0" in text
    assert "jhub_tokens_books_balance_tokens 50.0" in text
    assert 'route="/api/v1/hub/admissions",status="201"' in text
    assert ada.name not in text
    health = await api().get("healthz")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
