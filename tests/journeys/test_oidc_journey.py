"""Signing in through a real OpenID provider, in a real browser, with PKCE and state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hub.harness import HubProcess, eventually
from tests.oidc.process import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.ports import free_port

pytestmark = pytest.mark.journey

CONFIG = """
from oauthenticator.generic import GenericOAuthenticator
c.JupyterHub.authenticator_class = GenericOAuthenticator
c.GenericOAuthenticator.client_id = "{client_id}"
c.GenericOAuthenticator.client_secret = "{client_secret}"
c.GenericOAuthenticator.oauth_callback_url = "{callback}"
c.GenericOAuthenticator.authorize_url = "{provider}/auth"
c.GenericOAuthenticator.token_url = "{provider}/token"
c.GenericOAuthenticator.userdata_url = "{provider}/me"
c.GenericOAuthenticator.scope = ["openid", "profile", "email", "offline_access"]
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.allow_all = True
c.GenericOAuthenticator.enable_auth_state = True
c.GenericOAuthenticator.blocked_users = {{"blocked"}}
c.GenericOAuthenticator.suspend_when_revoked = True
c.Authenticator.auth_refresh_age = 1
c.CryptKeeper.keys = ["ab" * 32]
def hook(authenticator, handler, authentication):
    with open("{directory}/hooked", "a") as file:
        file.write(authentication["name"] + "\\n")
    return authentication
c.Authenticator.post_auth_hook = hook
"""
RULES = """\
  - {refuse: true, claims: {roles: [banned]}}
  - {plan: pro, provider_groups: [staff], email_domains: [example.org]}
"""


def slow(*values: Any) -> Any:
    """Return one more set of parameters, for the run that takes longer."""
    return pytest.param(*values, marks=pytest.mark.slow)


class World:
    def __init__(self, hub: HubProcess, provider: OidcProvider) -> None:
        self.hub = hub
        self.provider = provider

    def plan(self, name: str) -> str:
        return str(self.hub.standing(name)["plan"])

    def coming(self, name: str) -> str | None:
        rows = self.hub.books(
            "select next_plan from subscriptions join members using (member_id) where name = ?",
            name,
        )
        return None if not rows else rows[0][0]

    def auth_state(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = self.hub.user(name)["auth_state"]
        return state


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("oidc")
    hub = HubProcess(directory)
    port = free_port()
    callback = f"{hub.url}/hub/oauth_callback"
    provider = OidcProvider(port, callback, directory / "provider.log")
    after = CONFIG.format(
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        callback=callback,
        provider=provider.url,
        directory=directory,
    )
    hub.configure(after=after.replace('"admin:users",', '"admin:users", "admin:auth_state",'))
    config = directory / "jupyterhub_config.py"
    config.write_text(
        config.read_text().replace(
            '"admin:users", "admin', '"admin:auth_state", "admin:users", "admin'
        )
    )
    with (directory / "catalogue.yaml").open("a") as file:
        file.write(RULES)
    try:
        hub.start()
        yield World(hub, provider)
    finally:
        hub.close()
        provider.close()
    hub.audit()
    log = hub.log()
    assert CLIENT_SECRET not in log
    for trace in log.split("Traceback")[1:]:
        # The hub's own: whoever must sign in again and is at the sign-in page already.
        assert "no attribute '_token_authenticated'" in trace[:3000], trace[:3000]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def sign_in(world: World, page: Page, sub: str, *, consent: bool = True) -> None:
    """Go from the hub to the provider and back, as a person does."""
    page.goto(f"{world.hub.url}/hub/oauth_login")
    page.locator('input[name="login"]').fill(sub)
    page.locator('input[name="password"]').fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").wait_for()
    if consent:
        page.get_by_role("button", name="Continue").click()
    else:
        page.get_by_text("Cancel").click()
    page.wait_for_url(re.compile(re.escape(world.hub.url)))


def is_in(page: Page) -> bool:
    return page.locator("#logout").count() > 0


def test_a_sign_in_makes_a_member_with_the_plan_of_the_group(world: World, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    world.provider.account("sue", groups=["staff", "other"], email="s@x.com", email_verified=True)
    sign_in(world, page, "sue")
    assert is_in(page)
    assert world.plan("sue") == "pro"
    (query,) = (parse_qs(urlsplit(url).query) for url in asked if "/auth?" in url)
    assert query["code_challenge_method"] == ["S256"] and query["state"]
    assert not any(CLIENT_SECRET in url or "access_token" in url for url in asked)
    assert "sue\n" in (world.hub.directory / "hooked").read_text(), "the operator's own hook runs"
    state = world.auth_state("sue")
    assert set(state) == {"jhub_tokens", "token_response", "refresh_token"}
    assert state["jhub_tokens"] == {"subject": "sue"}
    assert state["token_response"]["access_token"] not in world.hub.log()
    (kept,) = world.hub.books(
        "select facts from member_facts join members using (member_id) where name = 'sue'"
    )
    assert "staff" in kept[0] and "other" not in kept[0] and "x.com" not in kept[0]


def test_groups_added_and_removed_between_two_sign_ins(world: World, page: Page) -> None:
    world.provider.account("gus", groups=[])
    sign_in(world, page, "gus")
    assert world.plan("gus") == "basic"
    world.provider.account("gus", groups=["staff"])
    page.goto(f"{world.hub.url}/hub/oauth_login")  # the provider still knows the person
    eventually(lambda: world.coming("gus") == "pro", "the plan goes up")
    world.provider.account("gus", groups=["elsewhere"])
    page.goto(f"{world.hub.url}/hub/oauth_login")
    eventually(lambda: world.coming("gus") is None, "and down again")


def test_a_refresh_follows_groups_without_a_sign_in(world: World, page: Page) -> None:
    world.provider.account("ray", groups=[])
    sign_in(world, page, "ray")
    world.provider.account("ray", groups=["staff"])

    def followed() -> bool:
        page.goto(f"{world.hub.url}/hub/home")
        return world.coming("ray") == "pro"

    eventually(followed, "a visit refreshes", within_s=30, every_s=1)


def test_consent_refused(world: World, page: Page) -> None:
    world.provider.account("con")
    sign_in(world, page, "con", consent=False)
    assert not is_in(page)
    expect(page.get_by_text("End-User aborted interaction").first).to_be_visible()
    assert world.hub.api("GET", "users/con").status_code == 404


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ({"aud": "another-application"}, "it is for another application"),
        slow({"aud": ["a", "b"]}, "it is for another application"),
        ({"exp": 1_000_000_000}, "it has expired"),
        slow({"nbf": 9_000_000_000}, "it is not valid yet"),
        ({"roles": ["banned"]}, "the rules of this hub do not let it in"),
    ],
)
def test_answers_that_are_refused(
    world: World, page: Page, override: dict[str, Any], says: str
) -> None:
    world.provider.account("wes", groups=["staff"])
    world.provider.set(override=override)
    try:
        sign_in(world, page, "wes")
    finally:
        world.provider.set(override={})
    assert not is_in(page)
    expect(page.get_by_text(says).first).to_be_visible()
    assert world.hub.api("GET", "users/wes").status_code == 404


def test_clocks_that_differ_a_little(world: World, page: Page) -> None:
    import time

    world.provider.account("tim")
    now = int(time.time())
    world.provider.set(override={"nbf": now + 30, "exp": now - 1, "aud": CLIENT_ID})
    try:
        sign_in(world, page, "tim")
    finally:
        world.provider.set(override={})
    assert is_in(page)


def test_keys_may_rotate(world: World, page: Page) -> None:
    world.provider.account("kay")
    sign_in(world, page, "kay")
    world.provider.rotate_keys()
    page.context.clear_cookies()
    sign_in(world, page, "kay")
    assert is_in(page)


@pytest.mark.parametrize(
    ("sub", "claims"),
    [
        slow("h1", {"groups": ["g" * 2000] * 2000}),
        slow("h2", {"groups": {"staff": True}, "email": ["a@example.org"], "email_verified": True}),
        ("h3", {"groups": "<script>alert(1)</script>", "roles": 7, "extra": {"a": [{}] * 500}}),
        slow("h4", {"groups": ["Staff", "STAFF ", "staff\u0000"]}),
        slow("h5", {"email": "a@example.org", "email_verified": "yes"}),
        ("h6", {"email": "a@example.org.evil.com", "email_verified": True}),
    ],
)
def test_hostile_claims_give_no_plan(
    world: World, page: Page, sub: str, claims: dict[str, Any]
) -> None:
    world.provider.account(sub, **claims)
    sign_in(world, page, sub)
    assert is_in(page)
    assert world.plan(sub) == "basic"


@pytest.mark.parametrize("name", ["<b>eve</b>", slow("a/b"), slow(""), "blocked"])
def test_names_that_nobody_may_have(world: World, page: Page, name: str) -> None:
    world.provider.account("evil", preferred_username=name)
    sign_in(world, page, "evil")
    assert not is_in(page)
    assert "<b>eve</b>" not in page.content()


@pytest.mark.parametrize("name", ["vic", "VIC"])
def test_another_accounts_name_is_refused(world: World, page: Page, name: str) -> None:
    world.provider.account("vic", groups=["staff"])
    sign_in(world, page, "vic")
    page.context.clear_cookies()
    world.provider.account("thief", preferred_username=name)
    sign_in(world, page, "thief")
    assert not is_in(page)
    expect(page.get_by_text("The name vic belongs to another account").first).to_be_visible()


def test_a_state_that_is_not_ours_and_a_code_used_twice(world: World, page: Page) -> None:
    world.provider.account("sam")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(world, page, "sam")
    (back,) = (url for url in asked if "/oauth_callback?" in url)
    page.context.clear_cookies()
    page.goto(back)
    assert not is_in(page)
    expect(page.get_by_text("OAuth state missing from cookies").first).to_be_visible()

    # In a sign-in of one's own, with its cookie and its state, but another one's code.
    (code,) = parse_qs(urlsplit(back).query)["code"]
    asked.clear()
    page.goto(f"{world.hub.url}/hub/oauth_login")
    (state,) = (parse_qs(urlsplit(url).query)["state"][0] for url in asked if "/auth?" in url)
    query = urlencode({"code": code, "state": state})
    answer = page.goto(f"{world.hub.url}/hub/oauth_callback?{query}")
    assert answer is not None and answer.status == 403
    assert not is_in(page)
    expect(page.get_by_text("did not accept this sign-in").first).to_be_visible()
    page.goto(f"{world.hub.url}/hub/home")
    assert not is_in(page)


def test_a_provider_that_is_down_signs_nobody_out(
    world: World, page: Page, browser: Browser
) -> None:
    world.provider.account("dot")
    sign_in(world, page, "dot")
    world.provider.set(down=True)
    try:
        eventually(
            lambda: (
                "cannot be asked about dot" in world.hub.log()
                or not page.goto(f"{world.hub.url}/hub/home")
            ),
            "a visit asks the provider",
            every_s=1,
        )
        page.goto(f"{world.hub.url}/hub/home")
        assert is_in(page)
        other = browser.new_page()
        other.goto(f"{world.hub.url}/hub/oauth_login")
        assert not is_in(other)
        other.close()
    finally:
        world.provider.set(down=False)


def test_a_provider_that_goes_down_between_sign_in_and_answer(world: World, page: Page) -> None:
    world.provider.account("mid")
    world.provider.set(down="/token")
    try:
        sign_in(world, page, "mid")
    finally:
        world.provider.set(down=False)
    assert not is_in(page)
    expect(page.get_by_text("cannot be reached right now").first).to_be_visible()


def test_an_account_that_is_gone_is_suspended_and_restored(world: World, page: Page) -> None:
    world.provider.account("ned", groups=["staff"])
    sign_in(world, page, "ned")
    world.hub.start_server("ned")
    world.provider.remove("ned")

    def suspended() -> bool:
        page.goto(f"{world.hub.url}/hub/home")
        return bool(world.hub.standing("ned")["state"] == "frozen")

    eventually(suspended, "the membership is suspended", within_s=40, every_s=1)
    world.hub.wait_stopped("ned", within_s=40)
    page.context.clear_cookies()
    world.provider.account("ned", groups=["staff"])
    sign_in(world, page, "ned")
    eventually(lambda: world.hub.standing("ned")["state"] == "active", "ned is back")


def test_signing_out(world: World, page: Page) -> None:
    world.provider.account("lou")
    sign_in(world, page, "lou")
    page.goto(f"{world.hub.url}/hub/logout")
    page.goto(f"{world.hub.url}/hub/home")
    assert not is_in(page)


def test_signing_in_while_the_token_service_is_down(world: World, page: Page) -> None:
    world.provider.account("dan", groups=["staff"])
    service = world.hub.service()
    service.suspend()
    try:
        sign_in(world, page, "dan")
        assert is_in(page)
        page.context.clear_cookies()
        world.provider.account("bad", roles=["banned"])
        sign_in(world, page, "bad")
        assert not is_in(page), "who may enter is decided without the service"
    finally:
        service.resume()
    assert world.plan("dan") == "pro", "a first plan is that of the rules"


def test_nothing_of_the_provider_reaches_the_server(world: World, page: Page) -> None:
    world.provider.account("pat", groups=["staff"])
    sign_in(world, page, "pat")
    world.hub.start_server("pat")
    environ = Path(f"/proc/{world.hub.pid('pat')}/environ").read_bytes().decode()
    state = world.auth_state("pat")
    for secret in (CLIENT_SECRET, state["refresh_token"], state["token_response"]["access_token"]):
        assert secret not in environ and secret not in world.hub.log()
    world.hub.stop_server("pat")
