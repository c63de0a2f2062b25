"""The extension's server part: countdown, activity, saving, and the loop, each with real parts."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from jhub_tokens_lab import activity, state_file, status
from jhub_tokens_lab.client import Away, Client, Refused
from jhub_tokens_lab.countdown import Countdown
from jhub_tokens_lab.handlers import FeedHandler
from jhub_tokens_lab.saving import Saver
from jhub_tokens_lab.watcher import DONE_AFTER_MS, Watcher
from jhub_tokens_lab.words import REASONS, duration, say

MINUTE = 60_000
LOG = logging.getLogger("tests.lab")


def view(**changes: Any) -> dict[str, Any]:
    """Return an answer of the service: 60 minutes left, documents are saved in the last 2.5."""
    return {
        "balance": {"grains": "0", "tokens": "10.000"},
        "allotment": {"grains": "0", "tokens": "50.000"},
        "burn_mtok_h": 6000,
        "session": {
            "title": "CPU",
            "cost": {"grains": "0", "tokens": "1.509"},
            "rate_mtok_h": 6000,
        },
        "ends_at_ms": 60 * MINUTE,
        "stop_at_ms": 60 * MINUTE - 30_000,
        "end_reason": "dry",
        "stopping": None,
        "warn_before_ms": [30 * MINUTE, 10 * MINUTE, 5 * MINUTE, 150_000, MINUTE],
        "save_before_ms": 150_000,
        "enforced": True,
        "keep_until_ms": None,
        "stop_when_done": True,
        "ask_again_ms": MINUTE,
        "as_of_ms": 0,
        **changes,
    }


# --- countdown ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_min", "reached", "level"),
    [
        (60, None, "calm"),
        (30, 30, "amber"),
        (9, 10, "amber"),
        (5, 5, "red"),
        (2, 2.5, "red"),
        (1, 1, "red"),
    ],
)
def test_levels_follow_the_thresholds(left_min: float, reached: float | None, level: str) -> None:
    known = Countdown(view(), received_ms=1000)
    now = 1000 + (60 - left_min) * MINUTE
    assert known.left_ms("ends_at_ms", now) == left_min * MINUTE
    assert known.reached(now) == (None if reached is None else reached * MINUTE)
    assert known.level(now) == level


def test_shadow_mode_warns_of_nothing_but_a_stop_that_was_asked_for() -> None:
    assert Countdown(view(enforced=False), 0).level(59 * MINUTE) == "calm"
    assert Countdown(view(enforced=False, stopping="asked"), 0).level(0) == "red"


# --- activity ----------------------------------------------------------------------------------


@pytest.fixture
def child() -> Iterator[list[subprocess.Popen[bytes]]]:
    children: list[subprocess.Popen[bytes]] = []
    yield children
    for each in children:
        each.kill()
        each.wait()


def busy_soon(samples: activity.Activity) -> list[str]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if busy := samples.sample():
            return busy
    return []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_counts_while_it_works(child: list[subprocess.Popen[bytes]]) -> None:
    samples = activity.Activity(own_machine=False)
    child.append(subprocess.Popen(["sleep", "600"]))
    found = activity.ours(activity.processes(), own_machine=False)
    assert child[0].pid in {process.pid for process in found}
    before = activity.processes()[child[0].pid]
    assert not samples._works([before], 60), "that it is there is not enough"
    child.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
    assert busy_soon(samples) == ["jobs"]


def test_ssh_counts_while_somebody_types(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tty = tmp_path / "pts"
    tty.touch()
    sshd = activity.Process(10, 1, "sshd-session", 0, 0, "", 1)
    shell = activity.Process(11, 10, "bash", 0, 0, str(tty), 2)
    monkeypatch.setattr(activity, "processes", lambda: {10: sshd, 11: shell})
    monkeypatch.setattr(activity, "gpu_percent", lambda: 0)
    samples = activity.Activity(own_machine=True)
    assert samples.sample() == ["ssh"]
    hour_ago = time.time() - 3600
    os.utime(tty, (hour_ago, hour_ago))
    assert samples.sample() == []


@pytest.mark.parametrize(("said", "busy"), [("0\n73\n", ["gpu"]), ("0\n", []), ("broken", [])])
def test_gpus_by_a_real_command(
    said: str, busy: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text(
        f"#!/bin/sh\ncat <<'E'\n{said}E\n" if said.endswith("\n") else "#!/bin/sh\nexit 9"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(activity, "processes", lambda: {})
    assert activity.Activity(own_machine=True).sample() == busy
    assert activity.Activity(own_machine=False).sample() == [], "somebody else's, for all we know"


def test_whose_machine_it_is(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    environ = tmp_path / "1" / "environ"
    environ.write_bytes(b"A=1\0JUPYTERHUB_SERVICE_PREFIX=/user/ada/\0")
    assert activity.is_own_machine("/user/ada/", tmp_path)
    assert not activity.is_own_machine("/user/ad", tmp_path)
    assert not activity.is_own_machine("", tmp_path)
    environ.unlink()
    assert not activity.is_own_machine("/user/ada/", tmp_path)


# --- saving ------------------------------------------------------------------------------------


class FakeTab:
    """A tab that answers, or does not."""

    def __init__(self, *documents: str, answers: bool = True) -> None:
        self.documents = list(documents)
        self.answers = answers
        self.pushed: list[dict[str, Any]] = []
        self.saves: list[str] = []
        self.others: list[FakeTab] = []
        self.saving = False

    async def save(self, reason: str) -> dict[str, Any]:
        assert not any(tab.saving for tab in self.others), "tabs take turns"
        self.saves.append(reason)
        self.saving = True
        await asyncio.sleep(0 if self.answers else 3600)
        self.saving = False
        return {"documents": self.documents, "copies": [], "failed": []}

    def push(self, state: dict[str, Any]) -> None:
        self.pushed.append(state)


class Sessions:
    def __init__(self, *paths: str) -> None:
        self.paths = paths

    async def list_sessions(self) -> list[dict[str, Any]]:
        return [{"path": path, "type": "notebook"} for path in self.paths]


@pytest.fixture
def contents(tmp_path: Path) -> Any:
    for name in ("open.txt", "kernel.ipynb"):
        text = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
        (tmp_path / name).write_text(text)
    return AsyncLargeFileManager(root_dir=str(tmp_path))


async def test_checkpoints_of_tabs_and_of_kernels_without_one(
    contents: Any, tmp_path: Path
) -> None:
    tabs = [FakeTab("open.txt"), FakeTab("open.txt", "gone.txt")]
    for tab in tabs:
        tab.others = [other for other in tabs if other is not tab]
    saver = Saver(contents, Sessions("kernel.ipynb"), LOG)
    done = await saver.save_all(tabs, "last_warning")
    assert done["checkpoints"] == ["kernel.ipynb", "open.txt"]
    kept = tmp_path / ".ipynb_checkpoints"
    assert {p.name for p in kept.iterdir()} == {"kernel-checkpoint.ipynb", "open-checkpoint.txt"}
    assert (await saver.save_all([], "asked"))["checkpoints"] == ["kernel.ipynb"], "no tab at all"


async def test_a_tab_that_sleeps_holds_nobody_up(contents: Any) -> None:
    asleep, awake = FakeTab("open.txt", answers=False), FakeTab("kernel.ipynb")
    done = await Saver(contents, Sessions(), LOG).save_all([asleep, awake], "asked", within_s=1)
    assert awake.saves == ["asked"]
    assert done["failed"] == ["open.txt"]


async def test_a_tab_that_closes_while_it_saves_holds_nobody_up(contents: Any) -> None:
    closing, awake = FeedHandler.__new__(FeedHandler), FakeTab("kernel.ipynb")
    closing.initialize(SimpleNamespace(tabs=[closing]))  # type: ignore[arg-type]
    closing._send = lambda message: closing.on_close()  # type: ignore[method-assign]
    done = await Saver(contents, Sessions(), LOG).save_all([closing, awake], "asked")
    assert (awake.saves, done["checkpoints"]) == (["asked"], ["kernel.ipynb"])
    assert closing.watcher.tabs == []


# --- the loop ----------------------------------------------------------------------------------


class Service:
    """The service as the client sees it."""

    def __init__(self) -> None:
        self.view = view()
        self.problem: Exception | None = None
        self.reports: list[tuple[list[str], int | None]] = []
        self.told_hub = 0
        self.stops = 0

    async def report(self, busy: list[str], active_age_ms: int | None) -> dict[str, Any]:
        if self.problem:
            raise self.problem
        self.reports.append((busy, active_age_ms))
        return self.view

    async def stop(self) -> dict[str, Any]:
        if self.problem:
            raise self.problem
        self.stops += 1
        return view(stopping="asked")

    async def keep_running(self, for_ms: int | None) -> dict[str, Any]:
        self.view = view(keep_until_ms=for_ms)
        return self.view

    async def tell_hub(self, age_ms: int) -> None:
        self.told_hub += 1


class World:
    """A watcher whose time, service and kernels are the test's."""

    def __init__(self, directory: Path, contents: Any) -> None:
        self.now = 0.0
        self.service = Service()
        self.kernels: list[str] = []
        self.tab = FakeTab("open.txt")
        samples = activity.Activity(own_machine=False)
        samples.sample = lambda: []  # type: ignore[method-assign]
        self.watcher = Watcher(
            self.service, Saver(contents, Sessions(), LOG), samples, lambda: self.kernels,
            directory, "", LOG, clock=lambda: self.now,
        )  # type: ignore[arg-type]  # fmt: skip
        self.watcher.tabs.append(self.tab)
        self.said: list[str] = []
        self.watcher._say = lambda key, **_: self.said.append(key)  # type: ignore[method-assign]

    async def at(self, minutes: float) -> None:
        self.now = minutes * MINUTE
        self.service.view = {**self.service.view, "as_of_ms": self.now}
        await self.watcher.ask_if_due()
        await self.watcher.act()
        if self.watcher._saving is not None:
            await self.watcher._saving


@pytest.fixture
def world(tmp_path: Path, contents: Any) -> World:
    return World(tmp_path / "runtime", contents)


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


# --- the file for terminals ---------------------------------------------------------------------


def test_each_server_has_a_file_of_its_own_whatever_it_is_called(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    names = ["", "default", "a.b", "a", "a/b", "../../outside", "..", "名 字"]
    for place, name in enumerate(names):
        known = {"age_ms": 0, "left_ms": None, "keep_left_ms": None, "place": place}
        state_file.write(runtime, name, known)
    for place, name in enumerate(names):
        state = state_file.read(runtime, name)
        assert state is not None and state["place"] == place, name
    assert len(list(runtime.iterdir())) == len(names)
    assert list(tmp_path.iterdir()) == [runtime], "nothing is written elsewhere"


# --- words, client ------------------------------------------------------------------------------


def test_words_in_both_languages() -> None:
    assert REASONS["en"].keys() == REASONS["zh"].keys()
    assert say("stops", "zh", left=duration(5 * MINUTE, "zh"), reason="dry") == (
        "此服务器将在 5 分钟 后停止：额度已用完。"
    )
    assert [duration(s * 1000, "en") for s in (0, 59, 61, 3660, 90_000)] == [
        "a moment", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h",
    ]  # fmt: skip


async def test_without_a_hub_with_tokens_there_is_nothing_to_do() -> None:
    assert not Client({}).usable
    assert not Client({"JUPYTERHUB_API_TOKEN": "x"}).usable


async def test_status_command(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "jhub_tokens_lab", "status"]
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(status.__file__).parents[1]),  # not what is installed
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
        "LANG": "C",
        "LC_ALL": "C",
    }
    nothing = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert (nothing.returncode, "Nothing is known" in nothing.stdout) == (1, True)
    known = {"problem": "", "view": view(), "age_ms": 0, "left_ms": 90 * MINUTE,
             "keep_left_ms": None, "language": "en"}  # fmt: skip
    state_file.write(tmp_path, "", known)
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [
        "Balance 10 of 50, burning 6 an hour",
        "This session has cost 1.5 so far",
    ]
    assert "the balance is used up" in done.stdout
    env["LC_ALL"] = "zh_CN.UTF-8"
    assert (
        "额度" in subprocess.run(run, env=env, capture_output=True, text=True, check=False).stdout
    )
    everything = subprocess.run(
        [*run, "--json"], env=env, capture_output=True, text=True, check=True
    )
    assert json.loads(everything.stdout)["view"]["burn_mtok_h"] == 6000
