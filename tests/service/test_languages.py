"""Refusals are in the language of whoever reads them, and what the books keep is in English."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from jhub_tokens.ledger import Ledger
from jhub_tokens.service.serve import RunningService
from jhub_tokens.service.settings import Settings
from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.service.conftest import CATALOGUE, HOUR_MS, Api, Browser, Story
from tests.service.stub_hub import StubHub, User
from tests.service.test_server_api import scopes_of

Browsers = Callable[[User], Browser]
CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}
WHY = {"reason": "a good one"}
KEYED = {**WHY, "key": "key-of-a-request"}
MORE = """
self_service: [upgrade, downgrade, pause]
top_ups: [{tokens: 40, price: 4.50 EUR}]
teams:
  vision: {title: Vision, group: vision, plan: enterprise, member_cap: 100, owners: [grace]}
"""


@pytest.fixture
def catalogue_path(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.yaml"
    path.write_text(
        CATALOGUE.replace("max_servers: 2", "max_servers: 2, spend_per_day: 0.05") + MORE
    )
    return path


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, payments="manual")


@pytest.fixture
def own(hub: StubHub, ada: User, api: Callable[..., Api]) -> Api:
    return api(hub.add_token(ada, "tokens!user=ada", "custom:jhub-tokens:read!user=ada"))


@pytest.fixture
async def vision(hub: StubHub, story: Story) -> str:
    """The team of this name, which begins with its first member."""
    await story.join(hub.add_user("ursula", groups=["vision"]))
    return "vision"


def text_of(page: Any) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page.text)))


def speak_chinese(ledger: Ledger, member_id: str) -> None:
    """Have a member choose Chinese on the page Settings."""
    ledger.member_settings.change(
        member_id,
        language="zh",
        follows_browser=False,
        zone=None,
        channels=(),
        urgency="info",
    )


#: Who asks what, and what is said in English and in Chinese. Nothing of it changes the books.
REFUSED: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    "plan: the same": (
        "boss", "members/{ada}/plan-changes", {"plan": "basic", **WHY},
        "The plan is Basic already.", "套餐已经是 Basic。",
    ),
    "plan: none such": (
        "boss", "members/{ada}/plan-changes", {"plan": "gold", **WHY},
        "There is no plan “gold”. Choose one of: basic, pro, enterprise.",
        "没有套餐“gold”。可选：basic, pro, enterprise。",
    ),
    "plan: smaller, at once": (
        "boss", "members/{grace}/plan-changes", {"plan": "basic", "when": "now", **WHY},
        "Basic has no more tokens than Pro", "Basic 的代币不多于 Pro",
    ),
    "trial": (
        "boss", "members/{ada}/trials", {"plan": "pro"},
        "The plan Pro has no trial.", "套餐 Pro 没有试用。",
    ),
    "grant: no amount": (
        "boss", "members/{ada}/grants", {"tokens": "1,5", "kind": "topup", **KEYED},
        "'1,5' is not an amount of tokens", "'1,5' 不是代币数量",
    ),
    "adjust: too much": (
        "boss", "members/{ada}/grants", {"tokens": "-60", "kind": "adjustment", **KEYED},
        "The balance is 50 tokens; no more can be taken back.",
        "额度为 50 代币，收回数量不能超过额度。",
    ),
    "refund": (
        "boss", "sessions/none/refund", KEYED, "There is no such session.", "没有这样的会话。",
    ),
    "share of a team": (
        "boss", "teams/vision/members/{ada}/cap", {"tokens": "5"},
        "The member is not in the team vision.", "该成员不在团队 vision 中。",
    ),
    "voucher: wrong": (
        "own", "members/me/vouchers", {"code": "ABCD"},
        "This is no valid voucher code", "这不是有效的兑换码",
    ),
    "vouchers: expired": (
        "boss", "vouchers",
        {"count": 2, "tokens": "5", "expires": "2026-01-31", "key": "key-of-vouchers"},
        "Vouchers cannot expire in the past", "兑换码的截止日期不能早于现在",
    ),
    "top-up": (
        "own", "members/me/invoices", {"tokens": "99"},
        "There is no such top-up. Top-ups have 40 tokens.",
        "没有这样的充值选项。 可选的充值数量：40 代币。",
    ),
    "fee": (
        "own", "members/me/fees", {"plan": "pro"},
        "There is no such plan that has a price.", "没有这样的收费套餐。",
    ),
    "invoice": (
        "boss", "invoices/none/paid", {}, "There is no such invoice.", "没有这样的付款单。",
    ),
    "question": (
        "boss", "questions/none/answer", {"text": "It was so.", "refund": False},
        "There is no such question.", "没有这样的疑问。",
    ),
    "month": (
        "boss", "finance/months/2026-11/close", {"reason": "month end"},
        "2026-11 is not over yet in Europe/Berlin", "2026-11 尚未结束",
    ),
    "zone": (
        "own", "members/me/settings", {"language": "en", "zone": "Mars/North"},
        "There is no such time zone", "没有这个时区",
    ),
    "scope": (
        "own", "members/{ada}/grants", {"tokens": "1", "kind": "topup", **KEYED},
        "You may not do this. It needs the scope custom:jhub-tokens:grant.",
        "您无权执行此操作。 需要权限 custom:jhub-tokens:grant。",
    ),
    "form: a field lacks": (
        "boss", "members/{ada}/grants", {"tokens": "1", "kind": "topup", "key": "abcdefgh"},
        "reason: Field required.", "reason：此字段必填。",
    ),
    "form: no such field": (
        "boss", "members/{ada}/trials", {"plan": "pro", "colour": "red"},
        "colour: there is no such field. Leave it out.", "colour：没有这个字段。 请去掉它。",
    ),
    "form: several": (
        "boss", "members/{ada}/grants", {"kind": "gift", "key": "x"},
        "more problems in this request.)", "（此请求还有 3 个问题。）",
    ),
}  # fmt: skip


async def test_the_api_refuses_in_the_language_that_is_asked_for(
    story: Story, ada: User, grace: User, vision: str, boss: Api, own: Api
) -> None:
    ids = {user.name: await story.join(user) for user in (ada, grace)}
    wrong = []
    for name, (who, path, body, english, chinese) in REFUSED.items():
        caller = boss if who == "boss" else own
        for headers, wanted in (({}, english), (CHINESE, chinese)):
            answer = await caller.post(f"api/v1/{path.format(**ids)}", body, headers=headers)
            said = answer.json()
            text = f"{said.get('message')} {said.get('remedy')}"
            if answer.status_code < 400 or wanted not in text:
                wrong.append((name, answer.status_code, text))
    assert not wrong


async def test_statements_and_reports_refuse_in_it_too(story: Story, ada: User, boss: Api) -> None:
    member = await story.join(ada)
    for path, words in {
        f"members/{member}/statement?period=2020-01-01": "该成员没有从 2020-01-01 开始的周期。",
        f"members/{member}/statement?period=last": "period：请写 current，或周期开始的日期",
        f"members/{member}/statement?as_of=2030-01-01": "该时刻尚未到来",
        f"members/{member}/statement?as_of=yesterday": "没有这个时刻",
        "finance/report?from_month=2026-11&to_month=2026-10": "起始月份在前",
        "members/nobody": "没有这样的成员。",
        "nothing/at/all": "API 没有这个路径。",
    }.items():
        answer = await boss.get(f"api/v1/{path}", headers=CHINESE)
        assert answer.status_code >= 400 and words in answer.text, (path, answer.text)


async def test_who_writes_a_date_wrongly_is_not_shown_a_regular_expression(
    story: Story, ada: User, boss: Api
) -> None:
    member = await story.join(ada)
    batch = {"tokens": "1", "count": 1, "key": "vouchers-of-may"}
    for answer, words in (
        (
            await boss.get(f"api/v1/members/{member}/statement?period=last"),
            "period: write “current”, or the day a period begins, such as 2026-11-01.",
        ),
        (
            await boss.get("api/v1/finance/report?from_month=May&to_month=2026-10"),
            "from_month: write a month such as 2026-11.",
        ),
        (
            await boss.post("api/v1/vouchers", {**batch, "expires": "soon"}),
            "expires: write a day such as 2027-03-31.",
        ),
        (
            await boss.post("api/v1/vouchers", {**batch, "key": "vouchers of May"}),
            "key: write letters, digits and signs of ASCII, without spaces.",
        ),
    ):
        assert (answer.status_code, answer.json()["message"]) == (422, words)


async def test_pages_refuse_in_the_member_s_language(
    story: Story, browser: Browsers, ada: User, grace: User, vision: str, ledger: Ledger
) -> None:
    await story.join(ada)
    speak_chinese(ledger, await story.join(grace))
    visitor = browser(grace)
    visitor.client.headers["Accept-Language"] = "en"
    page = await visitor.sign_in("plan")
    wrong = await visitor.submit(page, "plan/voucher", code="ABCD")
    assert "这不是有效的兑换码" in text_of(wrong)
    token = {"_xsrf": re.findall(r'name="_xsrf" value="([^"]*)"', page.text)[0]}
    # Buying what is not sold, and taking back a change that there is not.
    for path, form, words in (
        ("plan/top-up", {"tokens": "99", "key": "key-of-a-form"}, "没有这样的充值选项。"),
        ("plan/keep", {"change_id": "none"}, "没有这样的套餐变更。"),
    ):
        answer = await visitor.client.post(f"/services/tokens/{path}", data={**token, **form})
        assert answer.status_code >= 400 and words in text_of(answer), path
    team = await visitor.get("teams/vision")
    invited = await visitor.submit(team, "/invite", name="nobody")
    assert "这里没有叫这个名字的成员" in text_of(invited)
    share = await visitor.submit(team, "/share", tokens="many")
    assert "'many' 不是代币数量" in text_of(share)
    answer = await visitor.get("nothing/here")
    assert (answer.status_code, "没有这个页面。" in answer.text) == (404, True)


async def test_a_start_is_refused_in_the_member_s_language(
    story: Story, ada: User, grace: User, vision: str, ledger: Ledger
) -> None:
    for user in (ada, grace):
        speak_chinese(ledger, await story.join(user))
    for options, words in (
        ({"payer": "vision"}, "您不在团队 Vision 中。"),
        ({"payer": "others"}, "没有团队“others”。"),
        ({"image": "tf1"}, "没有镜像“tf1”。 请选择其中之一：tf2.9-cpu。"),
        ({"image": "tf2.9-gpu"}, "镜像 tf2.9-gpu 不适用于 CPU。"),
        ({"gpu_model": "T4"}, "CPU 没有 GPU 型号“T4”，可用的有：无。"),
    ):
        answer = await story.admit(ada, "cpu", **options)
        assert answer.status_code >= 400 and words in answer.json()["message"], answer.text
    limited = (await story.admit(grace, "cpu")).json()["message"]
    assert limited.startswith("今天的消费限额为 0.05 代币，比 CPU 所需少 0.08。"), limited


async def test_a_server_is_refused_in_its_owner_s_language(
    story: Story, ada: User, hub: StubHub, api: Callable[..., Api], ledger: Ledger
) -> None:
    speak_chinese(ledger, await story.join(ada))
    server = api(hub.add_token(ada, *scopes_of(ada)))  # which says nothing of languages
    none = await server.post("api/v1/server/stop", {})
    assert none.json()["message"] == "根据账簿记录，这台服务器没有在运行。"
    await story.run(ada, "cpu")
    kept = await server.post("api/v1/server/keep-running", {"for_ms": 9 * HOUR_MS})
    assert kept.json()["message"] == "这台服务器从现在起最多可保持运行 480 分钟。"


async def test_an_administrator_s_forms_say_it_in_the_language_of_the_page(
    story: Story, browser: Browsers, ada: User, admin: User, ledger: Ledger
) -> None:
    member = await story.join(ada)
    speak_chinese(ledger, await story.join(admin))
    visitor = browser(admin)
    page = await visitor.sign_in(f"admin/members/{member}")
    answer = await visitor.submit(
        page, "/grant", tokens="-60", kind="adjustment", reason="booked twice"
    )
    assert answer.status_code == 409
    assert "额度为 50 代币，收回数量不能超过额度。" in text_of(answer)
    answer = await visitor.submit(page, "/plan", plan="basic", when="", reason="as it is")
    assert "套餐已经是 Basic。" in text_of(answer)


async def test_what_a_line_of_an_act_was_refused_for_is_kept_in_english_and_told_anew(
    story: Story,
    browser: Browsers,
    ada: User,
    grace: User,
    admin: User,
    hub: StubHub,
    ledger: Ledger,
) -> None:
    both = [await story.join(user) for user in (ada, grace)]
    speak_chinese(ledger, await story.join(admin))
    other = hub.add_user("other", admin=True)
    await story.join(other)
    visitor, reader = browser(admin), browser(other)
    page = await visitor.sign_in("admin")
    asked = await visitor.submit(page, "/bulk", action="adjustment", member=both)
    page = await visitor.submit(asked, "/bulk", tokens="-60", reason="booked twice")
    answer = await visitor.submit(page, "/confirm")
    done = await visitor.client.get(answer.headers["location"])
    assert "额度为 50 代币，收回数量不能超过额度。" in text_of(done), "in the language of who reads"
    act_id = answer.headers["location"].rpartition("/")[2]
    act = ledger.oversight.bulk_act(act_id, 10)
    assert act is not None
    kept = [item.message for item in act.items if item.state == "refused"]
    assert kept == ["The balance is 50 tokens; no more can be taken back."]
    await reader.sign_in("admin")
    read = await reader.client.get(answer.headers["location"])
    assert kept[0] in text_of(read), "another reader has another language"


async def test_why_the_books_are_closed_is_told_in_it_too(
    running: RunningService, ada: User, boss: Api
) -> None:
    books = running.service.books
    opened, books._ledger = books._ledger, None
    try:
        answer = await boss.get("api/v1/members/me", headers=CHINESE)
    finally:
        books._ledger = opened
    assert (answer.status_code, answer.json()["message"]) == (503, "代币服务正在启动。")


async def test_a_provider_s_delivery_is_refused_in_english(api: Callable[..., Api]) -> None:
    answer = await api().post("payments/stripe", {}, headers=CHINESE)
    assert answer.json()["message"] == "No such payment provider is set up."


async def test_an_invoice_that_was_ordered_is_marked_once_in_any_language(
    story: Story, ada: User, boss: Api, own: Api, ledger: Ledger
) -> None:
    member = await story.join(ada)
    ordered = await own.post("api/v1/members/me/invoices", {"tokens": "40"}, headers=CHINESE)
    path = f"api/v1/invoices/{ordered.json()['invoice_id']}/paid"
    assert (await boss.post(path, {}, headers=CHINESE)).status_code == 200
    assert ledger.wallet_view(member).balance_grains == 90 * GRAINS_PER_TOKEN
    reasons = [entry.reason for entry in _entries(ledger, member)]
    assert all(reason.isascii() for reason in reasons), "the books speak English"


def _entries(ledger: Ledger, member_id: str) -> Any:
    start_ms, end_ms = ledger.periods(member_id)[0]
    return ledger.statement(member_id, start_ms, end_ms).entries
