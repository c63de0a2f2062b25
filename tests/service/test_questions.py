"""Questions about a charge: asked at the line, answered or refunded by an administrator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from jhub_tokens.ledger import Ledger
from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.service.conftest import HOUR_MS, Api, Browser, Story
from tests.service.stub_hub import StubHub, User
from tests.service.test_pages import text_of

Browsers = Callable[[User], Browser]
ASKED = {"category": "did_not_work", "text": "The GPU was not <b>there</b>."}


async def charged(story: Story, user: User, name: str = "") -> str:
    """A member with an ended session that cost ten tokens; returns the session."""
    run = await story.run(user, "gpu", name)
    await story.pass_ms(HOUR_MS)
    await story.end(run["start_key"])
    return str(run["session_id"])


async def ask(visitor: Browser, **changes: str) -> httpx.Response:
    page = await visitor.get("statement")
    return await visitor.submit(page, "/questions/ask", **{**ASKED, **changes})


async def test_asked_answered_and_told(
    story: Story, grace: User, admin: User, browser: Browsers, ledger: Ledger
) -> None:
    session = await charged(story, grace)
    await story.join(admin)
    visitor, office = browser(grace), browser(admin)
    await visitor.sign_in()
    done = await ask(visitor)
    assert done.status_code == 303
    assert done.headers["location"].endswith(f"statement?period=2026-11-24#{session}")
    page = await visitor.get("statement")
    seen = text_of(page.text)
    assert "The server did not work" in seen and "Waits for an answer." in seen
    assert "was not &lt;b&gt;there&lt;/b&gt;" in page.text
    assert "Something is wrong with this charge" not in seen, "asked once"
    listing = await office.sign_in("admin/questions")
    assert "grace · One GPU" in text_of(listing.text)
    done = await office.submit(
        listing, "/answer", answer="It was; see the log.", tokens="", act="answer"
    )
    assert done.status_code == 303
    back = await office.client.get(done.headers["location"])
    assert "The question of grace is answered." in text_of(back.text)
    assert "No question waits for an answer." in text_of(back.text)
    assert "It was; see the log." in text_of((await visitor.get("statement")).text)
    overview = text_of((await visitor.get("")).text)
    assert "Your question about the charge for One GPU is answered: It was; see" in overview
    assert ledger.wallet_view(ledger.member_by_name("grace").member_id).balance_grains == (  # type: ignore[union-attr]
        290 * GRAINS_PER_TOKEN
    )


async def test_refunded_with_the_answer(
    story: Story, grace: User, admin: User, browser: Browsers
) -> None:
    await charged(story, grace)
    await story.join(admin)
    visitor, office = browser(grace), browser(admin)
    await visitor.sign_in()
    await ask(visitor)
    listing = await office.sign_in("admin/questions")
    sent = {"answer": "The node had failed.", "tokens": "4", "act": "refund"}
    first = await office.submit(listing, "/answer", **sent)
    again = await office.submit(listing, "/answer", **sent)
    assert first.status_code == again.status_code == 303, "a double click"
    back = await office.client.get(first.headers["location"])
    assert "4 tokens given back to grace, with your answer." in text_of(back.text)
    seen = text_of((await visitor.get("statement")).text)
    assert "4 tokens given back The node had failed. admin" in seen
    assert "294.00" in seen
    assert seen.count("The node had failed.") == 2, "at the charge, and at the refund's line"


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"text": " "}, 422, "Write 3 to 2000 characters."),
        ({"text": "x" * 2001}, 422, "Write 3 to 2000 characters."),
        ({"category": "weather"}, 422, "Choose one of those listed."),
    ],
)
async def test_a_bad_question_comes_back(
    story: Story,
    grace: User,
    browser: Browsers,
    ledger: Ledger,
    changes: dict[str, str],
    status: int,
    words: str,
) -> None:
    await charged(story, grace)
    visitor = browser(grace)
    await visitor.sign_in()
    answer = await ask(visitor, **changes)
    assert answer.status_code == status
    assert words in text_of(answer.text)
    assert 'aria-invalid="true"' in answer.text
    if not changes.get("text"):
        assert "was not &lt;b&gt;there" in answer.text, "what was typed is kept"
    assert ledger.questions.listed()[1] == 0
    assert (await visitor.submit(answer, "/questions/ask", **ASKED)).status_code == 303


async def test_too_many_and_twice(story: Story, grace: User, browser: Browsers) -> None:
    for number in range(4):
        await charged(story, grace, f"s{number}")
    visitor = browser(grace)
    page = await visitor.sign_in("statement")
    for _ in range(3):
        assert (await ask(visitor)).status_code == 303
    fourth = await ask(visitor)
    assert fourth.status_code == 409
    assert "3 of your questions wait for an answer." in text_of(fourth.text)
    twice = await visitor.submit(page, "/questions/ask", **{**ASKED, "text": "Once more"})
    assert twice.status_code == 409
    assert "You have asked about this charge before" in text_of(twice.text)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"answer": ""}, 422, "Write 3 to 500 characters"),
        ({"act": "refund", "tokens": "plenty"}, 422, "Write a number of tokens"),
        ({"act": "refund", "tokens": "11"}, 409, "more than what this server was charged"),
    ],
)
async def test_a_bad_answer_comes_back(
    story: Story,
    grace: User,
    admin: User,
    browser: Browsers,
    fields: dict[str, str],
    status: int,
    words: str,
) -> None:
    await charged(story, grace)
    await story.join(admin)
    visitor, office = browser(grace), browser(admin)
    await visitor.sign_in()
    await ask(visitor)
    listing = await office.sign_in("admin/questions")
    sent = {"answer": "typed with care", "tokens": "7", "act": "answer", **fields}
    answer = await office.submit(listing, "/answer", **sent)
    assert answer.status_code == status, text_of(answer.text)
    assert words in text_of(answer.text)
    assert sent["answer"] in answer.text and f'value="{sent["tokens"]}"' in answer.text


async def test_by_the_api(
    story: Story, grace: User, ada: User, admin: User, hub: StubHub, api: Callable[..., Api]
) -> None:
    session = await charged(story, grace)
    for user in (ada, admin):
        await story.join(user)
    mine = api(hub.add_token(grace, "tokens!user=grace", "custom:jhub-tokens:read!user=grace"))
    order: dict[str, Any] = {"session_id": session, **ASKED}
    asked = await mine.post("api/v1/members/me/questions", order)
    assert asked.status_code == 201, asked.text
    assert (await mine.post("api/v1/members/me/questions", order)).json() == asked.json()
    question = asked.json()["question_id"]
    told = (await mine.get("api/v1/members/me/questions")).json()
    assert [q["question_id"] for q in told["questions"]] == [question]
    reader = api(hub.add_token(grace, "custom:jhub-tokens:read!user=grace"))
    refused = await reader.post("api/v1/members/me/questions", order)
    assert refused.status_code == 403, "a token for reading asks nothing"
    theirs = api(hub.add_token(ada, "tokens!user=ada", "custom:jhub-tokens:read!user=ada"))
    answer = await theirs.post("api/v1/members/me/questions", order)
    assert answer.status_code == 404, "another member's charge"
    for path in (f"api/v1/members/{asked.json()['member_id']}/questions", "api/v1/questions"):
        assert (await theirs.get(path)).status_code == 403
    said = {"text": "It did work."}
    path = f"api/v1/questions/{question}/answer"
    assert (await mine.post(path, said)).status_code == 403
    office = api(hub.add_token(admin, "custom:jhub-tokens:grant", "custom:jhub-tokens:read"))
    listed = (await office.get("api/v1/questions?state=open")).json()
    assert (listed["total"], listed["questions"][0]["name"]) == (1, "grace")
    odd = await office.post(path, {**said, "tokens": "3"})
    assert (odd.status_code, odd.json()["field"]) == (422, "tokens")
    answered = await office.post(path, {**said, "refund": True})
    assert answered.json()["answer"]["refunded"]["tokens"] == "10.000"
    assert (await office.post(path, {"text": "No."})).status_code == 409
    assert (await office.post("api/v1/questions/none/answer", said)).status_code == 404
    statement = (await mine.get("api/v1/members/me/statement")).json()
    (line,) = [x for x in statement["lines"] if x["kind"] == "usage"]
    assert line["question"]["answer"]["text"] == "It did work."
    assert [s["source"] for s in line["segments"]] == ["plan"]


async def test_members_do_not_see_the_office(story: Story, grace: User, browser: Browsers) -> None:
    await story.join(grace)
    page = await browser(grace).sign_in("admin/questions")
    assert page.status_code == 403
    assert not re.search(r"<form[^>]*answer", page.text)
