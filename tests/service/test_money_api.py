"""Refunds and vouchers over HTTP, and the voucher form."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jhub_tokens.ledger.voucher_codes import new_code
from tests.service.conftest import HOUR_MS, Api, Browser, Story, tokens
from tests.service.stub_hub import StubHub, User


@pytest.fixture
def own(hub: StubHub, grace: User, api: Callable[..., Api]) -> Api:
    return api(hub.add_token(grace, "custom:jhub-tokens:read!user=grace", "read:users!user=grace"))


def refund_order(**changes: str) -> dict[str, str]:
    return {"reason": "the disk had failed", "key": "key-of-this-refund", **changes}


async def test_a_session_is_refunded(story: Story, grace: User, boss: Api, own: Api) -> None:
    member = await story.join(grace)
    run = await story.run(grace, "gpu")
    await story.pass_ms(HOUR_MS)
    await story.end(run["start_key"])
    path = f"api/v1/sessions/{run['session_id']}/refund"
    answer = await boss.post(path, refund_order(tokens="4"))
    assert answer.status_code == 201, answer.text
    assert (tokens(answer.json()["amount"]), tokens(answer.json()["charged"])) == (4, 6)
    assert (await boss.post(path, refund_order(tokens="4"))).json() == answer.json()
    rest = await boss.post(path, refund_order(key="another-key"))
    assert tokens(rest.json()["balance"]) == 300
    nothing = await boss.post(path, refund_order(key="a-third-key"))
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_refund")
    assert (await own.post(path, refund_order(key="a-fourth-key"))).status_code == 403
    unknown = await boss.post("api/v1/sessions/none/refund", refund_order())
    assert unknown.status_code == 404
    bad = await boss.post(path, refund_order(tokens="a lot"))
    assert (bad.status_code, bad.json()["field"]) == (422, "tokens")
    statement = (await boss.get(f"api/v1/members/{member}/statement")).json()
    (line, _) = (line for line in statement["lines"] if line["kind"] == "refund")
    assert (line["actor"], line["reason"]) == ("admin", "the disk had failed")


def voucher_order(**changes: object) -> dict[str, object]:
    return {"count": 2, "tokens": "5", "key": "key-of-this-batch", **changes}


async def test_vouchers_are_made_listed_redeemed_and_withdrawn(
    story: Story, grace: User, boss: Api, own: Api
) -> None:
    await story.join(grace)
    made = await boss.post("api/v1/vouchers", voucher_order(expires="2026-12-31", note="course"))
    assert made.status_code == 201, made.text
    first, second = made.json()["codes"]
    path = "api/v1/members/me/vouchers"
    done = await own.post(path, {"code": first.lower()})
    assert (done.status_code, tokens(done.json()["balance"])) == (201, 305)
    assert (await own.post(path, {"code": first})).json() == done.json()
    again = await boss.post("api/v1/vouchers", voucher_order(expires="2026-12-31", note="course"))
    assert (again.status_code, again.json()["code"]) == (409, "batch_made")
    batch = made.json()["batch"]["batch_id"]
    revoked = await boss.post(f"api/v1/vouchers/{batch}/revoke", {})
    assert (revoked.json()["redeemed"], revoked.json()["revoked_by"]) == (1, "admin")
    refused = await own.post(path, {"code": second})
    assert (refused.status_code, refused.json()["code"]) == (409, "voucher_revoked")
    (listed,) = (await boss.get("api/v1/vouchers")).json()["batches"]
    assert (listed["vouchers"], listed["redeemed"], listed["note"]) == (2, 1, "course")
    for attempt in (
        own.get("api/v1/vouchers"),
        own.post("api/v1/vouchers", voucher_order()),
        own.post(f"api/v1/vouchers/{batch}/revoke", {}),
        boss.post(f"api/v1/members/{'x' * 8}/vouchers", {"code": second}),
    ):
        assert (await attempt).status_code == 403


async def test_wrong_codes_are_limited(story: Story, grace: User, own: Api) -> None:
    await story.join(grace)
    for _ in range(10):
        wrong = await own.post("api/v1/members/me/vouchers", {"code": new_code()})
        assert (wrong.status_code, wrong.json()["code"]) == (404, "unknown_voucher")
    wrong = await own.post("api/v1/members/me/vouchers", {"code": new_code()})
    assert (wrong.status_code, wrong.json()["code"]) == (429, "too_many_tries")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"count": 0}, "count"),
        ({"tokens": "0"}, "tokens"),
        ({"expires": "2026-02-30"}, "expires"),
        ({"expires": "2026-01-01"}, "expires"),
        ({"tokens_last_days": 0}, "tokens_last_days"),
    ],
)
async def test_a_bad_batch_is_refused_at_its_field(
    boss: Api, change: dict[str, object], field: str
) -> None:
    answer = await boss.post("api/v1/vouchers", voucher_order(**change))
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


async def test_the_voucher_form(
    story: Story, grace: User, boss: Api, browser: Callable[[User], Browser]
) -> None:
    await story.join(grace)
    code = (await boss.post("api/v1/vouchers", voucher_order())).json()["codes"][0]
    person = browser(grace)
    page = await person.sign_in()
    wrong = await person.submit(page, "vouchers/redeem", code="AAAA<")
    assert wrong.status_code == 422
    assert "look for a typing error" in wrong.text and "AAAA&lt;" in wrong.text
    empty = await person.submit(page, "vouchers/redeem", code="")
    assert "Write the voucher&#39;s code." in empty.text
    done = await person.submit(wrong, "vouchers/redeem", code=code)
    assert done.status_code == 303
    assert "5 tokens added. New balance: 305 tokens." in (await person.get("")).text
