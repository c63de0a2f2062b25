"""Break-glass over HTTP: the hub's catalogue and report, and the administrators' list."""

from __future__ import annotations

from collections.abc import Callable

from tests.service.conftest import Api, identity
from tests.service.stub_hub import StubHub, User

READ = "custom:jhub-tokens:read"
REPORT = {
    "acts": [
        {
            "act_id": "act-of-the-test",
            "opened_age_ms": 3_600_000,
            "duration_ms": 5_400_000,
            "actor": "root (says: olga)",
            "how": "command",
            "reason": "a class",
        }
    ]
}


async def test_what_the_hub_tells_is_for_administrators_to_see(
    hub_side: Api, api: Callable[..., Api], hub: StubHub, ada: User
) -> None:
    kept = (await hub_side.get("api/v1/hub/catalogue")).json()
    profile = kept["profiles"][0]
    start = {
        "start_key": "through-1",
        "act_id": "act-of-the-test",
        "member": identity(ada),
        "profile": profile["profile"],
        "rate_mtok_h": profile["rate_mtok_h"],
        "started_age_ms": 3_000_000,
        "ready_age_ms": 2_000_000,
        "alive_age_ms": 1_000_000,
        "ended_age_ms": 1_000_000,
    }
    for _ in range(2):
        answer = await hub_side.post("api/v1/hub/break-glass", {**REPORT, "starts": [start]})
        assert answer.json() == {"acts": ["act-of-the-test"], "starts": ["through-1"]}
    [act] = (await api(hub.add_token(ada, READ)).get("api/v1/break-glass")).json()["acts"]
    assert (act["reason"], act["actor"]) == ("a class", "root (says: olga)")
    [told] = act["starts"]
    assert told["name"] == "ada"
    assert int(told["charge"]["grains"]) == profile["rate_mtok_h"] * 1_000_000
    own = api(hub.add_token(ada, f"{READ}!user=ada"))
    assert (await own.get("api/v1/break-glass")).status_code == 403
    assert (await own.get("api/v1/hub/catalogue")).status_code == 403
    assert (await own.post("api/v1/hub/break-glass", REPORT)).status_code == 403
