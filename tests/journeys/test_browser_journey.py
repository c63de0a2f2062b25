"""The whole story in a real browser: what a member and the admin see, click and read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys.demo_hub import DemoHub, artefacts, wait_until

pytestmark = pytest.mark.journey

_SHOTS = artefacts()


@pytest.fixture
def contexts(browser: Browser) -> Iterator[list[BrowserContext]]:
    opened: list[BrowserContext] = []
    yield opened
    for context in opened:
        context.close()


@pytest.fixture(autouse=True)
def _failure_shot(contexts: list[BrowserContext], request: pytest.FixtureRequest) -> Iterator[None]:
    failed_before = request.session.testsfailed
    yield
    if request.session.testsfailed > failed_before:
        for number, page in enumerate(page for context in contexts for page in context.pages):
            page.screenshot(path=_SHOTS / f"failed-{number}.png", full_page=True)


class Visitor:
    """A person at a browser of their own."""

    def __init__(self, browser: Browser, opened: list[BrowserContext], demo: DemoHub) -> None:
        context = browser.new_context(viewport={"width": 1200, "height": 900}, locale="en-GB")
        context.set_default_timeout(20_000)
        opened.append(context)
        self.demo = demo
        self.page: Page = context.new_page()
        self.broken: list[str] = []
        self.page.on("pageerror", lambda error: self.broken.append(str(error)))

    def go(self, path: str) -> None:
        self.page.goto(self.demo.url + path)

    def sign_in(self, name: str) -> None:
        self.go("/hub/login")
        self.page.locator("#username_input").fill(name)
        self.page.locator("#password_input").fill("demo")
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(re.compile(r"/(hub/(home|spawn)|user/)"))

    def shot(self, name: str) -> None:
        self.page.screenshot(path=_SHOTS / f"{name}.png", full_page=True)

    def shot_dark(self, name: str) -> None:
        """Take the page in both colour schemes."""
        self.shot(name)
        self.page.emulate_media(color_scheme="dark")
        self.page.reload()
        self.shot(f"{name}-dark")
        self.page.emulate_media(color_scheme="light")
        self.page.reload()

    def write_file(self, name: str, text: str) -> None:
        """Save a file in the running server, as JupyterLab does."""
        status = self.page.evaluate(
            """async ([name, content]) => {
                const base = JSON.parse(
                    document.getElementById("jupyter-config-data").textContent).baseUrl;
                const xsrf = /_xsrf=([^;]*)/.exec(document.cookie)[1];
                const answer = await fetch(`${base}api/contents/${name}`, {
                    method: "PUT", headers: {"X-XSRFToken": xsrf},
                    body: JSON.stringify({type: "file", format: "text", content}),
                });
                return answer.status;
            }""",
            [name, text],
        )
        assert status in (200, 201)

    def start_cpu(self) -> None:
        self.go("/hub/spawn")
        self.page.get_by_role("radio", name="CPU").check()
        self.page.get_by_role("button", name="Start").click()
        self.page.wait_for_url("**/user/*/lab**", timeout=60_000)
        expect(self.page.locator(".jp-Launcher").first).to_be_visible(timeout=60_000)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def stop_server(self) -> None:
        """Press the hub's own button, which does nothing before its script is there."""
        self.page.wait_for_function("window._jupyterhub_page_loaded")
        self.page.locator("a#stop").click()


def test_story(demo: DemoHub, browser: Browser, contexts: list[BrowserContext]):
    # 1. The sign-in page names the members; each has a plan and this month's tokens.
    ada = Visitor(browser, contexts, demo)
    page = ada.page
    ada.go("/")
    for name in ("ada", "grace", "edsger", "admin"):
        expect(page.locator(f'.jt-demo-member[data-name="{name}"]')).to_be_visible()
    ada.shot("01-sign-in")
    page.locator('.jt-demo-member[data-name="ada"]').click()
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/hub/**")

    # 2. Cards with rates and "lasts until"; what the plan does not include is closed, and why.
    ada.go("/hub/spawn")
    cpu, gpu = (page.locator(f'.jt-card[data-profile="{name}"]') for name in ("cpu", "gpu"))
    expect(cpu).to_contain_text("4 cores")
    expect(cpu).to_contain_text("720 tokens/h")
    expect(cpu).to_contain_text("Lasts until")
    expect(gpu.get_by_role("radio")).to_be_disabled()
    expect(gpu.locator(".jt-reason")).to_contain_text("plan")
    expect(page.locator("#jt-banner")).to_contain_text("one minute costs what one hour would cost")
    ada.shot_dark("02-spawn")
    refuse_handmade_form(ada)

    # 3. Start: a real JupyterLab. A file is written that must survive.
    ada.start_cpu()
    ada.shot("03-lab")
    ada.write_file("kept.txt", "still here")

    # 4. Home and console show balance, burn rate and when it runs out.
    ada.go("/hub/home")
    expect(page.locator("#jt-burn")).to_contain_text("720 tokens per hour")
    expect(page.locator("#jt-runs-out")).to_be_visible()
    ada.shot("04-home-running")
    page.locator("#jt-nav-balance").click()
    expect(page.locator("[data-live-balance]").first).to_be_visible()
    expect(page.get_by_role("heading", name="Runs out")).to_be_visible()
    ada.shot("05-console-running")

    # 5. Warned, then stopped through the hub: the route is gone, and every page says why.
    def stopped() -> bool:
        ada.go("/hub/home")
        return page.get_by_text("was stopped because your balance is used up").count() > 0

    wait_until(stopped, "ada's home page to say that the server was stopped", 60)
    wait_until(lambda: not page_has_running_server(ada), "ada's server to be gone", 30)
    ada.go("/hub/home")
    expect(page.locator(".jt-notice").first).to_contain_text("Your files are kept")
    ada.shot_dark("06-home-stopped")
    ada.go("/user/ada/lab")
    assert "/hub/" in page.url, page.url
    ada.go("/hub/spawn")
    expect(cpu.get_by_role("radio")).to_be_disabled()
    expect(cpu.locator(".jt-reason")).to_contain_text("tokens")
    expect(page.locator(".jt-notice").first).to_be_visible()
    ada.shot("07-spawn-dry")

    # The admin grants tokens, with a reason.
    admin = Visitor(browser, contexts, demo)
    admin.sign_in("admin")
    admin.go("/hub/home")
    admin.page.locator("#jt-nav-members").click()
    expect(admin.page.get_by_role("heading", name="Members")).to_be_visible()
    admin.shot_dark("08-members")
    admin.page.get_by_role("link", name="ada", exact=True).click()
    admin.page.get_by_label("Tokens", exact=True).fill("1,5,0x")
    admin.page.get_by_label("Reason").first.fill("to finish the exercise")
    admin.page.get_by_role("button", name="Grant").click()
    expect(admin.page.locator("#tokens-error")).to_be_visible()
    expect(admin.page.get_by_label("Reason").first).to_have_value("to finish the exercise")
    admin.page.get_by_label("Tokens", exact=True).fill("20")
    admin.page.get_by_role("button", name="Grant").click()
    expect(admin.page.get_by_role("status").first).to_contain_text("20")
    admin.shot("09-member-granted")

    # Ada starts again, finds her file, and stops the server herself.
    ada.start_cpu()
    ada.go("/user/ada/files/kept.txt")
    expect(page.locator("body")).to_contain_text("still here")
    ada.go("/hub/home")
    ada.stop_server()
    wait_until(lambda: not page_has_running_server(ada), "the server to be stopped", 30)

    # 6. The statement: what a person adds up from the page is the balance on it.
    ada.go("/services/tokens/statement")
    check_statement(page)
    expect(page.locator("#lines")).to_contain_text("to finish the exercise")
    ada.shot_dark("10-statement")
    statement = demo.statement("ada")
    usage = [line for line in statement["lines"] if line["kind"] == "usage"]
    assert len({line["session_id"] for line in usage}) == 2
    for line in usage:
        cost = (line["to_ms"] - line["from_ms"]) * line["rate_mtok_h"]
        assert -int(line["amount"]["grains"]) == cost > 0

    narrow = page.viewport_size
    page.set_viewport_size({"width": 360, "height": 740})
    for path, name in (("/hub/spawn", "spawn"), ("/services/tokens/", "console")):
        ada.go(path)
        ada.shot(f"11-narrow-{name}")
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"{path} is {overflow} px wider than a telephone"
    assert narrow
    assert ada.broken == [] and admin.broken == []


def refuse_handmade_form(visitor: Visitor) -> None:
    """Post the spawn form for closed and unknown profiles, as no button on it would."""
    for profile in ("gpu", "gpu4", "quantum"):
        status, text = visitor.page.evaluate(
            """async (profile) => {
                const form = new FormData(document.getElementById("spawn_form"));
                form.set("profile", profile);
                const answer = await fetch(document.getElementById("spawn_form").action || "",
                    {method: "POST", body: form});
                return [answer.status, await answer.text()];
            }""",
            profile,
        )
        assert 200 <= status < 500, (profile, status)
        assert "alert" in text or "error" in text.lower(), profile
        assert "Traceback" not in text
    visitor.go("/hub/spawn")  # no server runs or is pending: the form is there again
    expect(visitor.page.locator("#jt-selector")).to_be_visible()


def page_has_running_server(visitor: Visitor) -> bool:
    visitor.go("/services/tokens/")
    return visitor.page.get_by_text("No server is running").count() == 0


def check_statement(page: Page) -> None:
    """Add up the page with pencil and paper."""

    def number(text: str) -> Decimal:
        return Decimal(text.strip().replace("−", "-").replace(",", "").lstrip("+"))

    opening = number(page.locator("#lines tbody tr.jt-sum td").last.inner_text())
    lines = page.locator("#lines tbody tr:not(.jt-sum)")
    assert lines.count() >= 4
    amounts = [
        number(lines.nth(index).locator("td").nth(2).inner_text()) for index in range(lines.count())
    ]
    closing = number(page.locator("#lines tfoot tr.jt-sum td").last.inner_text())
    assert opening + sum(amounts) == closing


@pytest.mark.slow
def test_unusual_names(demo: DemoHub, browser: Browser, contexts: list[BrowserContext]):
    """A name that is none of the demo's, and hard to write in an address, works like any other."""
    visitor = Visitor(browser, contexts, demo)
    visitor.sign_in("李雷 O'Neil+x@example.org")
    visitor.go("/services/tokens/")
    expect(visitor.page.locator("[data-live-balance]").first).to_have_text("6")
    visitor.shot("12-unusual-name")
    visitor.start_cpu()
    visitor.go("/hub/home")
    expect(visitor.page.locator("#jt-sessions")).to_contain_text("CPU")
    visitor.stop_server()
    wait_until(lambda: not page_has_running_server(visitor), "the server to be stopped", 30)
    assert visitor.broken == []


def test_screenshots_are_kept():
    """The pictures of the story are there for a person to look at."""
    names = {path.name for path in Path(_SHOTS).glob("*.png")}
    assert {"01-sign-in.png", "02-spawn-dark.png", "10-statement.png"} <= names
