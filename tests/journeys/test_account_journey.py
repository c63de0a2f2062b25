"""A member's account in a real browser: access and keys, plan, settings, and a team's owner.

Every page is looked at on a phone of 320 px as well, where nothing may stick out, and the forms
are sent without JavaScript once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from jhub_tokens.catalogue import shipped_catalogue
from tests.journeys.demo_hub import DemoHub, artefacts, wait_until
from tests.ledger.test_ssh_keys import new_key

pytestmark = pytest.mark.journey

_SHOTS = artefacts()
_TOKENS = "/services/tokens/"
_MORE = """
self_service: [upgrade, downgrade, pause, trial]
top_ups: [{tokens: 50, price: 5.00 EUR}]
teams:
  vision: {title: Computer vision, group: vision, plan: enterprise, owners: [grace]}
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoHub]:
    """The demo with everything in its catalogue that these pages can show."""
    catalogue = shipped_catalogue("demo").read_text(encoding="utf-8") + _MORE
    hub = DemoHub(tmp_path_factory.mktemp("account"), catalogue)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "JHUB_TOKENS_SSH", "tunnel")
        patch.setitem(os.environ, "JHUB_TOKENS_PAYMENTS", "manual")
        hub.start()
    try:
        yield hub
    finally:
        code = hub.stop()
    assert code == 0, hub.output
    audit = hub.command("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    hub.assert_no_tracebacks()


@pytest.fixture
def contexts(browser: Browser) -> Iterator[list[BrowserContext]]:
    opened: list[BrowserContext] = []
    yield opened
    for context in opened:
        context.close()


class Member:
    """A member at a browser of their own."""

    def __init__(
        self,
        browser: Browser,
        contexts: list[BrowserContext],
        demo: DemoHub,
        name: str,
        *,
        width: int = 1280,
        dark: bool = False,
        locale: str = "en-GB",
        scripts: bool = True,
    ) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            locale=locale,
            java_script_enabled=scripts,
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        self.demo, self.name = demo, name
        self.page: Page = context.new_page()
        self.broken: list[str] = []
        self.page.on("pageerror", lambda error: self.broken.append(str(error)))
        self.page.goto(demo.url + "/hub/login")
        self.page.locator("#username_input").fill(name)
        self.page.locator("#password_input").fill("demo")
        self.page.locator("#login_submit").click()
        self.page.wait_for_url(re.compile(r"/(hub/(home|spawn)|user/)"))

    def open(self, path: str) -> Page:
        self.page.goto(self.demo.url + _TOKENS + path)
        return self.page

    def shot(self, name: str) -> None:
        self.page.screenshot(path=_SHOTS / f"account-{name}.png", full_page=True)

    def fits(self) -> None:
        """Nothing sticks out to the right, on the narrowest phone either."""
        before = self.page.viewport_size
        assert before is not None
        for width in (before["width"], 320):
            self.page.set_viewport_size({"width": width, "height": 900})
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{self.page.url} is {wide} px wide at {width} px"
        self.page.set_viewport_size(before)


def test_access(demo: DemoHub, browser: Browser, contexts: list[BrowserContext]) -> None:
    grace = Member(browser, contexts, demo, "grace")
    grace.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = grace.page
    page.goto(demo.url + "/hub/spawn")
    page.get_by_role("radio", name="CPU").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/user/grace/**", timeout=90_000)

    link = page.locator("#url-0")

    def shown() -> bool:  # as soon as the books know that it is ready
        grace.open("access")
        return link.count() == 1

    wait_until(shown, "the server's links")
    expect(link).to_have_text(f"{demo.url}/user/grace/")
    command = page.locator("#ssh-0")
    expect(command).to_contain_text("websocat")
    page.locator("button[data-copy=ssh-0]").click()
    expect(page.locator("button[data-copy=ssh-0]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == command.text_content()

    key = new_key()
    page.get_by_label("Public key").fill(key.line[:-9])
    page.get_by_role("button", name="Add the key").click()
    expect(page.locator("#key-error")).to_contain_text("damaged or not complete")
    expect(page.get_by_label("Public key")).to_have_value(key.line[:-9])
    page.get_by_label("Public key").fill(key.line)
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_role("status")).to_contain_text("opens your servers from now on")
    expect(page.locator(".jt-key")).to_contain_text(key.fingerprint)
    grace.fits()
    grace.shot("access")
    page.get_by_role("button", name="Remove laptop").click()
    expect(page.locator(".jt-key")).to_have_count(0)
    assert not grace.broken


def test_settings_in_two_languages(
    demo: DemoHub, browser: Browser, contexts: list[BrowserContext]
) -> None:
    edsger = Member(browser, contexts, demo, "edsger", dark=True)
    page = edsger.open("settings")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.get_by_label("Language", exact=True).select_option("zh")
    page.get_by_label("Times are told in").fill("Asia/Tokyo")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("heading", name="设置")).to_be_visible()
    edsger.fits()
    edsger.shot("settings-zh-dark")
    for path, heading in (("plan", "套餐"), ("access", "访问")):
        edsger.open(path)
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        edsger.fits()
        edsger.shot(f"{path}-zh-dark")
    edsger.open("plan")
    expect(page.locator("main")).to_contain_text("JST")
    edsger.open("settings")
    with page.expect_download() as download:
        page.get_by_role("link", name="下载 JSON 文件").click()
    assert download.value.suggested_filename.endswith(".json")
    page.get_by_label("语言", exact=True).select_option("browser")
    page.get_by_role("button", name="保存").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert not edsger.broken


def test_plan_without_scripts(
    demo: DemoHub, browser: Browser, contexts: list[BrowserContext]
) -> None:
    ada = Member(browser, contexts, demo, "ada", scripts=False)
    page = ada.open("plan")
    expect(page.locator(".jt-plan-own")).to_contain_text("Basic")
    page.get_by_role("link", name="Change to this plan · Pro").click()
    expect(page.locator("dl")).to_contain_text("Begins")
    expect(page.locator("dl")).to_contain_text("the difference for the")
    page.get_by_role("button", name="Change my plan").click()
    expect(page.get_by_role("status").first).to_contain_text("Your plan is now Pro.")
    page.get_by_role("link", name="Pause my plan").click()
    page.get_by_role("button", name="Pause my plan").click()
    expect(page.locator(".jt-notice")).to_contain_text("Your plan changes to Basic")
    ada.shot("plan")
    page.get_by_role("button", name="Keep my plan").click()
    expect(page.locator(".jt-notice")).to_have_count(0)
    page.get_by_label("Voucher code").fill("ABCD-EFGH")
    page.get_by_role("button", name="Redeem").click()
    expect(page.get_by_label("Voucher code")).to_have_value("ABCD-EFGH")
    expect(page.locator("#code-error")).to_be_visible()
    page.get_by_role("link", name="Buy 50 tokens").click()
    expect(page.locator("dl")).to_contain_text("€5.00, once")
    page.get_by_role("button", name="Order with obligation to pay").click()
    expect(page.locator("main")).to_contain_text("Name the number of the invoice")


def test_a_team_owner_invites(
    demo: DemoHub, browser: Browser, contexts: list[BrowserContext]
) -> None:
    ada = Member(browser, contexts, demo, "ada", width=390, dark=True, locale="zh-CN")
    grace = Member(browser, contexts, demo, "grace")
    page = grace.open("teams/vision")
    page.get_by_label("Name by which they sign in").fill("nobody")
    page.get_by_role("button", name="Invite").click()
    expect(page.locator("#name-error")).to_contain_text("Nobody of this name")
    page.get_by_label("Name by which they sign in").fill("ada")
    page.get_by_role("button", name="Invite").click()
    expect(page.get_by_role("status")).to_contain_text("ada is invited.")

    phone = ada.open("plan")
    expect(phone.locator("main")).to_contain_text("您被邀请加入团队 Computer vision。")
    ada.fits()
    ada.shot("invited-zh-dark-phone")
    phone.get_by_role("button", name="接受").click()
    expect(phone.get_by_role("status").first).to_contain_text("您已加入团队")

    page = grace.open("teams/vision")
    share = page.get_by_label("Share of ada")
    share.fill("12,5")
    page.get_by_role("button", name="Set").click()
    expect(share).to_have_value("12,5")
    share.fill("12.5")
    page.get_by_role("button", name="Set").click()
    expect(share).to_have_value("12.5")
    grace.fits()
    grace.shot("team")
    grace.open("teams/vision/statement")
    grace.fits()
    ada.open("teams/vision")
    expect(phone.locator("main")).to_contain_text("12.5")
    ada.fits()
    assert not grace.broken and not ada.broken
