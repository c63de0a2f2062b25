"""The pages, as a browser without JavaScript sees them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jhub_tokens.ledger import Ledger
from jhub_tokens.service.serve import RunningService
from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.service.conftest import CATALOGUE, HOUR_MS, Browser, Story, until
from tests.service.stub_hub import StubHub, User

Browsers = Callable[[User], Browser]


def text_of(page: str) -> str:
    """Return what a person reads: no tags, single blanks."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


async def test_the_console_tells_the_whole_standing(
    story: Story, grace: User, browser: Browsers
) -> None:
    await story.run(grace, "gpu", "training")
    await story.run(grace, "cpu")
    await story.pass_ms(HOUR_MS)
    page = await browser(grace).sign_in()
    seen = text_of(page.text)
    assert "Balance Pro 289 tokens" in seen
    assert "Used in this period: 11 of 300" in seen
    assert "Then: 300 tokens by the plan Pro." in seen
    assert "Renews Thu 24 Dec 00:00 CET" in seen
    assert "Burn rate 11 tokens/h 2 servers running" in seen
    assert "training One GPU 10 tokens/h today 10:00 CET 10 tomorrow 13:16 CET Open" in seen
    assert "Runs out tomorrow 13:16 CET at the current rate" in seen
    assert "Monthly tokens 300 289 Thu 24 Dec 00:00 CET" in seen
    assert 'href="/hub/spawn/grace/training"' in page.text
    assert "tokens@example.org" in seen, "how to get more"


async def test_notices_are_shown_until_they_are_read(
    story: Story, ada: User, grace: User, browser: Browsers
) -> None:
    run = await story.run(ada, "cpu")
    await story.pass_ms(50 * HOUR_MS - 20_000)
    await story.end(run["start_key"])
    visitor = browser(ada)
    page = await visitor.sign_in()
    assert "was stopped because your balance is used up. Your files are kept." in text_of(page.text)
    # Another member cannot mark them, whatever ids that member sends.
    await story.join(grace)
    stranger = browser(grace)
    await stranger.sign_in()
    ids = re.findall(r'name="notice_id" value="([^"]+)"', page.text)
    token = stranger.client.cookies.get("_xsrf", path="/services/tokens/")
    forged = {"_xsrf": token, "notice_id": ids}
    await stranger.client.post("/services/tokens/notices/seen", data=forged)
    assert "was stopped because" in text_of((await visitor.get("")).text)
    shown = len(set(ids))
    answer = await visitor.submit(page, "/notices/seen")
    assert (answer.status_code, answer.headers["location"]) == (303, "/services/tokens/")
    left = set(re.findall(r'name="notice_id" value="([^"]+)"', (await visitor.get("")).text))
    assert len(left) == shown - 1


async def test_the_statement_page_adds_up_as_shown(
    story: Story, ada: User, browser: Browsers
) -> None:
    for minutes in (20, 20, 20):
        run = await story.run(ada, "cpu")
        await story.pass_ms(minutes * 60_000)
        await story.end(run["start_key"])
    visitor = browser(ada)
    page = await visitor.sign_in("statement")
    rows = re.findall(r"<tr.*?</tr>", page.text.partition('id="lines"')[2], re.S)
    numbers = [
        [n.replace("−", "-") for n in re.findall(r'<td class="jt-number[^>]*>([+−\d.,]+)<', row)]
        for row in rows
    ]
    (opening,), *lines, (closing,) = (n for n in numbers if n)
    total = float(opening) + sum(float(line[0]) for line in lines)
    assert total == pytest.approx(float(closing), abs=1e-9)
    assert closing == "49.00"
    assert "CPU · 20 min at 1 token/h · stopped" in text_of(page.text)
    wrong = await visitor.get("statement?period=1999-01-01")
    assert wrong.status_code == 404 and "No period of this member" in wrong.text


async def test_an_admin_finds_a_member_and_grants(
    story: Story, ada: User, admin: User, browser: Browsers, ledger: Ledger
) -> None:
    member = await story.join(ada)
    await story.join(admin)
    visitor = browser(admin)
    listing = await visitor.sign_in("admin?q=ad&state=active")
    assert f'href="/services/tokens/admin/members/{member}"' in listing.text
    page = await visitor.get(f"admin/members/{member}")
    sent = {"tokens": "12.5", "reason": "Workshop <b>on</b> trees", "kind": "topup"}
    first = await visitor.submit(page, "/grant", **sent)
    again = await visitor.submit(page, "/grant", **sent)
    assert first.status_code == again.status_code == 303, "a double click"
    assert ledger.wallet_view(member).balance_grains == int(62.5 * GRAINS_PER_TOKEN)
    back = await visitor.client.get(first.headers["location"])
    assert "12.5 tokens granted to ada. New balance: 62.5 tokens." in text_of(back.text)
    once = await visitor.client.get(first.headers["location"])
    assert "granted to ada" not in text_of(once.text), "said once"
    statement = await visitor.get(f"admin/members/{member}/statement")
    assert "Workshop &lt;b&gt;on&lt;/b&gt; trees" in statement.text, "escaped"
    changed = await visitor.submit(page, "/grant", **{**sent, "tokens": "99"})
    assert changed.status_code == 409
    assert "booked before with other content" in text_of(changed.text)
    assert ledger.wallet_view(member).balance_grains == int(62.5 * GRAINS_PER_TOKEN)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"tokens": "plenty"}, 422, "Write a number of tokens"),
        ({"tokens": "9999999999"}, 422, "more than a wallet can hold (2,500,000,000)"),
        ({"tokens": ""}, 422, "Write a number of tokens"),
        ({"tokens": "-5"}, 422, "A top-up is positive"),
        ({"tokens": "0"}, 422, "The amount is zero"),
        ({"reason": ""}, 422, "Give a reason of 3 to 500 characters"),
        ({"kind": "gift"}, 422, "Choose one of the kinds"),
        ({"kind": "adjustment", "tokens": "-51"}, 409, "no more can be taken back"),
    ],
)
async def test_a_bad_form_comes_back_with_the_error_and_the_input(
    story: Story,
    ada: User,
    admin: User,
    browser: Browsers,
    ledger: Ledger,
    fields: dict[str, str],
    status: int,
    words: str,
) -> None:
    member = await story.join(ada)
    await story.join(admin)
    visitor = browser(admin)
    page = await visitor.sign_in(f"admin/members/{member}")
    sent = {"tokens": "7", "reason": "typed with care", "kind": "topup", **fields}
    answer = await visitor.submit(page, "/grant", **sent)
    assert answer.status_code == status
    assert words in text_of(answer.text)
    assert f'value="{sent["tokens"]}"' in answer.text
    assert f'value="{sent["reason"]}"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert ledger.wallet_view(member).balance_grains == 50 * GRAINS_PER_TOKEN
    corrected = await visitor.submit(answer, "/grant", tokens="7", reason="right", kind="topup")
    assert corrected.status_code == 303, "the form that came back can be sent"


async def test_freezing_by_form(story: Story, ada: User, admin: User, browser: Browsers) -> None:
    member = await story.join(ada)
    await story.join(admin)
    visitor = browser(admin)
    page = await visitor.sign_in(f"admin/members/{member}")
    empty = await visitor.submit(page, "/freeze", reason=" ")
    assert empty.status_code == 422 and "Give a reason" in empty.text
    done = await visitor.submit(page, "/freeze", reason="unpaid fees")
    frozen = await visitor.client.get(done.headers["location"])
    assert "ada is frozen." in text_of(frozen.text)
    own = await browser(ada).sign_in()
    assert "Your membership is frozen" in text_of(own.text)
    done = await visitor.submit(frozen, "/unfreeze", reason="paid")
    active = await visitor.client.get(done.headers["location"])
    assert "ada is active again." in text_of(active.text)


async def test_forged_forms_do_nothing(
    story: Story, ada: User, admin: User, browser: Browsers, ledger: Ledger
) -> None:
    member = await story.join(ada)
    await story.join(admin)
    visitor, other = browser(admin), browser(ada)
    await visitor.sign_in(f"admin/members/{member}")
    await other.sign_in()
    target = f"/services/tokens/admin/members/{member}/grant"
    sent = {"tokens": "7", "reason": "a present", "kind": "topup", "key": "k" * 12}
    theirs = other.client.cookies.get("_xsrf", path="/services/tokens/")
    for token in ({}, {"_xsrf": "made up"}, {"_xsrf": theirs}):
        answer = await visitor.client.post(target, data={**sent, **token})
        assert answer.status_code == 403
        assert "This form has expired" in answer.text
    api = f"/services/tokens/api/v1/members/{member}/grants"
    body = {"tokens": "7", "reason": "a present", "key": "k" * 12}
    assert (await visitor.client.post(api, json=body)).status_code == 403, "nor the API by cookie"
    assert ledger.wallet_view(member).balance_grains == 50 * GRAINS_PER_TOKEN


async def test_pages_forbid_inline_code_and_foreign_frames(
    story: Story, ada: User, admin: User, browser: Browsers
) -> None:
    member = await story.join(ada)
    await story.join(admin)
    visitor = browser(admin)
    await visitor.sign_in()
    for path in ("", "statement", "admin", f"admin/members/{member}", "nowhere", "admin?page=0"):
        page = await visitor.get(path)
        policy = page.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in page.headers["Cache-Control"]
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", page.text)
        # What the page asks for is there, and of the version it names.
        for url in set(
            re.findall(r'(?:src|href)="(/services/tokens/(?:hub-)?static/[^"]+)"', page.text)
        ):
            file = await visitor.client.get(html.unescape(url))
            assert file.status_code == 200, url
            assert "immutable" in file.headers["Cache-Control"]


async def test_error_pages_have_the_navigation(
    story: Story, ada: User, browser: Browsers, running: RunningService
) -> None:
    await story.join(ada)
    visitor = browser(ada)
    await visitor.sign_in()
    missing = await visitor.get("nowhere/at/all")
    assert missing.status_code == 404
    closed = await visitor.get("admin")
    assert closed.status_code == 403
    for page in (missing, closed):
        assert 'href="/hub/home"' in page.text and "Logout" in page.text
        assert "Traceback" not in page.text
    escape = await visitor.client.get("/services/tokens/static/..%2fserve.py")
    assert escape.status_code in (403, 404)


async def test_strangers_are_sent_to_sign_in(running: RunningService, browser: Browsers) -> None:
    stranger = browser(User("nobody", 0, ""))
    for path in ("", "statement", "admin", "nowhere"):
        answer = await stranger.get(path)
        assert answer.status_code == 302
        assert "/hub/api/oauth2/authorize" in answer.headers["location"]
    posted = await stranger.client.post("/services/tokens/notices/seen", data={"notice_id": "1"})
    assert posted.status_code == 403
    assert "signed out meanwhile" in posted.text
    lost = await stranger.get("oauth_callback?code=1&state=2")
    assert lost.status_code == 403 and "Traceback" not in lost.text
    bare = await stranger.client.get("/services/tokens")
    assert bare.headers["location"] == "/services/tokens/"


async def test_shadow_mode_and_the_banner_are_said(
    story: Story, ada: User, browser: Browsers, catalogue_path: Path, running: RunningService
) -> None:
    changed = CATALOGUE.replace("enforce: true", "enforce: false\nbanner: Rates are <test> rates.")
    catalogue_path.write_text(changed)
    await until(lambda: not running.service.books.catalogue.enforce, "the new rules are read")
    await story.join(ada)
    page = await browser(ada).sign_in()
    assert "not enforced on this hub" in page.text
    assert "Rates are &lt;test&gt; rates." in page.text


@pytest.mark.parametrize(
    "name",
    ["zoë", "a@b.example", "Jean Luc", "..", "x" * 200, "<script>alert(1)</script>", "O'Neil&Co"],
)
async def test_unusual_names(
    name: str, story: Story, hub: StubHub, admin: User, browser: Browsers
) -> None:
    user = hub.add_user(name)
    member = await story.join(user)
    await story.run(user, "cpu", "server 1/ü")
    await story.join(admin)
    own = await browser(user).sign_in()
    assert own.status_code == 200
    assert html.escape(name, quote=False)[:20] in own.text.replace("&#39;", "'")
    assert "<script>alert" not in own.text
    page = await browser(admin).sign_in(f"admin/members/{member}")
    assert page.status_code == 200
    assert (await browser(user).sign_in("statement")).status_code == 200


async def test_answers_are_compressed_but_for_event_streams(
    story: Story, ada: User, browser: Browsers
) -> None:
    await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in()
    assert page.headers["Content-Encoding"] == "gzip"
    paddings = set()
    for _ in range(20):
        again = await visitor.client.get(page.url.path)
        paddings.add(len(again.headers["X-Padding"]))
    assert len(paddings) > 1, "how long a page is must not tell what is in it"
    plain = await visitor.client.get(page.url.path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert "X-Padding" not in plain.headers
    async with visitor.client.stream("GET", f"{page.url.path}events") as stream:
        assert stream.status_code == 200
        assert "Content-Encoding" not in stream.headers
