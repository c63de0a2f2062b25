"""The whole story through the REST API alone: choose, start, run dry, top up, start again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.journeys.demo_hub import DemoHub, wait_until

pytestmark = [pytest.mark.journey, pytest.mark.slow]

TOKENS = "/services/tokens/api/v1"
CPU_RATE_MTOK_H = 720_000


@pytest.fixture(scope="module")
def admin(demo: DemoHub) -> Iterator[httpx.Client]:
    with demo.api(demo.token_of("admin")) as client:
        yield client


@pytest.fixture(scope="module")
def ada(demo: DemoHub, admin: httpx.Client) -> Iterator[httpx.Client]:
    with joined(demo, admin, "ada") as client:
        yield client


def standing(client: httpx.Client) -> dict[str, Any]:
    answer = client.get(f"{TOKENS}/members/me")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@contextmanager
def joined(demo: DemoHub, admin: httpx.Client, name: str) -> Iterator[httpx.Client]:
    """Create a user, and give a client of theirs once the membership is set up."""
    assert admin.post(f"/hub/api/users/{name}").status_code == 201
    with demo.api(demo.token_of(name)) as client:
        me = f"{TOKENS}/members/me"
        wait_until(lambda: client.get(me).status_code == 200, f"{name}'s membership", 40)
        yield client


def is_ready(client: httpx.Client, name: str) -> bool:
    server = client.get(f"/hub/api/users/{name}").json()["servers"].get("")
    return bool(server and server["ready"])


def start(client: httpx.Client, name: str, **options: str) -> httpx.Response:
    return client.post(f"/hub/api/users/{name}/server", json=options)


def test_story(demo: DemoHub, admin: httpx.Client, ada: httpx.Client):
    # 1. A member has a plan and this month's tokens.
    mine = standing(ada)
    assert (mine["plan"], mine["balance"]["tokens"]) == ("basic", "6.000")
    assert "one minute costs what one hour would cost" in mine["banner"]

    # 2. What the plan does not include, or what there is not, is refused, and weighs nothing.
    for options, said in (
        ({"profile": "gpu"}, "plan"),
        ({"profile": "quantum"}, "quantum"),
        ({"profile": "cpu", "image": "tf2.9-cuda11.2-runtime-v1.0.0"}, "image"),
    ):
        refused = start(ada, "ada", **options)
        assert 400 <= refused.status_code < 500, refused.text
        assert said in refused.json()["message"].lower(), refused.text
        assert "<" not in refused.json()["message"]
    assert standing(ada)["balance"]["tokens"] == "6.000"

    # 3. A start is admitted; metering begins when the server is ready, not before.
    assert start(ada, "ada", profile="cpu").status_code in (201, 202)
    wait_until(lambda: is_ready(ada, "ada"), "ada's server to be ready", 60)
    session = wait_until(
        lambda: next((s for s in standing(ada)["sessions"] if s["ready_at_ms"]), None),
        "the session to be metered",
    )
    assert session["rate_mtok_h"] == CPU_RATE_MTOK_H

    # 4. Balance, burn rate and end are one straight line.
    running = standing(ada)
    assert running["burn_mtok_h"] == CPU_RATE_MTOK_H
    burnt = (running["as_of_ms"] - session["ready_at_ms"]) * CPU_RATE_MTOK_H
    allotment = int(running["allotment"]["grains"])
    assert int(running["balance"]["grains"]) == allotment - burnt
    assert running["runs_out_at_ms"] == session["ready_at_ms"] + allotment // CPU_RATE_MTOK_H
    second = ada.post("/hub/api/users/ada/servers/second", json={"profile": "cpu"})
    assert 400 <= second.status_code < 500 and "server" in second.json()["message"]

    # 5. Warned once for each threshold, stopped through the hub, and told why.
    notices: dict[str, str] = {}

    def has_ended() -> bool:
        now = standing(ada)
        notices.update({notice["notice_id"]: notice["kind"] for notice in now["notices"]})
        return not now["sessions"]

    wait_until(has_ended, "ada's server to be stopped and its session to end", 60)
    stopped = standing(ada)
    kinds = Counter(notices.values())
    # A warning that a later one outdates is no longer shown; each was there once.
    assert kinds.pop("time_left") in (1, 2)
    assert kinds == {"used_percent": 1, "last_warning": 1, "stopped_dry": 1}
    assert not is_ready(ada, "ada")
    routes = [route for route in admin.get("/hub/api/proxy").json() if "/user/ada" in route]
    assert routes == []
    refused = start(ada, "ada", profile="cpu")
    assert 400 <= refused.status_code < 500
    assert "balance" in refused.json()["message"].lower()

    # A top-up by the admin, with a reason; repeated, it is the same one.
    order = {"tokens": "20", "reason": "to finish the exercise", "key": "journey-api-topup"}
    grants = f"{TOKENS}/members/{stopped['member_id']}/grants"
    assert ada.post(grants, json=order).status_code == 403
    first, second = (admin.post(grants, json=order) for _ in range(2))
    assert (first.status_code, first.json()) == (201, second.json())
    assert start(ada, "ada", profile="cpu").status_code in (201, 202)
    wait_until(lambda: is_ready(ada, "ada"), "ada's server to be ready again", 60)
    assert ada.delete("/hub/api/users/ada/server").status_code in (202, 204)
    wait_until(lambda: not standing(ada)["sessions"], "the second session to end")

    # 6. The statement adds up, and each session costs its closed form to the millisecond.
    answer = ada.get(f"{TOKENS}/members/{stopped['member_id']}/statement")
    assert answer.status_code == 200, answer.text
    statement = answer.json()
    amounts = [int(line["amount"]["grains"]) for line in statement["lines"]]
    assert int(statement["opening"]["grains"]) + sum(amounts) == int(statement["closing"]["grains"])
    assert statement["closing"]["grains"] == standing(ada)["balance"]["grains"]
    usage = [line for line in statement["lines"] if line["kind"] == "usage"]
    assert len({line["session_id"] for line in usage}) == 2
    for line in usage:
        duration_ms = line["to_ms"] - line["from_ms"]
        assert -int(line["amount"]["grains"]) == duration_ms * line["rate_mtok_h"] > 0


def test_others_see_nothing_of_it(demo: DemoHub, admin: httpx.Client, ada: httpx.Client):
    with joined(demo, admin, "grace") as grace:
        assert standing(grace)["plan"] == "pro"
        ada_id = standing(ada)["member_id"]
        for path in (f"members/{ada_id}", f"members/{ada_id}/statement", "members"):
            assert grace.get(f"{TOKENS}/{path}").status_code in (403, 404), path
    listed = admin.get(f"{TOKENS}/members").json()
    assert {row["name"] for row in listed["members"]} >= {"ada", "grace"}
    assert httpx.get(f"{demo.url}{TOKENS}/members/me").status_code in (401, 403)
