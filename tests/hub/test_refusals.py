"""Refusals are clear, on the form and through the API, and any number leaves the hub alive."""

from __future__ import annotations

import html
from typing import Any

import httpx
import pytest

from tests.hub.harness import HubProcess

pytestmark = pytest.mark.hub

TIMES = 20

# kind, member, options, status, what the message must say
KINDS: list[tuple[str, str, Any, int, list[str]]] = [
    ("plan", "ref-plan-%d", {"profile": "gpu"}, 403, ["Basic", "One GPU", "CPU"]),
    ("balance", "poor-%d", {"profile": "cpu"}, 403, ["tokens", "Ask the admin of the tests."]),
    ("unknown profile", "ref-unknown-%d", {"profile": "gpu8"}, 404, ["gpu8"]),
    ("unknown image", "ref-image-%d", {"profile": "cpu", "image": "py-9"}, 422, ["py-9"]),
    ("bad choice", "pro-%d", {"profile": "gpu", "gpu_model": "H100"}, 422, ["H100"]),
]
ODD_OPTIONS: list[Any] = [
    {"profile": 7},
    {"profile": {"a": "b"}},
    {"profile": ["cpu", "gpu"]},
    {"profile": "x" * 100_000},
    {"profile": "cpu", "image": True},
    {"profile": "<script>alert(1)</script>"},
    {"profile": "cpu\n"},
]


def shown(response: httpx.Response) -> str:
    """Return the error that a page shows."""
    text = response.text.partition("spawn-error-msg")[2].partition("</p>")[0]
    return html.unescape(text)


@pytest.mark.parametrize(("kind", "name", "options", "status", "says"), KINDS)
def test_by_api(
    hub: HubProcess, kind: str, name: str, options: Any, status: int, says: list[str]
) -> None:
    name %= 1
    hub.add_user(name)
    for _ in range(TIMES):
        response = hub.post_start(name, options)
        assert response.status_code == status, response.text
    message = response.json()["message"]
    for words in says:
        assert words in message
    assert not hub.standing(name)["sessions"]
    hub.wait_ready()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "options", "status", "says"), KINDS)
def test_by_form(
    hub: HubProcess, kind: str, name: str, options: Any, status: int, says: list[str]
) -> None:
    browser = hub.sign_in(name % 2)
    fields = {
        (key if key == "profile" else f"{key}:{options['profile']}"): value
        for key, value in options.items()
    }
    for _ in range(TIMES):
        response = browser.post_spawn(fields)
        assert response.status_code == status
    for words in says:
        assert words in shown(response), response.text
    assert "<script>alert" not in response.text
    hub.wait_ready()


@pytest.mark.parametrize("options", ODD_OPTIONS, ids=lambda value: repr(value)[:30])
def test_odd_options_are_refused_not_failed(hub: HubProcess, options: Any) -> None:
    hub.add_user("ref-odd")
    for _ in range(6):  # one more than the hub would survive
        response = hub.post_start("ref-odd", options)
        assert response.status_code in (404, 422), response.text
    hub.wait_ready()


@pytest.mark.parametrize("body", [[1, 2], "cpu", 7], ids=str)
def test_bodies_that_are_no_object(hub: HubProcess, body: Any) -> None:
    hub.add_user("ref-body")
    for _ in range(6):
        response = hub.post_start("ref-body", body)
        assert response.status_code in (400, 404, 422), response.text
    hub.wait_ready()


def test_too_many_servers_and_a_start_without_a_profile(hub: HubProcess) -> None:
    hub.add_user("ref-limit")
    response = hub.post_start("ref-limit", {})
    assert response.status_code in (201, 202), response.text  # one profile in the plan: no doubt
    hub.wait_server("ref-limit")
    for _ in range(TIMES):
        response = hub.post_start("ref-limit", {"profile": "cpu"}, "second")
        assert response.status_code == 403, response.text
    assert "server" in response.json()["message"]
    browser = hub.sign_in("ref-limit")
    for _ in range(TIMES):
        page = browser.post_spawn({"profile": "cpu"}, "/hub/spawn/ref-limit/second")
        assert page.status_code == 403
    assert "server" in shown(page)
    hub.stop_server("ref-limit")
    hub.add_user("pro-3")
    response = hub.post_start("pro-3", {})
    assert response.status_code in (404, 422), response.text
    assert "CPU" in response.json()["message"]
    assert "One GPU" in response.json()["message"]


def test_frozen(hub: HubProcess) -> None:
    hub.add_user("ref-frozen")
    member_id = hub.member("ref-frozen")["member_id"]
    done = hub.tokens("POST", f"members/{member_id}/freeze", json={"reason": "for the test"})
    assert done.status_code == 200, done.text
    for _ in range(TIMES):
        response = hub.post_start("ref-frozen", {"profile": "cpu"})
        assert response.status_code == 403, response.text
    assert "frozen" in response.json()["message"]
    browser = hub.sign_in("ref-frozen")
    for _ in range(TIMES):
        page = browser.post_spawn({"profile": "cpu"})
        assert page.status_code == 403
    assert "frozen" in shown(page)
    hub.wait_ready()


def test_a_hand_made_query_is_refused_too(hub: HubProcess) -> None:
    browser = hub.sign_in("ref-query")
    for path in ("/hub/spawn?opt-profile=gpu", "/hub/spawn?profile=gpu"):
        page = browser.get(path)
        assert page.status_code == 403
        assert "One GPU" in shown(page)
    assert not hub.standing("ref-query")["sessions"]
