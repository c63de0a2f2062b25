"""Every provider's class, driven by answers of the shapes that the providers document."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from jupyterhub.app import JupyterHub
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from jhub_authenticator import ProviderMixin, with_membership
from jhub_authenticator.providers import read_account, shape_of, subject_of
from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.catalogue.accounts import facts_of
from jhub_tokens.facts import Facts

PAGES = sorted((Path(__file__).parents[2] / "docs" / "sign-in").glob("*.md"))
CATALOGUE = """\
default_plan: basic
adopt_profile: cpu
profiles:
  cpu: {rate: 1, cpu: 1, memory: 1G}
plans:
  basic: {tokens: 50, profiles: [cpu]}
  pro: {tokens: 300, profiles: [cpu]}
  enterprise: {tokens: 3000, profiles: [cpu]}
"""
ENVIRONMENT = {
    "OAUTH_CLIENT_ID": "the-hub",
    "OAUTH_CLIENT_SECRET": "secret",
    "AAD_TENANT_ID": "0f0f0f0f-tenant",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def load_page(page: Path, tmp_path: Path) -> JupyterHub:
    (snippet,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text(CATALOGUE + rules_of(page))
    for place, here in (
        ("/etc/jupyterhub/catalogue.yaml", catalogue),
        ("/srv/jupyterhub", tmp_path),
    ):
        snippet = snippet.replace(place, str(here))
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(snippet)
    JupyterHub.clear_instance()
    app = JupyterHub.instance()
    app.load_config_file(str(config))
    return app


def rules_of(page: Path) -> str:
    return "".join(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S))


@pytest.fixture
def loaded(tmp_path: Path, environment: None) -> Iterator[Any]:
    def load(name: str) -> Any:
        (page,) = (page for page in PAGES if page.stem == name)
        app = load_page(page, tmp_path)
        return app.authenticator_class(parent=app)

    yield load
    JupyterHub.clear_instance()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_configuration_of_every_page_loads(
    page: Path, tmp_path: Path, environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    if page.stem == "mediawiki":
        pytest.importorskip("mwoauth")
    try:
        app = load_page(page, tmp_path)
        authenticator = app.authenticator_class(parent=app)
        if page.stem != "passwords":
            assert isinstance(authenticator, ProviderMixin)
            assert authenticator.client_id == "the-hub" and authenticator.enable_auth_state
        # A misspelt setting is a warning of traitlets and nothing else.
        assert "Config option" not in capsys.readouterr().err
    finally:
        JupyterHub.clear_instance()


#: What each provider answers, and the plan by the rules of its page.
ANSWERS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "openid-connect": ({"sub": "1", "groups": ["staff"]}, {}, "1", "pro"),
    "keycloak": ({"sub": "u-1", "realm_access": {"roles": ["gpu-user"]}}, {}, "u-1", "enterprise"),
    "okta": ({"sub": "00u1", "groups": ["Everyone", "Research"]}, {}, "00u1", "pro"),
    "google": ({"id": "11", "hd": "example.org", "verified_email": True}, {}, "11", "pro"),
    "entra": (
        {"oid": "o-1", "sub": "s-1", "groups": ["3c9f0d3e-0000-0000-0000-000000000000"]},
        {},
        "o-1",
        "pro",
    ),
    "cilogon": (
        {"sub": "http://cilogon.org/u/1", "idp": "https://idp.example.edu/idp/shibboleth"},
        {},
        "http://cilogon.org/u/1",
        "pro",
    ),
    "auth0": (
        {"sub": "auth0|1", "https://example.org/roles": ["researcher"]},
        {},
        "auth0|1",
        "pro",
    ),
    "globus": (
        {"sub": "g-1", "identity_provider": "41143743-f3c8-4d60-bbdb-eeecaba85bd9"},
        {"globus_groups": ["gg"]},
        "g-1",
        "pro",
    ),
    "openshift": (
        {"metadata": {"name": "ada", "uid": "os-1"}, "groups": ["data-science"]},
        {},
        "os-1",
        "pro",
    ),
    "bitbucket": (
        {"username": "ada", "account_id": "bb-1", "uuid": "{x}"},
        {"user_teams": ["acme"]},
        "bb-1",
        "pro",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_a_provider_says_becomes_a_plan(loaded: Any, name: str) -> None:
    info, more, subject, plan = ANSWERS[name]
    authenticator = loaded(name)
    auth_state = {authenticator.user_auth_state_key: info, **more}
    catalogue = await authenticator._rules.current()
    account = await read_account(
        authenticator, "ada", auth_state, catalogue.asked, trust_email=False
    )
    facts = facts_of(account, catalogue.asked)
    assert subject_of(authenticator, auth_state) == subject
    assert catalogue.plan_for("ada", (), facts).name == plan
    empty = {authenticator.user_auth_state_key: {}}
    nobody = await read_account(authenticator, "ada", empty, catalogue.asked, trust_email=False)
    assert facts_of(nobody, catalogue.asked) == Facts()


def test_mediawikis_shape() -> None:
    base = type("MWOAuthenticator", (), {})
    assert shape_of(base()).groups == ("groups",)


@pytest.mark.parametrize("name", ["entra", "github", "bitbucket", "openshift", "globus"])
async def test_addresses_that_nobody_has_verified_do_not_count(loaded: Any, name: str) -> None:
    authenticator = loaded(name)
    info = {"email": "a@example.org", "email_verified": True}
    asked = Facts(organisations=("x",))
    if name == "github":
        info["id"] = 1  # type: ignore[assignment]
        asked = Facts()
    state = {authenticator.user_auth_state_key: info}
    account = await read_account(authenticator, "ada", state, asked, trust_email=False)
    assert account.email is None


# --- providers that are asked more ------------------------------------------------------------


class Fake:
    """A provider's endpoints: paths with their answers, and what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []

    def handler(self) -> type[web.RequestHandler]:
        fake = self

        class Handler(web.RequestHandler):
            def get(self) -> None:
                fake.asked.append((self.request.uri, self.request.headers["Authorization"]))
                answer = fake.answers.get(self.request.path, 404)
                page = int(self.get_query_argument("page", "1"))
                if isinstance(answer, int):
                    raise web.HTTPError(answer)
                if isinstance(answer, list):
                    answer = answer[(page - 1) * 100 : page * 100]
                self.write(json.dumps(answer))

            post = get

        return Handler


@pytest.fixture
async def fake() -> AsyncIterator[tuple[Fake, str]]:
    provider = Fake()
    socket, port = bind_unused_port()
    server = HTTPServer(web.Application([(".*", provider.handler())]))
    server.add_socket(socket)
    yield provider, f"http://127.0.0.1:{port}"
    server.stop()
    await server.close_all_connections()


async def test_github_is_asked_for_teams_organisations_and_addresses(
    loaded: Any, fake: tuple[Fake, str]
) -> None:
    provider, url = fake
    hub = loaded("github")
    hub.github_api = url
    many = [{"slug": f"t{n}", "organization": {"login": "acme"}} for n in range(150)]
    provider.answers = {
        "/user/teams": [*many, {"slug": "research", "organization": {"login": "acme"}}, "odd", {}],
        "/user/orgs": [{"login": "acme"}, {"login": ["x"]}, None],
        "/user/emails": [
            {"email": "b@other.org", "primary": False, "verified": True},
            {"email": "a@example.org", "primary": True, "verified": True},
        ],
    }
    state = {
        "token_response": {"access_token": "t", "token_type": "bearer"},
        "github_user": {"id": 7},
    }
    asked = Facts(teams=("acme/research",), organisations=("acme",), email_domains=("example.org",))
    account = await read_account(hub, "ada", state, asked, trust_email=False)
    assert facts_of(account, asked) == asked
    assert {header for _, header in provider.asked} == {"Bearer t"}
    assert not any("access_token" in uri for uri, _ in provider.asked)
    provider.answers["/user/emails"][1]["verified"] = False
    account = await read_account(hub, "ada", state, asked, trust_email=False)
    assert account.email is None
    provider.asked.clear()
    await read_account(hub, "ada", state, Facts(), trust_email=False)
    assert provider.asked == [], "nothing is asked that no rule is about"
    provider.answers = {"/user/teams": 403, "/user/orgs": 404, "/user/emails": 403}
    account = await read_account(hub, "ada", state, asked, trust_email=False)
    assert facts_of(account, asked) == Facts(), "a scope that is missing gives no plan"


async def test_gitlab_is_asked_for_groups_with_their_whole_paths(
    loaded: Any, fake: tuple[Fake, str]
) -> None:
    provider, url = fake
    hub = loaded("gitlab")
    hub.gitlab_api = url
    provider.answers = {"/groups": [{"full_path": "acme/research", "path": "research"}]}
    info = {"id": 3, "email": "a@example.org", "confirmed_at": "2020-01-01T00:00:00Z"}
    state = {"token_response": {"access_token": "t"}, "gitlab_user": info}
    asked = Facts(provider_groups=("research", "acme/research"), emails=("a@example.org",))
    account = await read_account(hub, "ada", state, asked, trust_email=False)
    facts = facts_of(account, asked)
    assert (facts.provider_groups, facts.emails) == (("acme/research",), ("a@example.org",))
    info["confirmed_at"] = None
    account = await read_account(hub, "ada", state, asked, trust_email=False)
    assert account.email is None


# --- id tokens --------------------------------------------------------------------------------


def id_token(**claims: Any) -> dict[str, str]:
    now = int(time.time())
    whole = {"aud": "the-hub", "exp": now + 600, "iat": now, "sub": "1", "oid": "1", **claims}
    key = "a key that the hub never sees, as long as it must be"
    return {"id_token": jwt.encode(whole, key), "access_token": "a-secret-token"}


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, None),
        ({"aud": ["the-hub", "x"]}, None),
        ({"aud": "another"}, 403),
        ({"exp": 1}, 403),
        ({"nbf": 9_000_000_000}, 403),
    ],
)
@pytest.mark.parametrize("name", ["openid-connect", "entra"])
async def test_id_tokens_for_others_or_past_are_refused(
    loaded: Any, name: str, claims: dict[str, Any], status: int | None
) -> None:
    hub = loaded(name)
    if name == "openid-connect":
        hub.userdata_from_id_token = True
    answer = id_token(**claims)
    if status is None:
        assert (await hub.token_to_user(answer))["sub"] == "1"
        return
    with pytest.raises(web.HTTPError) as refused:
        await hub.token_to_user(answer)
    assert refused.value.status_code == status
    for secret in answer.values():
        assert secret not in str(refused.value), "no token in what is logged and shown"


async def test_the_auth_state_keeps_what_refreshing_needs(loaded: Any) -> None:
    hub = loaded("openid-connect")
    state = {
        "access_token": "a",
        "refresh_token": "r",
        "id_token": "i",
        "scope": [],
        "token_response": {"access_token": "a", "refresh_token": "r", "id_token": "i", "x": 1},
        "oauth_user": {"sub": "1", "phone": "2"},
    }
    authenticated = {"name": "ada", "auth_state": dict(state)}
    hub._make_lean(authenticated)
    assert authenticated["auth_state"] == {
        "jhub_tokens": {"subject": "1"},
        "token_response": {"access_token": "a", "refresh_token": "r"},
        "refresh_token": "r",
    }
    hub.keep_auth_state = {"oauth_user"}
    authenticated = {"name": "ada", "auth_state": dict(state)}
    hub._make_lean(authenticated)
    assert authenticated["auth_state"]["oauth_user"] == state["oauth_user"]


def test_a_class_with_the_mixin_keeps_its_own_rules() -> None:
    from oauthenticator.github import GitHubOAuthenticator

    cls = with_membership(GitHubOAuthenticator)
    assert issubclass(cls, ProviderMixin) and issubclass(cls, GitHubOAuthenticator)
    assert cls.check_allowed is GitHubOAuthenticator.check_allowed
    assert parse_catalogue(CATALOGUE).entry == "everybody"


@pytest.mark.parametrize(
    ("groups_from", "manages", "settled"),
    [
        (None, False, False),
        (None, True, True),
        ("provider", False, True),
        ("hub", False, False),
        ("hub", True, None),  # both would own the groups
    ],
)
def test_either_the_provider_or_the_hub_owns_the_groups(
    loaded: Any, groups_from: Any, manages: bool, settled: bool | None
) -> None:
    hub = loaded("openid-connect")
    hub.manage_groups = manages
    if settled is None:
        with pytest.raises(SystemExit):
            hub._settle_groups(groups_from)
        return
    hub._settle_groups(groups_from)
    assert hub.manage_groups is settled


def test_a_class_that_knows_no_groups_cannot_own_them(loaded: Any) -> None:
    hub = loaded("passwords")
    with pytest.raises(SystemExit):
        hub._settle_groups("provider")
    hub._settle_groups("hub")
