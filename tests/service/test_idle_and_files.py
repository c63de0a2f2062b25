"""Idle servers and servers for files only, as members, their servers and the hub meet them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import CATALOGUE, Api, Story, identity, until
from tests.service.stub_hub import StubHub, User
from tests.service.test_server_api import MINUTE_MS, report, scopes_of

FILES = "  files: {title: Files only, rate: 0, cpu: 0.5, memory: 512M, max_run: 1h, files: true}\n"


@pytest.fixture
def catalogue_path(tmp_path: Path) -> Path:
    text = CATALOGUE.replace("profiles:\n", f"profiles:\n{FILES}", 1)
    text = text.replace("gpus: 1, gpu", "gpus: 1, idle: {stop_after: 1h}, gpu")
    text = text.replace("profiles: [cpu", "profiles: [files, cpu")
    path = tmp_path / "catalogue.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def server(grace: User, hub: StubHub, api: Callable[..., Api]) -> Api:
    return api(hub.add_token(grace, *scopes_of(grace)))


async def idle_for(story: Story, server: Api, minutes: int) -> dict[str, Any]:
    view: dict[str, Any] = {}
    for _ in range(minutes // 5):
        await story.pass_ms(5 * MINUTE_MS)
        view = await report(server)
        await story.warden()
    return view


async def test_a_forgotten_gpu_is_warned_of_and_stopped(
    story: Story, grace: User, server: Api, hub_side: Api
) -> None:
    await story.join(grace)
    run = await story.run(grace, "gpu")
    await report(server, busy=["kernels"], active_age_ms=0)
    view = await idle_for(story, server, 45)
    assert (view["end_reason"], view["stopping"]) == ("dry", None)
    view = await idle_for(story, server, 10)
    assert (view["end_reason"], view["save_before_ms"]) == ("idle", 150_000)
    assert view["warn_before_ms"] == [10 * MINUTE_MS, 150_000, 2 * MINUTE_MS]
    texts = [notice["text"] for notice in view["notices"]]
    assert any("is idle and stopped in 10 min" in text for text in texts), texts
    # Somebody is there again: nothing is left of it.
    view = await report(server, busy=["page"], active_age_ms=0)
    assert view["end_reason"] == "dry"
    view = await idle_for(story, server, 65)
    assert view["stopping"] == "idle"
    (order,) = (await hub_side.get("api/v1/hub/stops")).json()["stops"]
    assert order["reason"] == "Nothing used it any more."
    story.clock.advance_ms(MINUTE_MS)
    assert 'late_stops_total{reason="idle"}' not in (await hub_side.get("metrics")).text
    await story.snapshot()
    assert "jhub_tokens_stops_overdue 1.0" in (await hub_side.get("metrics")).text
    await story.end(run["start_key"])
    metrics = (await hub_side.get("metrics")).text
    assert 'jhub_tokens_late_stops_total{reason="idle"} 1.0' in metrics
    assert "jhub_tokens_stops_overdue 0.0" in metrics
    said = (await server.post("api/v1/server", {})).json()
    assert any("because nothing used it any more" in n["text"] for n in said["notices"])


async def test_the_warden_is_woken_when_somebody_comes_back(
    story: Story, grace: User, server: Api
) -> None:
    await story.join(grace)
    await story.run(grace, "gpu")
    await report(server, busy=["kernels"], active_age_ms=0)
    await idle_for(story, server, 55)
    before = story.running.service.warden.passes
    await report(server, busy=["ssh"], active_age_ms=0)
    await until(lambda: story.running.service.warden.passes > before, "it looks by itself")


async def test_files_are_offered_and_told_of_when_the_balance_is_empty(
    story: Story, ada: User, hub_side: Api, admin: User, api: Callable[..., Api], hub: StubHub
) -> None:
    member = await story.join(ada)
    token = hub.add_token(admin, "custom:jhub-tokens:grant", "custom:jhub-tokens:read")
    body = {"tokens": "-50", "kind": "adjustment", "reason": "for the test", "key": "k-12345678"}
    granted = await api(token).post(f"api/v1/members/{member}/grants", body)
    assert granted.status_code == 201, granted.text
    refused = (await story.admit(ada, "")).json()  # who does not choose wants to work
    assert "“CPU”" in refused["message"]
    assert refused["code"] == "balance"
    assert "Meanwhile, open your files with “Files only”." in refused["message"] + str(
        refused["remedy"]
    )
    offers = (await hub_side.post("api/v1/hub/offers", {"member": identity(ada)})).json()["offers"]
    files = next(offer for offer in offers if offer["profile"] == "files")
    assert (files["open"], files["files"], files["rate"]) == (True, True, "free")
    assert files["lasts_ms"] == 60 * MINUTE_MS
    admission = await story.run(ada, "files")
    assert (admission["files"], admission["stop_time_ms"]) == (True, 30_000)
    again = (await story.admit(ada, "files", server_name="second")).json()
    assert (again["code"], again["message"]) == ("limit", "“Files only” is running already.")
    offers = (await hub_side.post("api/v1/hub/offers", {"member": identity(ada)})).json()["offers"]
    assert not next(offer for offer in offers if offer["profile"] == "files")["open"]
