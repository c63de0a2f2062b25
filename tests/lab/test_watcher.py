"""The loop of the extension's server part: it warns, saves, stops, and shows what it last knew."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jhub_tokens_lab import state_file, status
from jhub_tokens_lab.client import Away, Refused
from jhub_tokens_lab.watcher import DONE_AFTER_MS, Watcher
from tests.lab.doubles import MINUTE, World, a_world, some_contents  # noqa: F401  (fixtures)


async def test_each_warning_once_and_the_last_one_saves(world: World) -> None:
    for minute in (0, 31, 31.1, 51, 56, 57):
        await world.at(minute)
    assert world.said == ["stops", "stops", "stops"]
    assert world.tab.saves == []
    await world.at(57.6)
    assert world.said[-1] == "saves"
    assert world.tab.saves == ["last_warning"]
    await world.at(57.7)
    assert len(world.tab.saves) == 1
    await world.at(58.5)
    assert len(world.tab.saves) == 2, "what was typed since is saved, too"
    assert world.tab.pushed[-1]["saving"] is True
    for minute in (59, 59.2):
        await world.at(minute)
    assert world.said == ["stops"] * 3 + ["saves"] * 2, "at 30, 10, 5, 2.5 minutes and the last"


async def test_an_answer_that_was_long_on_its_way_takes_nothing_back(world: World) -> None:
    await world.at(50.01)
    world.service.view["ends_at_ms"] += 1_000
    await world.at(50.011)
    assert (world.said, world.watcher.state()["warning_ms"]) == (["stops"], 10 * MINUTE)


async def test_a_service_that_takes_its_time_holds_up_no_warning(world: World) -> None:
    await world.at(0)
    answers = asyncio.Event()

    async def report(busy: list[str], active_age_ms: int | None) -> dict[str, Any]:
        await answers.wait()
        return world.service.view

    world.service.report = report  # type: ignore[method-assign]
    world.now = 58 * MINUTE
    running = asyncio.ensure_future(world.watcher.run())
    try:
        deadline = time.monotonic() + 20
        while not world.tab.saves and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert (world.said, world.tab.saves) == (["saves"], ["last_warning"])
    finally:
        running.cancel()


async def test_a_top_up_takes_the_warning_back(world: World) -> None:
    await world.at(57.6)
    world.service.view["ends_at_ms"] = 600 * MINUTE
    await world.at(59)
    state = world.watcher.state()
    assert (state["warning_ms"], state["level"]) == (None, "calm")
    saves = len(world.tab.saves)
    await world.at(61)
    assert len(world.tab.saves) == saves


async def test_a_stop_without_a_warning_saves_at_once(world: World) -> None:
    world.service.view["stopping"] = "frozen"
    await world.at(1)
    assert (world.said, world.tab.saves) == (["stopping"], ["last_warning"])


async def test_away_and_refused_show_what_was_known(world: World, tmp_path: Path) -> None:
    await world.at(0)
    for problem, error in (("away", Away("no route")), ("refused", Refused(403, "forbidden", "-"))):
        world.service.problem = error
        await world.at(world.now / MINUTE + 5)
        state = world.watcher.state()
        assert (state["problem"], state["view"]["balance"]["tokens"]) == (problem, "10.000")
    assert state["age_ms"] == 10 * MINUTE
    await world.at(57.6)
    assert world.tab.saves == ["last_warning"], "the end comes all the same, and saves"
    file = tmp_path / "runtime" / "jhub-tokens.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "refuses" in status.text_of(state_file.read(tmp_path / "runtime", None), "en")


async def test_stops_when_the_cells_are_done(world: World) -> None:
    await world.at(0)
    world.watcher.stop_when_done(True)
    world.kernels = ["idle", "busy"]
    await world.at(5)
    assert world.service.stops == 0
    assert world.service.reports[-1][0] == ["kernels"]
    world.kernels = ["idle", "idle"]
    world.now += DONE_AFTER_MS - 1
    await world.watcher.act()
    assert world.service.stops == 0, "between two cells there is a moment"
    world.service.problem = Away("gone")
    await world.at(7)
    assert world.service.stops == 0
    world.service.problem = None
    await world.at(8)
    assert (world.service.stops, world.tab.saves) == (1, ["asked"])


async def test_a_plan_that_does_not_allow_it(world: World) -> None:
    world.service.view["stop_when_done"] = False
    await world.at(0)
    with pytest.raises(Refused):
        world.watcher.stop_when_done(True)


async def test_the_hub_hears_of_work_and_of_keep_running_only(world: World) -> None:
    await world.at(0)
    assert world.service.told_hub == 0, "an idle server looks idle"
    world.kernels = ["busy"]
    await world.at(2)
    assert world.service.told_hub == 1
    world.service.problem = Away("down for an hour")
    await world.at(3)
    assert world.service.told_hub == 2, "work goes on while the token service is away"
    world.service.problem = None
    world.kernels = []
    await world.at(4)
    assert world.service.told_hub == 2
    await world.watcher.keep_running(30 * MINUTE)
    await world.at(5)
    assert world.service.told_hub == 3
    await world.at(40)
    assert world.service.told_hub == 3, "the time is over"


async def test_somebody_at_a_page_is_use_and_a_tab_that_is_open_is_not(world: World) -> None:
    world.jupyter_age_ms = 0  # Lab's own polling keeps Jupyter busy
    await world.at(0)
    await world.at(2)
    assert world.service.reports[-1][0] == ["page"], "no page has told of itself yet"
    world.watcher.page_used()
    await world.at(4)
    await world.at(6)
    assert [busy for busy, _ in world.service.reports[-2:]] == [["page"], []]
    assert world.service.reports[-1][1] == 2 * MINUTE


async def test_somebody_who_comes_back_after_a_warning_is_told_of_at_once(world: World) -> None:
    world.service.view["end_reason"] = "idle"
    await world.at(0)
    await world.at(51)
    assert world.said == ["stops"]
    world.watcher.page_used()
    world.service.view.update(ends_at_ms=600 * MINUTE, end_reason="dry")
    await world.at(51.01)
    assert world.service.reports[-1][0] == ["page"]
    assert world.watcher.state()["warning_ms"] is None


async def test_terminals_of_this_server_get_a_line(world: World) -> None:
    main, other = os.openpty()
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    child = subprocess.Popen(
        command, stdin=other, stdout=other, stderr=other, start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )  # fmt: skip
    try:
        assert b"up" in os.read(main, 100)
        Watcher._say(world.watcher, "stops", left="5 min", reason="dry")
        read = b""
        while b"used up" not in read:
            read += os.read(main, 500)
        assert b"stops in 5 min: the balance is used up" in read
    finally:
        child.kill()
        child.wait()
        os.close(main)
        os.close(other)
