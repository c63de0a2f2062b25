"""A catalogue in two languages: each is shown what things are called in their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.records import NoticeRecord
from jhub_tokens.service.notice_texts import notice_text
from jhub_tokens.service.serve import RunningService
from tests.service.conftest import CATALOGUE, NOON_MS, Api, Browser, Story, identity
from tests.service.stub_hub import User
from tests.service.test_account_pages import MORE, text_of

Browsers = Callable[[User], Browser]
CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9"}


@pytest.fixture
def catalogue_path(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.yaml"
    text = CATALOGUE + MORE
    for english, other in (
        ("title: Test\n", "title: {en: Test, zh: 测试}\n"),
        ("title: One GPU", "title: {en: One GPU, zh: 单 GPU}"),
        ("title: Pro", "title: {en: Pro, zh: 专业版}"),
        ("title: Vision", "title: {en: Vision, zh: 视觉组}"),
        ("top_up: Write to tokens@example.org.", "top_up: {en: Write to us., zh: 请写信给我们。}"),
    ):
        assert text.count(english) == 1
        text = text.replace(english, other)
    path.write_text(text)
    return path


async def test_pages_and_offers_speak_as_whoever_looks(
    story: Story, browser: Browsers, grace: User, hub_side: Api
) -> None:
    await story.join(grace)
    await story.run(grace, "gpu")
    await story.pass_ms(60_000)
    visitor = browser(grace)
    await visitor.sign_in("")
    for headers, said, other in (
        ({"Accept-Language": "en"}, ("One GPU", "Pro"), ("单 GPU", "专业版")),
        (CHINESE, ("单 GPU", "专业版"), ("One GPU", "Pro ")),
    ):
        visitor.client.headers.update(headers)
        for path in ("", "plan", "statement", "usage"):
            text = text_of(await visitor.get(path))
            assert any(word in text for word in said), (path, text)
            assert not any(word in text for word in other), (path, text)
        offers = await hub_side.post(
            "api/v1/hub/offers", {"member": identity(grace)}, headers=headers
        )
        titles = [offer["title"] for offer in offers.json()["offers"]]
        assert said[0] in titles and other[0] not in titles


async def test_refusals_and_what_to_do_instead_are_in_it(
    story: Story, ada: User, grace: User, hub_side: Api, boss: Api
) -> None:
    member = await story.join(ada)
    await story.join(grace)
    body = {"member": identity(grace), "start_key": "k" * 8, "profile": "gpu4"}
    refused = await hub_side.post("api/v1/hub/admissions", body, headers=CHINESE)
    assert refused.status_code == 403 and "单 GPU" in refused.text and "One GPU" not in refused.text
    refused = await boss.post(f"api/v1/members/{member}/trials", {"plan": "pro"}, headers=CHINESE)
    assert refused.json()["message"] == "套餐 专业版 没有试用。"


def test_a_notice_is_in_the_language_of_whom_it_is_for(
    running: RunningService, ledger: Ledger
) -> None:
    params: dict[str, object] = {"plan": "pro"}
    for language, said in (("zh", "专业版"), ("en", "Your plan is now Pro.")):
        notice = NoticeRecord("1", "m", "plan_changed", params, NOON_MS, language, None)
        catalogue = running.service.books.catalogue
        for spoken in (catalogue, catalogue.spoken("zh")):
            assert said in notice_text(notice, spoken, NOON_MS)


async def test_the_books_keep_one_name(
    story: Story, browser: Browsers, ada: User, boss: Api, ledger: Ledger
) -> None:
    member = await story.join(ada)
    done = await boss.post(
        f"api/v1/members/{member}/plan-changes", {"plan": "pro"}, headers=CHINESE
    )
    assert done.status_code < 300, done.text
    view = ledger.statement(member, 0, 1 << 42)
    assert [entry.reason for entry in view.entries if "→" in entry.reason] == ["Basic → Pro"]


async def test_the_hub_keeps_all_of_it_for_when_it_cannot_ask(hub_side: Api) -> None:
    for headers in ({}, CHINESE):
        kept = (await hub_side.get("api/v1/hub/catalogue", headers=headers)).json()
        assert (kept["title"], kept["others"]["zh"]["title"]) == ("Test", "测试")
        named = {item["plan"]: item for item in kept["plans"]}
        assert named["pro"]["title"] == "Pro" and named["pro"]["others"]["zh"]["title"] == "专业版"
