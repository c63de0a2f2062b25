"""Usage and the itemised statement: pages without JavaScript, files, and the API."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable
from decimal import Decimal

import pytest

from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.service.conftest import HOUR_MS, Api, Browser, Story, until
from tests.service.stub_hub import StubHub, User
from tests.service.test_pages import text_of

Browsers = Callable[[User], Browser]
DAY_MS = 24 * HOUR_MS


async def two_days(story: Story, user: User) -> str:
    """A member with six tokens on one profile and two on another, over two days."""
    member = await story.join(user)
    run = await story.run(user, "cpu", "night")
    await story.pass_ms(2 * HOUR_MS)
    await story.end(run["start_key"])
    await story.pass_ms(DAY_MS)
    run = await story.run(user, "gpu")
    await story.pass_ms(36 * 60_000)
    await story.end(run["start_key"])
    return member


async def test_the_page_of_usage(story: Story, grace: User, browser: Browsers) -> None:
    await two_days(story, grace)
    page = await browser(grace).sign_in("usage")
    seen = text_of(page.text)
    assert "Used 8" in seen
    assert "One GPU 6 75 % CPU 2 25 %" in seen
    assert "Wed 25 Nov 6.00 0.00 6.00" in seen
    assert "Tue 24 Nov 0.00 2.00 2.00" in seen
    assert "Sum 6.00 2.00 8.00" in seen
    assert "night CPU today" not in seen and "night CPU yesterday 10:00 CET 2 h · stopped 2" in seen
    chart = json.loads(html.unescape(page.text.partition('data-chart="')[2].partition('"')[0]))
    assert chart["labels"] == ["Tue 24 Nov", "Wed 25 Nov"]
    assert [one["values"] for one in chart["series"]] == [["0.000", "6.000"], ["2.000", "0.000"]]
    assert 'class="jt-heat-8" title="Wed 12:00: 6"' in page.text
    assert "style=" not in page.text, "the policy forbids it"


async def test_months_quarters_years_and_earlier_periods(
    story: Story, grace: User, browser: Browsers
) -> None:
    await two_days(story, grace)
    await story.pass_ms(31 * DAY_MS)
    run = await story.run(grace, "cpu")
    await story.pass_ms(HOUR_MS)
    await story.end(run["start_key"])
    visitor = browser(grace)
    month = text_of((await visitor.sign_in("usage")).text)
    assert "Used 1 " in month and "← Earlier" in month
    earlier = text_of((await visitor.get("usage?period=2026-11-24")).text)
    assert "Used 8 " in earlier and "Later →" in earlier
    year = text_of((await visitor.get("usage?span=year")).text)
    assert "Used 9 " in year and "December 2026" in year and "November 2026" in year
    assert "Used 9 " in text_of((await visitor.get("usage?span=quarter")).text)
    assert (await visitor.get("usage?period=1999-01-01")).status_code == 404
    assert (await visitor.get("usage?span=week")).status_code == 422


async def test_nothing_was_used(story: Story, grace: User, browser: Browsers) -> None:
    await story.join(grace)
    assert "Nothing was used in this time." in text_of((await browser(grace).sign_in("usage")).text)


async def test_usage_by_the_api(
    story: Story, grace: User, ada: User, hub: StubHub, api: Callable[..., Api]
) -> None:
    member = await two_days(story, grace)
    await story.join(ada)
    mine = api(hub.add_token(grace, "custom:jhub-tokens:read!user=grace"))
    told = (await mine.get("api/v1/members/me/usage")).json()
    assert [(day["day"], day["profile"], day["amount"]["tokens"]) for day in told["days"]] == [
        ("2026-11-24", "cpu", "2.000"),
        ("2026-11-25", "gpu", "6.000"),
    ]
    assert told["used"]["grains"] == str(8 * GRAINS_PER_TOKEN)
    statement = (await mine.get("api/v1/members/me/statement")).json()
    used = sum(int(x["amount"]["grains"]) for x in statement["lines"] if x["kind"] == "usage")
    assert used == -8 * GRAINS_PER_TOKEN
    answer = await mine.get("api/v1/members/me/usage.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sum(int(row["amount_grains"]) for row in rows) == 8 * GRAINS_PER_TOKEN
    assert [row["title"] for row in rows] == ["CPU", "One GPU"]
    theirs = api(hub.add_token(ada, "custom:jhub-tokens:read!user=ada"))
    for path in ("usage", "usage.csv", "statement.csv", "questions"):
        refused = await theirs.get(f"api/v1/members/{member}/{path}")
        assert refused.status_code == 403, path


async def test_the_statement_as_a_file_adds_up(
    story: Story, grace: User, hub: StubHub, api: Callable[..., Api]
) -> None:
    await two_days(story, grace)
    mine = api(hub.add_token(grace, "custom:jhub-tokens:read!user=grace"))
    answer = await mine.get("api/v1/members/me/statement.csv?period=current")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    balance = 0
    for row in rows:
        balance += int(row["amount_grains"])
        assert int(row["balance_grains"]) == balance
    assert balance == 292 * GRAINS_PER_TOKEN
    assert (await mine.get("api/v1/members/me/statement.csv?period=1999-01-01")).status_code == 404


async def test_each_session_opens_to_what_paid(
    story: Story, grace: User, browser: Browsers
) -> None:
    await two_days(story, grace)
    page = await browser(grace).sign_in("statement")
    seen = text_of(page.text)
    assert "yesterday 10:00 – 12:00 CET Monthly tokens until Wed 23 Dec 2.00" in seen
    sums = re.findall(r'jt-number[^>]*">([+−\d.,]+)<', page.text.partition("jt-sums")[2])[:4]
    opening, granted, used, closing = (Decimal(n.replace("−", "-")) for n in sums)
    assert opening + granted + used == closing == 292
    assert "Something is wrong with this charge" in seen


async def test_a_stop_button(story: Story, grace: User, ada: User, browser: Browsers) -> None:
    await story.run(grace, "cpu", "mine")
    await story.join(ada)
    await story.pass_ms(HOUR_MS)
    visitor, stranger = browser(grace), browser(ada)
    page = await visitor.sign_in()
    session = re.search(r'name="session_id" value="([^"]+)"', page.text)
    assert session is not None
    await stranger.sign_in()
    token = stranger.client.cookies.get("_xsrf", path="/services/tokens/")
    forged = {"_xsrf": token, "server_name": "mine", "session_id": session[1]}
    await stranger.client.post("/services/tokens/servers/stop", data=forged)
    receipt = await story.snapshot()
    assert receipt["stops"] == [], "another member's"
    done = await visitor.submit(page, "/servers/stop")
    assert done.status_code == 303
    back = await visitor.client.get(done.headers["location"])
    assert "The server is being stopped. Your files are kept." in text_of(back.text)

    async def ordered() -> bool:
        return bool((await story.snapshot())["stops"])

    await until(ordered, "the stop is ordered")
    (key,) = story.servers
    await story.end(key)
    again = await visitor.submit(page, "/servers/stop")
    back = await visitor.client.get(again.headers["location"])
    assert "This server is not running any more." in text_of(back.text)


async def test_a_stop_meant_for_an_earlier_run_stops_nothing(
    story: Story, grace: User, browser: Browsers
) -> None:
    await story.run(grace, "cpu", "mine")
    await story.pass_ms(HOUR_MS)
    visitor = browser(grace)
    page = await visitor.sign_in()
    (key,) = story.servers
    await story.end(key)
    await story.run(grace, "cpu", "mine")
    await story.pass_ms(HOUR_MS)
    await visitor.submit(page, "/servers/stop")
    await story.warden()
    assert (await story.snapshot())["stops"] == []


@pytest.mark.parametrize("path", ["", "usage", "usage?span=year", "statement"])
async def test_pages_in_chinese(story: Story, grace: User, browser: Browsers, path: str) -> None:
    await two_days(story, grace)
    visitor = browser(grace)
    visitor.client.headers["Accept-Language"] = "zh-CN"
    page = await visitor.sign_in(path)
    main = text_of(page.text.partition('jt-main">')[2])
    for name in ("One GPU", "CPU", "XXXX", "CSV", "JSON", "Pro", "Write to tokens@example.org",
                 "Europe/Berlin", "CET", "night", "grace"):  # fmt: skip
        main = main.replace(name, "")
    assert not re.findall(r"[A-Za-z]{3,}", main), main
