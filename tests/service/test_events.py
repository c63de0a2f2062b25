"""Open pages are told of what changes: who may listen, what is sent, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from jhub_tokens.service import live
from jhub_tokens.service.live import LiveStreams
from jhub_tokens.service.serve import RunningService
from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.service.conftest import HOUR_MS, PREFIX, Api, Browser, Story, until
from tests.service.stub_hub import StubHub, User

Browsers = Callable[[User], Browser]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REST_S", 0.01)
    monkeypatch.setattr(live, "LOOK_AGAIN_S", 0.05)


class Listener:
    """Reads a stream as the page's script does."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.pieces = answer.aiter_text()
        self.rest = ""

    async def message(self, name: str = "overview") -> Any:
        """Return the data of the next event of this name; fails after some seconds."""
        async with asyncio.timeout(15):
            while True:
                while "\n\n" not in self.rest:
                    self.rest += await anext(self.pieces)
                message, _, self.rest = self.rest.partition("\n\n")
                fields = dict(line.partition(": ")[::2] for line in message.splitlines())
                if name in (fields.get("event"), message):
                    return json.loads(fields["data"]) if "data" in fields else message

    async def html(self, *words: str) -> str:
        """Return the next page that holds `words`; one write may send several pages."""
        while True:
            html = str((await self.message())["html"])
            if all(word in html for word in words):
                return html

    async def ended(self) -> bool:
        async with asyncio.timeout(15):
            async for _piece in self.pieces:
                pass
        return True


@asynccontextmanager
async def listening(visitor: Browser, stamp: str = "") -> AsyncIterator[Listener]:
    token = visitor.client.cookies.get("_xsrf", path=PREFIX)
    headers = {"X-XSRFToken": str(token), "Sec-Fetch-Mode": "cors"}
    address = f"{PREFIX}events?stamp={stamp}"
    async with visitor.client.stream("GET", address, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Listener(answer)


def stamp_of(page: str) -> str:
    return page.partition('data-stamp="')[2].partition('"')[0]


async def test_a_page_is_told_of_a_start_a_grant_and_an_end(
    story: Story, grace: User, browser: Browsers, running: RunningService
) -> None:
    member = await story.join(grace)
    visitor = browser(grace)
    page = await visitor.sign_in()
    async with listening(visitor, stamp_of(page.text)) as stream:
        run = await story.run(grace, "gpu", "training")
        html = await stream.html()
        while "10 tokens/h" not in html or "starting" in html:
            html = await stream.html()  # a start and its readiness may come apart
        assert "training" in html and 'name="_xsrf" value="' in html
        ledger = running.service.books.ledger
        # As another replica or the command line does, which tells this process nothing.
        await asyncio.to_thread(
            ledger.grant, member, amount_grains=5 * GRAINS_PER_TOKEN, kind="topup", actor="a",
            reason="because", caller="test", key="grant-key-1",
        )  # fmt: skip
        await stream.html("5 tokens added to your balance")
        await story.pass_ms(HOUR_MS)
        await story.end(run["start_key"])
        await stream.html("No server is running")


async def test_a_page_that_is_up_to_date_is_told_nothing(
    story: Story, grace: User, ada: User, browser: Browsers, running: RunningService
) -> None:
    await story.join(grace)
    visitor = browser(grace)
    page = await visitor.sign_in()
    streams = running.service.live
    async with listening(visitor, stamp_of(page.text)) as stream:
        looks = streams.looks
        await story.run(ada, "cpu")  # another member
        await until(lambda: streams.looks > looks + 2, "the books are looked at")
        await story.run(grace, "cpu", "mine")
        assert "mine" in await stream.html(), "the first that comes is about this member"


async def test_a_page_that_was_away_is_brought_up_to_date(
    story: Story, grace: User, browser: Browsers
) -> None:
    await story.join(grace)
    visitor = browser(grace)
    page = await visitor.sign_in()
    await story.run(grace, "cpu", "meanwhile")
    async with listening(visitor, stamp_of(page.text)) as stream:
        assert "meanwhile" in await stream.html()
    await until(lambda: not story.running.service.live._streams, "the page is let go of")


async def test_silence_is_broken_and_streams_end(
    story: Story, grace: User, browser: Browsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await story.join(grace)
    visitor = browser(grace)
    page = await visitor.sign_in()
    monkeypatch.setattr(live, "BEAT_S", 0.02)
    async with listening(visitor, stamp_of(page.text)) as stream:
        assert await stream.message(": ") == ": "
        monkeypatch.setattr(live, "AGE_MAX_S", 0.05)
    async with listening(visitor, stamp_of(page.text)) as stream:
        assert await stream.ended()


async def test_who_may_not_listen(
    story: Story, hub: StubHub, ada: User, grace: User, browser: Browsers, api: Callable[..., Api]
) -> None:
    await story.join(grace)
    visitor = browser(grace)
    await visitor.sign_in()
    forged = await visitor.client.get(PREFIX + "events", headers={"Sec-Fetch-Mode": "cors"})
    assert forged.status_code == 403, "a foreign page's script has no token"
    nobody = await api().get("events")
    assert (nobody.status_code, "text/plain" in nobody.headers["content-type"]) == (401, True)
    stranger = browser(ada)
    await stranger.sign_in()
    token = stranger.client.cookies.get("_xsrf", path=PREFIX)
    answer = await stranger.client.get(
        PREFIX + "events", headers={"X-XSRFToken": str(token), "Sec-Fetch-Mode": "cors"}
    )
    assert answer.status_code == 404, "who is no member yet"


async def test_so_many_pages_of_one_member(
    story: Story, grace: User, browser: Browsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await story.join(grace)
    visitor = browser(grace)
    await visitor.sign_in()
    monkeypatch.setattr(live, "PER_MEMBER_MAX", 1)
    token = visitor.client.cookies.get("_xsrf", path=PREFIX)
    async with listening(visitor):
        headers = {"X-XSRFToken": str(token), "Sec-Fetch-Mode": "cors"}
        answer = await visitor.client.get(PREFIX + "events", headers=headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
        monkeypatch.setattr(live, "IN_ALL_MAX", 1)
        answer = await visitor.client.get(PREFIX + "events", headers=headers)
        assert answer.status_code == 503
        metrics = story.running.service.metrics.exposition().decode()
        assert "jhub_tokens_event_streams 1.0" in metrics


async def test_streams_end_with_the_service(
    story: Story, grace: User, browser: Browsers, running: RunningService
) -> None:
    await story.join(grace)
    visitor = browser(grace)
    page = await visitor.sign_in()
    async with listening(visitor, stamp_of(page.text)) as stream:
        running.service.live.close()
        assert await stream.ended()
    token = visitor.client.cookies.get("_xsrf", path=PREFIX)
    headers = {"X-XSRFToken": str(token), "Sec-Fetch-Mode": "cors"}
    assert (await visitor.client.get(PREFIX + "events", headers=headers)).status_code == 503


async def test_the_page_s_language_is_the_stream_s(
    story: Story, grace: User, browser: Browsers
) -> None:
    await story.join(grace)
    visitor = browser(grace)
    visitor.client.headers["Accept-Language"] = "zh-CN"
    await visitor.sign_in()
    async with listening(visitor) as stream:
        assert "额度" in await stream.html()


async def test_five_hundred_streams_are_looked_for_in_one_question(
    story: Story, running: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What streams cost while nothing happens: one read of the books a look, for all of them."""
    ledger = running.service.books.ledger
    asked: list[int] = []
    real = ledger.wallet_stamps

    def counted(members: list[str]) -> Any:
        asked.append(len(members))
        return real(members)

    monkeypatch.setattr(ledger, "wallet_stamps", counted)
    streams = LiveStreams(running.service.books, running.service.workers, running.service.metrics)
    held = [streams.joined(f"member-{number}", "") for number in range(501)]
    for each in held:
        each.__enter__()
    await streams._look()
    assert asked == [500, 1]
    for each in held:
        each.__exit__(None, None, None)
    assert not streams._streams
