"""API tokens for machines: read one's own balance, start one profile, and nothing else."""

from __future__ import annotations

import httpx
import pytest

from jhub_tokens.hub.scopes import START_SCOPE, allowed_profiles, start_scope, start_scopes
from tests.hub.harness import HubProcess

READ = "custom:jhub-tokens:read!user"


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (set(), None),
        ({"servers!user=ada"}, None),
        ({f"{START_SCOPE}:gpu!user=ada"}, {"gpu"}),
        ({f"{START_SCOPE}:gpu"}, {"gpu"}),
        ({f"{START_SCOPE}:gpu!group=staff", f"{START_SCOPE}:cpu!user=ada"}, {"gpu", "cpu"}),
        ({f"{START_SCOPE}:gpu!user=bob"}, set()),
        ({f"{START_SCOPE}:gpu!group=other"}, set()),
        ({f"{START_SCOPE}:gpu!server=ada/"}, set()),
        ({f"{START_SCOPE}!user=ada", f"{START_SCOPE}:gpu!user=ada"}, None),
        ({f"{START_SCOPE}!user=bob", f"{START_SCOPE}:gpu!user=ada"}, {"gpu"}),
        ({f"{START_SCOPE}!user=root", f"{START_SCOPE}:gpu!user=root", "admin:servers"}, None),
    ],
)
def test_what_a_token_may_start(scopes: set[str], allowed: set[str] | None) -> None:
    assert allowed_profiles(scopes, "ada", ["staff"]) == allowed


def test_profiles_whose_names_fit_no_scope_have_none() -> None:
    assert start_scope("gpu4") == f"{START_SCOPE}:gpu4"
    assert [start_scope(name) for name in ("GPU", "gpu.large", "a+b")] == [None] * 3
    assert set(start_scopes(["gpu", "GPU"])) == {START_SCOPE, f"{START_SCOPE}:gpu"}


def make_token(hub: HubProcess, name: str, scopes: list[str]) -> httpx.Client:
    """Make a token as a member does on the hub's own page."""
    browser = hub.sign_in(name)
    xsrf = browser.xsrf(browser.get("/hub/token").text)
    answer = browser.client.post(
        f"/hub/api/users/{name}/tokens",
        params={"_xsrf": xsrf},
        json={"note": "nightly training", "scopes": scopes, "expires_in": 3600},
    )
    assert answer.status_code == 201, answer.text
    headers = {"Authorization": f"token {answer.json()['token']}"}
    return httpx.Client(base_url=hub.url, headers=headers, timeout=30)


def start(hub: HubProcess, client: httpx.Client, name: str, **options: str) -> httpx.Response:
    answer = client.post(f"/hub/api/users/{name}/server", json=options)
    if answer.status_code in (201, 202):
        hub.wait_server(name)
        hub.stop_server(name)
    return answer


def test_a_token_starts_its_one_profile_and_no_other(hub: HubProcess) -> None:
    name = "pro-17"
    with make_token(hub, name, ["servers!user", f"{START_SCOPE}:cpu!user"]) as client:
        refused = start(hub, client, name, profile="gpu")
        assert refused.status_code in (400, 422) and "may start cpu only" in refused.text
        assert start(hub, client, name, profile="cpu").status_code in (201, 202)
        assert start(hub, client, name).status_code in (201, 202), "it need not name it"
        assert client.get("/services/tokens/api/v1/members/me").status_code == 403
        assert client.get("/hub/api/users").status_code == 403
        assert client.post("/hub/api/users/pro-1/server", json={}).status_code in (403, 404)


def test_a_token_for_the_balance_starts_nothing(hub: HubProcess) -> None:
    name = "pro-18"
    with make_token(hub, name, [READ]) as client:
        hub.member(name)
        assert client.get("/services/tokens/api/v1/members/me").json()["plan"] == "pro"
        assert start(hub, client, name, profile="cpu").status_code == 403


def test_other_tokens_start_what_the_member_may(hub: HubProcess) -> None:
    name = "pro-19"
    with make_token(hub, name, ["servers!user"]) as client:
        assert start(hub, client, name, profile="gpu").status_code in (201, 202)
