"""The warden: acts when something is due, survives failures, and stops with the service."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger
from jhub_tokens.service import warden as warden_module
from jhub_tokens.service.serve import RunningService
from tests.service.conftest import HOUR_MS, Api, Story, identity, tokens, until
from tests.service.stub_hub import StubHub, User

MINUTE_MS = 60_000


async def test_warned_once_each_stopped_and_started_again_after_a_top_up(
    story: Story, hub: StubHub, ada: User, admin: User, api: Callable[..., Api]
) -> None:
    run = await story.run(ada, "cpu")
    notices: dict[str, dict[str, str]] = {}  # as they appear, in order

    async def look() -> list[dict[str, str]]:
        standing = await story.api.post("api/v1/hub/overview", {"member": identity(ada)})
        shown: list[dict[str, str]] = standing.json()["notices"]
        notices.update((notice["notice_id"], notice) for notice in reversed(shown))
        return shown

    await story.pass_ms(40 * HOUR_MS)
    await look()
    for minutes in (9 * 60 + 29, 2, 1, 18, 2, 3, 3, 1, 1):
        await story.pass_ms(minutes * MINUTE_MS)
        shown = await look()
    kinds = [notice["kind"] for notice in notices.values()]
    assert kinds == ["used_percent", "time_left", "time_left", "time_left", "last_warning",
                     "stopped_dry"]  # fmt: skip
    texts = [notice["text"] for notice in notices.values()]
    assert "80 %" in texts[0]
    assert "lasts 30 min more" in texts[1]
    assert texts[-2].startswith("Last warning")
    # A warning that has come true is not left to be read.
    assert {notice["kind"] for notice in shown} == {"used_percent", "stopped_dry"}
    stops = (await story.api.get("api/v1/hub/stops")).json()["stops"]
    assert [stop["session_id"] for stop in stops] == [run["session_id"]]
    await story.end(run["start_key"])
    refused = await story.admit(ada, "cpu")
    assert refused.json()["code"] == "balance"
    assert refused.json()["refusal"]["alternatives"] == [], "nothing smaller fits"
    boss = api(hub.add_token(admin, "admin:users"))
    (row,) = (await boss.get("api/v1/members?q=ada")).json()["members"]
    grant = {"tokens": "5", "reason": "asked nicely", "key": "key-of-this-grant"}
    await boss.post(f"api/v1/members/{row['member_id']}/grants", grant)
    assert (await story.admit(ada, "cpu")).status_code == 201
    statement = (await boss.get(f"api/v1/members/{row['member_id']}/statement")).json()
    (usage,) = (line for line in statement["lines"] if line["kind"] == "usage")
    assert usage["text"].endswith("stopped because the balance was used up")


async def test_an_idle_wallet_is_renewed_at_its_end(
    story: Story, ada: User, clock: ManualClock
) -> None:
    await story.join(ada)
    await story.pass_ms(31 * 24 * HOUR_MS)
    standing = (await story.api.post("api/v1/hub/overview", {"member": identity(ada)})).json()
    assert tokens(standing["balance"]) == 50
    assert standing["period_start_ms"] > clock.now_ms() - 2 * 24 * HOUR_MS


async def test_a_failing_pass_does_not_end_the_warden(
    story: Story,
    ada: User,
    ledger: Ledger,
    running: RunningService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warden_module, "_RETRY_MIN_S", 0.01)
    calls = 0

    def fail(limit: int) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("a bug in the books")

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "advance_due", fail)
        running.service.warden.wake()
        await until(lambda: calls >= 2, "it tries again")
        assert (await story.admit(ada, "cpu")).status_code == 201, "others go on meanwhile"
    await story.warden()
    metrics = (await story.api.get("metrics")).text
    assert "jhub_tokens_warden_failures_total 0" not in metrics


async def test_it_sleeps_until_the_deadline_by_itself(
    story: Story, ada: User, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody wakes it: the stop order comes within its longest sleep."""
    monkeypatch.setattr(warden_module, "_SLEEP_MAX_S", 0.05)
    await story.run(ada, "cpu")
    await story.warden()  # from here on it sleeps by the short limit
    clock.advance_ms(50 * HOUR_MS - 20_000)
    ledger = story.running.service.books.ledger
    await until(ledger.standing_stops, "the warden has looked by itself")
