"""Every page in both languages and colour schemes, on a desk and on a telephone.

Nothing may scroll sideways, break in the console, stay in another language, or keep out people who
hear a page or use it by keyboard (axe-core). With ``--guide-images`` the pictures of the guides are
taken on the way.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from babel.messages.pofile import read_po
from playwright.sync_api import Browser, BrowserContext, Page, expect

from jhub_tokens import i18n
from jhub_tokens.catalogue import parse_catalogue
from tests.hub.harness import HubProcess
from tests.journeys.axe import barriers
from tests.journeys.inhabited import CATALOGUE, inhabit
from tests.journeys.pages_table import HUB_ROWS, PASSWORD_ROWS, Row

pytestmark = pytest.mark.journey

_IMAGES = Path(__file__).parents[2] / "docs" / "images"
_TAGS = {"en": "en-GB", "zh": "zh-CN"}
LOOKS = [("en", "light"), ("zh", "dark"), ("en", "dark"), ("zh", "light")]
_DESK, _PHONE, _SMALLEST = 1200, 390, 320
_PASSWORD = "four words that rhyme not"

#: What is to be read, without the part that is not ours.
_TEXT = """(own) => {
    const others = own ? [...document.querySelectorAll(own)].map((e) => e.innerText) : [];
    return others.reduce((text, other) => text.replace(other, ""), document.body.innerText);
}"""

#: Two servers never answer: one start stays pending, the other is given up.
AFTER = """
def hook(spawner):
    if spawner.user.name in ("slow", "broken"):
        spawner.cmd = ["sh", "-c", "sleep 600"]  # arguments are added, which sleep minds
    if spawner.user.name == "broken":
        spawner.http_timeout = 20
c.Spawner.pre_spawn_hook = hook
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 1}
c.Spawner.http_timeout = 600
"""

PASSWORDS = """
from jhub_authenticator import PasswordAuthenticator
from jhub_authenticator.password_store import PasswordStore
c.JupyterHub.authenticator_class = PasswordAuthenticator
c.PasswordAuthenticator.store_path = "{directory}/passwords.sqlite"
"""


class World:
    """A hub, and the browsers of those who look at it."""

    def __init__(self, hub: HubProcess, browser: Browser, password: str) -> None:
        self.hub = hub
        self._browser = browser
        self._password = password
        self._cookies: dict[str, list[Any]] = {}
        self._members: dict[str, str] = {}

    def path(self, row: Row) -> str:
        def member(found: re.Match[str]) -> str:
            return str(self.hub.member(found[1])["member_id"])

        return re.sub(r"\{member:(\w+)\}", member, row.path)

    def context(self, who: str, language: str, scheme: Any) -> BrowserContext:
        context = self._browser.new_context(
            viewport={"width": _DESK, "height": 800}, locale=_TAGS[language], color_scheme=scheme
        )
        context.set_default_timeout(30_000)
        if who:
            if who not in self._cookies:
                self._sign_in(who)
            context.add_cookies(self._cookies[who])
        return context

    def _sign_in(self, who: str) -> None:
        context = self._browser.new_context()
        page = context.new_page()
        page.goto(f"{self.hub.url}/hub/login")
        page.locator("#username_input").fill(who)
        page.locator("#password_input").fill(self._password)
        page.locator("#login_submit").click()
        page.wait_for_url(re.compile("/(hub/(home|spawn)|user/)"))
        page.goto(f"{self.hub.url}/services/tokens/")  # so that the service knows them, too
        self._cookies[who] = context.cookies()
        context.close()


@pytest.fixture(scope="module")
def inhabited(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[World]:
    hub = HubProcess(tmp_path_factory.mktemp("inhabited"), after=AFTER)
    try:
        inhabit(hub)
        hub.add_user("slow")
        hub.post_start("slow", {"profile": "cpu"})
        hub.start_server("grace", profile="gpu", gpu_model="A100", image="py-2026.11")
        yield World(hub, browser, "demo")
    finally:
        hub.close()
    hub.audit()


@pytest.fixture(scope="module")
def with_passwords(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[World]:
    from jhub_authenticator.password_store import PasswordStore

    directory = tmp_path_factory.mktemp("passwords")
    hub = HubProcess(directory, after=PASSWORDS.format(directory=directory))
    store = PasswordStore(directory / "passwords.sqlite")
    store.add("admin", _PASSWORD, admin=True, approved=True)
    store.add("waits", _PASSWORD)
    try:
        hub.start()
        yield World(hub, browser, _PASSWORD)
    finally:
        hub.close()


def in_all_looks(rows: Sequence[Row]) -> Iterator[Any]:
    """Yield each page with each look; the short run has one of each page, by turns.

    The first two looks tell of both languages and both schemes.
    """
    for number, row in enumerate(rows):
        for look in LOOKS:
            marks = () if look == LOOKS[number % 2] else (pytest.mark.slow,)
            yield pytest.param(row, look, id="-".join([row.name, *look]), marks=marks)


@pytest.mark.parametrize(("row", "look"), in_all_looks(HUB_ROWS))
def test_page(
    inhabited: World, row: Row, look: tuple[str, str], request: pytest.FixtureRequest
) -> None:
    look_at(inhabited, row, *look, images=request.config.getoption("--guide-images"))


@pytest.mark.parametrize(("row", "look"), in_all_looks(PASSWORD_ROWS))
def test_page_of_the_embedded_sign_in(
    with_passwords: World, row: Row, look: tuple[str, str]
) -> None:
    look_at(with_passwords, row, *look)


def test_a_start_that_fails_says_so_and_leads_back(inhabited: World) -> None:
    inhabited.hub.add_user("broken")
    context = inhabited.context("broken", "en", "light")
    try:
        answer = inhabited.hub.post_start("broken", {"profile": "cpu"})
        assert answer.status_code == 202, answer.text
        page = context.new_page()
        page.goto(f"{inhabited.hub.url}/hub/spawn-pending/broken")
        expect(page.get_by_text("Your server is starting up.")).to_be_visible()
        expect(page.locator("#jt-failed")).to_be_hidden()
        expect(page.get_by_text("did not start, and nothing was charged")).to_be_visible(
            timeout=60_000
        )
        expect(page.get_by_text("Your server is starting up.")).to_be_hidden()
        expect(page.locator("#stop-server-btn")).to_be_hidden()
        page.get_by_role("link", name="Back to the start page").click()
        expect(page.locator("#jt-selector")).to_be_visible()
    finally:
        context.close()


def look_at(world: World, row: Row, language: str, scheme: str, *, images: bool = False) -> None:
    """Open a page and look at it as each of its readers would."""
    context = world.context(row.who, language, scheme)
    broken: list[str] = []
    try:
        page = context.new_page()
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("console", lambda said: broken.append(said.text) if said.type == "error" else None)
        answer = page.goto(world.hub.url + world.path(row))
        page.locator(row.shows).first.wait_for()
        assert answer is not None and answer.status == row.status
        assert page.locator("html").get_attribute("lang") == i18n.TAGS[language]
        if images and row.image and scheme == "light":
            _take(page, row.image, language, world.hub.directory)
        text = page.evaluate(_TEXT, row.hubs_own)
        # What a browser says of an answer like this one; and before axe-core adds styles.
        console = [line for line in broken if f"status of {row.status}" not in line]
        faults = {
            "console": console,
            "desk": barriers(page, row.hubs_own),
            "desk scrolls": _too_wide(page, _DESK, row),
            "telephone scrolls": _too_wide(page, _PHONE, row),
            "telephone": barriers(page, row.hubs_own),
            "smallest scrolls": _too_wide(page, _SMALLEST, row),
            "English": [] if language == i18n.SOURCE else _left_in_english(text),
        }
        told = [f"{where}: {line}" for where, lines in faults.items() for line in lines]
        assert not told, "\n".join([row.name, *told])
    finally:
        context.close()


def _too_wide(page: Page, width: int, row: Row) -> list[str]:
    """Return the elements that stick out to the right of a window of this width."""
    page.set_viewport_size({"width": width, "height": 800})
    found: list[str] = page.evaluate(
        """async (own) => {
            // A chart follows the window in the next frame.
            const frame = () => new Promise(requestAnimationFrame);
            await frame();
            await frame();
            if (document.documentElement.scrollWidth <= innerWidth) return [];
            return [...document.body.querySelectorAll("*")]
                .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
                .filter((e) => !own || !e.closest(own))
                .map((e) => e.outerHTML.slice(0, 120)).slice(0, 5);
        }""",
        row.hubs_own,
    )
    return found


def _left_in_english(text: str) -> list[str]:
    return [message for message in (*_sentences(), *_english_names()) if message in text]


def _sentences() -> list[str]:
    """Return the messages that no name or title of the catalogue happens to contain."""
    found = []
    for path in i18n.locale_files("zh"):
        with path.open("rb") as file:
            for message in read_po(file, locale="zh"):
                if isinstance(message.id, str) and "%(" not in message.id and " " in message.id:
                    found.append(message.id)
    return [message for message in found if len(message) > 10]


def _english_names() -> list[str]:
    """Return what the catalogue calls things in English, where that cannot be another word."""
    catalogue = parse_catalogue(CATALOGUE)
    kinds = (catalogue.plans, catalogue.profiles, catalogue.teams)
    named = [catalogue, *(item for kind in kinds for item in kind.values())]
    texts = [text for item in named for text in item.others.get(i18n.SOURCE, {}).values()]
    return [text for text in texts if " " in text]


def _take(page: Page, name: str, language: str, directory: Path) -> None:
    """Keep a picture of a page for the guides, small enough for a repository.

    The files of the hub that is looked at are in no reader's way.
    """
    from PIL import Image

    page.evaluate(
        """(directory) => {
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (texts.nextNode())
                texts.currentNode.data =
                    texts.currentNode.data.replaceAll(directory, "/srv/jupyterhub");
        }""",
        str(directory),
    )
    page.set_viewport_size({"width": 1000, "height": 640})
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    folder = _IMAGES if language == i18n.SOURCE else _IMAGES / language
    folder.mkdir(parents=True, exist_ok=True)
    cut = shot.convert("RGB").crop((0, 0, shot.width, min(shot.height, 1200)))
    cut.quantize(48).save(folder / f"{name}.png", optimize=True)
    page.set_viewport_size({"width": _DESK, "height": 800})


def test_the_switch_of_languages_needs_no_script(inhabited: World) -> None:
    """The choice holds for the sign-in page, and for the pages after it."""
    with httpx.Client(base_url=inhabited.hub.url, follow_redirects=True) as client:
        assert '<html lang="en">' in client.get("/hub/login?next=%2Fhub%2Fhome").text
        switched = client.get("/hub/language", params={"to": "zh", "next": "/hub/login?next=%2Fx"})
        assert switched.url.path == "/hub/login" and switched.url.query == b"next=%2Fx"
        assert '<html lang="zh-CN">' in switched.text
        assert "面向全所的" in switched.text
        elsewhere = client.get(
            "/hub/language", params={"to": "xx", "next": "//evil.example/"}, follow_redirects=False
        )
        assert elsewhere.headers["location"] == "/hub/login"
