"""A member's pages in a real browser: live, in both languages, light and dark, on a telephone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys.demo_hub import DemoHub, artefacts, wait_until

pytestmark = pytest.mark.journey

_SHOTS = artefacts()
PAGES = {"overview": "", "usage": "usage", "statement": "statement"}


@pytest.fixture
def contexts(browser: Browser) -> Iterator[list[BrowserContext]]:
    opened: list[BrowserContext] = []
    yield opened
    for context in opened:
        context.close()


@pytest.fixture(scope="module")
def used(demo: DemoHub) -> DemoHub:
    """The demo after grace has used a CPU for a moment: there is something to show."""
    with demo.api(demo.token_of("admin")) as admin:
        admin.post("/hub/api/users/grace")
        started = admin.post("/hub/api/users/grace/server", json={"profile": "cpu"})
        assert started.status_code in (201, 202), started.text

        def server() -> dict[str, object]:
            user = admin.get("/hub/api/users/grace").json()
            return dict(user["servers"].get("", {}))

        def charged() -> bool:
            lines = demo.statement("grace")["lines"]
            return any(line["kind"] == "usage" and line["tokens"] != "0" for line in lines)

        wait_until(lambda: server().get("ready"), "grace's server is ready", 60)
        wait_until(charged, "it is charged")
        admin.delete("/hub/api/users/grace/server")
        wait_until(lambda: not server(), "grace's server has stopped", 60)
    return demo


class Visitor:
    """A person at a browser of their own, who notices what breaks."""

    def __init__(
        self, browser: Browser, opened: list[BrowserContext], demo: DemoHub, **options: object
    ) -> None:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options}  # type: ignore[arg-type]
        )
        context.set_default_timeout(20_000)
        opened.append(context)
        self.demo = demo
        self.page: Page = context.new_page()
        self.broken: list[str] = []
        self.page.on("pageerror", lambda error: self.broken.append(str(error)))
        self.page.on("console", self._noted)

    def _noted(self, message: object) -> None:
        text = str(getattr(message, "text", ""))
        if "Content Security Policy" in text:
            self.broken.append(text)

    def sign_in(self, name: str) -> None:
        self.page.goto(f"{self.demo.url}/hub/login")
        self.page.locator("#username_input").fill(name)
        self.page.locator("#password_input").fill("demo")
        self.page.locator("#login_submit, [type=submit]").first.click()
        self.page.wait_for_url(re.compile(r"/(hub/(home|spawn)|user/)"))

    def go(self, path: str) -> None:
        self.page.goto(f"{self.demo.url}/services/tokens/{path}")

    def shot(self, name: str) -> None:
        self.page.screenshot(path=_SHOTS / f"member-{name}.png", full_page=True)

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def start_cpu(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{visitor.demo.url}/hub/spawn")
    page.get_by_role("radio", name="CPU").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/user/*/lab**", timeout=60_000)


@pytest.mark.slow
def test_the_overview_lives(demo: DemoHub, browser: Browser, contexts: list[BrowserContext]):
    """A page that lies open shows a start, what it costs, a grant, and the end, by itself."""
    grace = Visitor(browser, contexts, demo)
    grace.sign_in("grace")
    grace.go("")
    page = grace.page
    expect(page.get_by_text("No server is running, so nothing is charged.")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    beside = Visitor(browser, contexts, demo)
    beside.sign_in("grace")
    start_cpu(beside)

    rows = page.locator("#overview table").first.locator("tbody tr")
    expect(rows).to_have_count(1, timeout=30_000)
    expect(page.get_by_role("button", name="Stop the server default")).to_be_visible()
    expect(page.locator("#overview-said")).to_contain_text("One server is running.")
    cost = page.locator("[data-live-cost]").first
    wait_until(lambda: float(cost.inner_text()) > 0, "the cost to be counted")
    before = float(cost.inner_text())
    wait_until(lambda: float(cost.inner_text()) > before, "the cost to grow by itself")
    grace.shot("overview-running")

    done = demo.command("grant", "grace", "7", "--reason", "a present while she watches")
    assert done.returncode == 0, done.stderr
    expect(page.get_by_text("a present while she watches")).to_be_visible(timeout=30_000)

    page.get_by_role("button", name="Stop the server default").click()
    expect(page.get_by_role("status").filter(has_text="is being stopped")).to_be_visible()
    expect(page.get_by_text("No server is running, so nothing is charged.")).to_be_visible(
        timeout=60_000
    )
    polls = [url for url in asked if "/api/v1/" in url]
    assert polls == [], "the page is told; it does not ask"
    streams = [url for url in asked if "/events?" in url]
    assert 1 <= len(streams) <= 4, streams
    assert grace.broken == [] and beside.broken == []


def test_usage_and_statement(used: DemoHub, browser: Browser, contexts: list[BrowserContext]):
    """What a server has cost: charts, files, what paid, a question and its answer."""
    grace = Visitor(browser, contexts, used)
    grace.sign_in("grace")
    page = grace.page
    grace.go("usage")
    expect(page.locator("#usage-chart canvas")).to_be_visible()
    chart = page.locator("#usage-chart .u-over")
    box = chart.bounding_box()
    assert box is not None
    chart.hover(position={"x": box["width"] - 5, "y": box["height"] / 2})  # today
    expect(page.locator(".jt-tip")).to_contain_text("CPU")
    expect(page.locator("#usage-table")).to_contain_text("CPU")
    grace.shot("usage")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert "amount_grains" in download.value.path().read_text(encoding="utf-8")
    page.get_by_role("link", name="Year").click()
    expect(page.get_by_role("heading", name="By month and profile")).to_be_visible()

    grace.go("statement")
    page.get_by_text("Which tokens paid").first.click()
    expect(page.locator(".jt-segment-list").first).to_contain_text("Monthly tokens")
    page.get_by_text("Something is wrong with this charge").first.click()
    page.get_by_label("What is wrong").first.select_option("did_not_work")
    page.get_by_label("What happened").first.fill("x")
    page.get_by_role("button", name="Ask the administrator").first.click()
    expect(page.locator(".invalid-feedback").first).to_be_visible()
    assert page.get_by_label("What happened").first.input_value() == "x", "typed values are kept"
    page.get_by_label("What happened").first.fill("The kernel died at once.")
    page.get_by_role("button", name="Ask the administrator").first.click()
    expect(page.get_by_text("Your question is sent.")).to_be_visible()
    expect(page.locator(".jt-question").first).to_contain_text("Waits for an answer.")
    grace.shot("statement-asked")
    page.emulate_media(media="print")
    page.pdf(path=_SHOTS / "member-statement.pdf")
    page.emulate_media(media="screen")

    admin = Visitor(browser, contexts, used)
    admin.sign_in("admin")
    admin.go("admin/questions")
    expect(admin.page.get_by_text("The kernel died at once.")).to_be_visible()
    admin.page.get_by_label("Your answer").fill("The image was broken that day.")
    admin.shot("questions")
    admin.page.get_by_role("button", name="Give back and answer").click()
    expect(admin.page.get_by_text("given back to grace")).to_be_visible()

    page.reload()
    expect(page.locator(".jt-question").first).to_contain_text("The image was broken that day.")
    expect(page.locator("#lines")).to_contain_text("Refund")
    grace.shot("statement-answered")
    assert grace.broken == [] and admin.broken == []


@pytest.mark.parametrize(
    ("width", "scheme", "locale"),
    [
        pytest.param(1280, "dark", "en-GB", marks=pytest.mark.slow),
        (390, "light", "zh-CN"),
        pytest.param(320, "dark", "zh-CN", marks=pytest.mark.slow),
        (320, "light", "en-GB"),
    ],
)
def test_every_page_on_every_screen(
    used: DemoHub,
    browser: Browser,
    contexts: list[BrowserContext],
    width: int,
    scheme: str,
    locale: str,
):
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    grace = Visitor(browser, contexts, used, locale=locale, **options)
    grace.sign_in("grace")
    for name, path in PAGES.items():
        grace.go(path)
        if name == "usage":
            expect(grace.page.locator("#usage-chart canvas")).to_be_visible()
        assert grace.overflow() <= 0, f"{name} is wider than {width} px"
        language = grace.page.locator("html").get_attribute("lang")
        assert language == ("zh-CN" if locale == "zh-CN" else "en")
        grace.shot(f"{name}-{width}-{scheme}-{locale[:2]}")
    assert grace.broken == []


def test_without_javascript(used: DemoHub, browser: Browser, contexts: list[BrowserContext]):
    """Everything can be read and every form sent."""
    grace = Visitor(browser, contexts, used)
    grace.sign_in("grace")
    plain = browser.new_context(java_script_enabled=False)
    contexts.append(plain)
    plain.add_cookies(contexts[0].cookies())  # type: ignore[arg-type]
    page = plain.new_page()
    for path, words in (
        ("", "Balance"),
        ("usage", "The same as a table"),
        ("statement", "Line by"),
    ):
        page.goto(f"{used.url}/services/tokens/{path}")
        expect(page.get_by_text(words).first).to_be_visible()
    page.get_by_text("Which tokens paid").first.click()
    expect(page.locator(".jt-segment-list").first).to_be_visible()
    page.goto(f"{used.url}/services/tokens/usage")
    page.get_by_label("Period").select_option(index=0)
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="Usage")).to_be_visible()
