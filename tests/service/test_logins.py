"""The state of a sign-in travels with the browser, sealed; `tests/hub/test_replicas.py` has two."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from jupyterhub.services.auth import HubOAuth

from jhub_tokens.clock import ManualClock
from jhub_tokens.service.auth import hub_oauth
from jhub_tokens.service.logins import SealedLogins
from jhub_tokens.service.serve import RunningService
from jhub_tokens.service.settings import Settings
from tests.service.conftest import NOON_MS, PREFIX, Browser
from tests.service.stub_hub import StubHub, User

MINUTE_MS = 60_000


@pytest.fixture
def logins(settings: Settings, clock: ManualClock) -> Iterator[SealedLogins]:
    made = hub_oauth(settings, clock)
    assert isinstance(made, SealedLogins)
    yield made


def test_what_is_sealed_is_read_by_whoever_shares_the_secret(
    logins: SealedLogins, settings: Settings
) -> None:
    state = logins.generate_state(f"{PREFIX}statement", code_verifier="v" * 43)
    other = hub_oauth(settings, ManualClock(NOON_MS + 9 * MINUTE_MS))
    assert other.get_next_url(state) == f"{PREFIX}statement"
    assert other.get_code_verifier(state) == "v" * 43
    assert "v" * 43 not in state
    assert state != logins.generate_state(f"{PREFIX}statement", code_verifier="v" * 43)


@pytest.mark.parametrize(
    "change",
    [
        {"cookie_key": "another-secret-of-another-hub-....."},
        {"service_token": "another-token"},
        {"late": True},
    ],
)
def test_what_was_sealed_elsewhere_or_long_ago_is_nothing(
    logins: SealedLogins, settings: Settings, change: dict[str, Any]
) -> None:
    state = logins.generate_state(f"{PREFIX}statement", code_verifier="v" * 43)
    now_ms = NOON_MS + (11 * MINUTE_MS if change.pop("late", False) else 0)
    other = hub_oauth(replace(settings, **change), ManualClock(now_ms))
    assert other.get_next_url(state) == PREFIX
    assert other.get_code_verifier(state) is None
    assert other.get_state_cookie_name(state) != other.state_cookie_name


@pytest.mark.parametrize(
    "next_url", ["https://evil.example/", "//evil.example/", "/hub/", PREFIX + "x" * 2000, None]
)
def test_it_leads_back_to_this_service_only(logins: SealedLogins, next_url: str | None) -> None:
    state = logins.generate_state(next_url)
    assert logins.get_next_url(state) == PREFIX
    assert len(state) < 1000, "it fits a cookie"


def test_nothing_is_kept_in_the_process(logins: SealedLogins) -> None:
    with mock.patch.object(HubOAuth, "_oauth_states", None):
        state = logins.generate_state(f"{PREFIX}admin")
        assert logins.get_next_url(state) == f"{PREFIX}admin"
        logins.clear_oauth_state(state)


def test_all_that_keeps_state_in_the_hubs_client_is_replaced() -> None:
    """Another release of jupyterhub may remember a sign-in in other places."""
    users = {
        name
        for name, member in inspect.getmembers(HubOAuth, inspect.isfunction)
        if "_oauth_states" in inspect.getsource(member)
        or "_decode_state" in member.__code__.co_names
    }
    replaced = {
        name for name in users if getattr(SealedLogins, name) is not getattr(HubOAuth, name)
    }
    assert users - replaced <= {"_decode_state", "_default_oauth_states", "set_state_cookie"}
    assert "generate_state" in replaced


async def begin(running: RunningService, hub: StubHub, user: User) -> tuple[Browser, str]:
    """Return a browser on its way to the hub, and the address to which the hub sends it back."""
    browser = Browser(running, hub, user)
    hub.signed_in = user
    answer = await browser.get("statement")
    assert answer.status_code == 302
    to_hub = answer.headers["location"].replace("/hub/", f"{hub.url}/hub/", 1)
    answer = await browser.client.get(to_hub)
    return browser, answer.headers["location"].replace(hub.url, "")


async def test_a_sign_in_must_be_finished_in_ten_minutes(
    running: RunningService, hub: StubHub, ada: User, clock: ManualClock
) -> None:
    browser, back = await begin(running, hub, ada)
    cookies = httpx.Cookies(browser.client.cookies)
    clock.advance_ms(11 * MINUTE_MS)
    browser.client.cookies = cookies  # a browser that keeps what it should forget
    answer = await browser.client.get(back)
    assert answer.status_code == 403
    assert "Try logging in again" in answer.text
    await browser.client.aclose()


async def test_two_tabs_at_once_both_get_in(
    running: RunningService, hub: StubHub, ada: User
) -> None:
    browser, first = await begin(running, hub, ada)
    answer = await browser.get("settings")
    to_hub = answer.headers["location"].replace("/hub/", f"{hub.url}/hub/", 1)
    second = (await browser.client.get(to_hub)).headers["location"].replace(hub.url, "")
    done = await browser.client.get(second)
    assert (done.status_code, done.headers["location"]) == (302, f"{PREFIX}settings")
    late = await browser.client.get(first)
    assert (late.status_code, late.headers["location"]) == (302, f"{PREFIX}statement")
    await browser.client.aclose()


async def test_sign_ins_that_nobody_finishes_do_not_pile_up(
    running: RunningService, hub: StubHub, ada: User
) -> None:
    browser = Browser(running, hub, ada)
    for _ in range(30):
        answer = await browser.get("statement")
        assert answer.status_code == 302
    begun = [each.name for each in browser.client.cookies.jar if "oauth-state" in each.name]
    assert 1 <= len(begun) <= 6
    hub.signed_in = ada
    to_hub = answer.headers["location"].replace("/hub/", f"{hub.url}/hub/", 1)
    back = (await browser.client.get(to_hub)).headers["location"].replace(hub.url, "")
    assert parse_qs(urlsplit(back).query)["state"]
    assert (await browser.client.get(back)).status_code == 302, "the last one still counts"
    await browser.client.aclose()
