"""A running server's own routes: one server's business by that server's token, and no other's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jhub_tokens.service.serve import RunningService
from tests.service.conftest import HOUR_MS, Api, Story, tokens, until
from tests.service.stub_hub import StubHub, User

MINUTE_MS = 60_000


def scopes_of(user: User, server_name: str = "") -> list[str]:
    """Return what the hub makes of a server's token."""
    return [
        f"users:activity!user={user.name}",
        f"access:servers!server={user.name}/{server_name}",
        f"custom:jhub-tokens:server!server={user.name}/{server_name}",
    ]


@pytest.fixture
def server_of(hub: StubHub, api: Callable[..., Api]) -> Callable[..., Api]:
    """Make clients that are a running server."""
    return lambda user, name="": api(hub.add_token(user, *scopes_of(user, name)))


async def report(server: Api, **said: Any) -> dict[str, Any]:
    answer = await server.post("api/v1/server", said)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def test_a_server_learns_how_it_stands(
    story: Story, ada: User, server_of: Callable[..., Api]
) -> None:
    await story.join(ada)
    server = server_of(ada)
    view = await report(server)
    assert (view["session"], view["ends_at_ms"]) == (None, None)
    await story.run(ada, "cpu")
    await story.pass_ms(HOUR_MS)
    view = await report(server)
    assert (view["member"], view["server_name"], view["plan_title"]) == ("ada", "", "Basic")
    assert (tokens(view["balance"]), tokens(view["session"]["cost"])) == (49, 1)
    assert view["end_reason"] == "dry"
    assert view["ends_at_ms"] - view["as_of_ms"] == 49 * HOUR_MS
    assert view["ends_at_ms"] - view["stop_at_ms"] == 30_000, "the stop time"
    minutes = [ms / MINUTE_MS for ms in view["warn_before_ms"]]
    assert minutes == [30, 10, 5, 2.5, 1], "none when the order to stop is already due"
    assert view["save_before_ms"] == 150_000, "grace and stop time"
    assert view["ask_again_ms"] == 37_500, "four times within the last warning"
    assert view["console_url"] == "/services/tokens/"


@pytest.mark.parametrize("path", ["server", "server/keep-running", "server/stop"])
async def test_nobody_but_a_server_is_answered(
    path: str, story: Story, ada: User, grace: User, admin: User, hub: StubHub,
    api: Callable[..., Api],
) -> None:  # fmt: skip
    await story.join(ada)
    await story.run(ada, "cpu")
    body = {"for_ms": 60_000} if path.endswith("running") else {}
    strangers = [
        hub.add_token(admin, "admin:users", "custom:jhub-tokens:grant", "custom:jhub-tokens:read"),
        hub.add_token(ada, "custom:jhub-tokens:read!user=ada"),
        hub.add_token(ada, "custom:jhub-tokens:server!user=ada"),  # of no one server
        hub.add_token(grace, *scopes_of(ada)),  # the hub gives nobody that; if it did
        hub.add_token(ada, *scopes_of(ada), *scopes_of(ada, "second")),  # of which?
    ]
    for token in strangers:
        assert (await api(token).post(f"api/v1/{path}", body)).status_code == 403
    assert (await api().post(f"api/v1/{path}", body)).status_code == 401


async def test_a_servers_token_opens_nothing_else(
    story: Story, ada: User, server_of: Callable[..., Api]
) -> None:
    member = await story.join(ada)
    server = server_of(ada)
    for path in ("members/me", f"members/{member}", f"members/{member}/statement", "members"):
        assert (await server.get(f"api/v1/{path}")).status_code == 403, path
    assert (await server.get("api/v1/members/me/settings")).status_code == 403


async def test_the_scope_names_the_server(
    story: Story, grace: User, server_of: Callable[..., Api], hub_side: Api
) -> None:
    await story.join(grace)
    await story.run(grace, "cpu")
    second = await story.run(grace, "gpu", "second")
    view = (await server_of(grace, "second").post("api/v1/server/stop", {})).json()
    assert (view["server_name"], view["stopping"]) == ("second", "asked")
    orders = (await hub_side.get("api/v1/hub/stops")).json()["stops"]
    assert [order["session_id"] for order in orders] == [second["session_id"]]
    assert (await report(server_of(grace)))["stopping"] is None


async def test_stop_asked_twice_is_one_order_and_no_notice(
    story: Story, ada: User, server_of: Callable[..., Api], hub_side: Api
) -> None:
    await story.join(ada)
    server = server_of(ada)
    assert (await server.post("api/v1/server/stop", {})).status_code == 409, "it does not run"
    run = await story.run(ada, "cpu")
    for _ in range(2):
        assert (await server.post("api/v1/server/stop", {})).json()["stopping"] == "asked"
    (order,) = (await hub_side.get("api/v1/hub/stops")).json()["stops"]
    assert order["reason"] == "You asked for it."
    assert (await report(server))["notices"] == []
    await story.end(run["start_key"])
    assert (await hub_side.get("api/v1/hub/stops")).json()["stops"] == []
    assert (await report(server))["session"] is None


async def test_shadow_mode_stops_who_asks_and_nobody_else(
    story: Story, ada: User, server_of: Callable[..., Api], hub_side: Api,
    catalogue_path: Path, running: RunningService,
) -> None:  # fmt: skip
    catalogue_path.write_text(catalogue_path.read_text().replace("enforce: true", "enforce: false"))
    await until(lambda: not running.service.books.catalogue.enforce, "the catalogue is read")
    await story.join(ada)
    await story.run(ada, "cpu")
    await story.pass_ms(51 * HOUR_MS)
    server = server_of(ada)
    view = await report(server)
    assert (view["enforced"], view["stopping"]) == (False, None), "dry, and runs on"
    await server.post("api/v1/server/stop", {})
    assert len((await hub_side.get("api/v1/hub/stops")).json()["stops"]) == 1


async def test_keep_running_within_the_plan(
    story: Story, ada: User, server_of: Callable[..., Api],
    catalogue_path: Path, running: RunningService,
) -> None:  # fmt: skip
    await story.join(ada)
    await story.run(ada, "cpu")
    server = server_of(ada)
    path = "api/v1/server/keep-running"
    view = (await server.post(path, {"for_ms": 3 * HOUR_MS})).json()
    assert view["keep_until_ms"] - view["as_of_ms"] == 3 * HOUR_MS
    assert view["keep_latest_ms"] - view["as_of_ms"] == 8 * HOUR_MS
    refused = await server.post(path, {"for_ms": 9 * HOUR_MS})
    assert refused.status_code == 409
    assert "480 minutes" in refused.json()["message"]
    assert (await report(server))["keep_until_ms"] == view["keep_until_ms"], "as it was"
    assert (await server.post(path, {"for_ms": None})).json()["keep_until_ms"] is None
    # The operator may forbid it, and the profile's longest run bounds it.
    text = catalogue_path.read_text()
    catalogue_path.write_text(
        text.replace("profiles: [cpu], max_servers: 1", "profiles: [cpu], keep_running: 0s")
    )
    await until(
        lambda: not running.service.books.catalogue.plans["basic"].keep_running_ms,
        "the catalogue is read",
    )
    assert (await server.post(path, {"for_ms": HOUR_MS})).status_code == 409
    assert (await report(server))["keep_latest_ms"] is None


async def test_reports_are_written_when_they_are_news(
    story: Story, ada: User, server_of: Callable[..., Api], running: RunningService
) -> None:
    await story.join(ada)
    await story.run(ada, "cpu")
    server = server_of(ada)
    writes = 0
    write = running.service.books.ledger.servers._runner.write

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal writes
        writes += 1
        return write(*args, **options)

    running.service.books.ledger.servers._runner.write = counting  # type: ignore[method-assign]
    try:
        await report(server)  # nothing to say
        await report(server, busy=["jobs", "gpu"], active_age_ms=0)
        for _ in range(4):
            await story.pass_ms(MINUTE_MS)
            await report(server, busy=["gpu", "jobs"], active_age_ms=0)
        assert writes == 1, "the same again within five minutes is no news"
        await story.pass_ms(MINUTE_MS)
        await report(server, busy=["gpu", "jobs"], active_age_ms=0)
        await report(server, busy=[], active_age_ms=1_000)
        assert writes == 3
    finally:
        running.service.books.ledger.servers._runner.write = write  # type: ignore[method-assign]


async def test_the_hub_is_not_asked_each_time_but_before_a_stop(
    story: Story, ada: User, server_of: Callable[..., Api], hub: StubHub
) -> None:
    await story.join(ada)
    await story.run(ada, "cpu")
    server = server_of(ada)
    await report(server)
    asked = hub.asked
    for _ in range(5):
        await report(server)
    assert hub.asked == asked
    hub.tokens.clear()  # revoked
    assert (await server.post("api/v1/server/stop", {})).status_code == 403
    assert (await report_status(server)) == 403, "what was remembered is forgotten"


async def report_status(server: Api) -> int:
    return (await server.post("api/v1/server", {})).status_code


@pytest.mark.parametrize(
    "body", [{"busy": ["mining"]}, {"active_age_ms": -1}, {"server_name": "another"}]
)
async def test_bad_reports_name_the_field(
    body: dict[str, Any], ada: User, server_of: Callable[..., Api]
) -> None:
    answer = await server_of(ada).post("api/v1/server", body)
    assert answer.status_code == 422
    assert answer.json()["field"].startswith(next(iter(body)))
