"""The extension's server part: countdown, activity, saving and words, each with real parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jhub_tokens_lab import activity, state_file, status
from jhub_tokens_lab.client import Client
from jhub_tokens_lab.countdown import Countdown
from jhub_tokens_lab.handlers import FeedHandler
from jhub_tokens_lab.saving import Saver
from jhub_tokens_lab.words import REASONS, duration, say
from tests.lab.doubles import (  # noqa: F401  (a fixture)
    LOG,
    MINUTE,
    FakeTab,
    Sessions,
    some_contents,
    view,
)


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


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_short_commands_count_for_what_runs_them(child: list[subprocess.Popen[bytes]]) -> None:
    """As in a build under nohup: no process of it lives long enough to be seen twice."""
    samples = activity.Activity(own_machine=False)
    samples.sample()
    short = f"{sys.executable} -c 'for i in range(10**7): pass'; sleep 600; true"
    child.append(subprocess.Popen(["sh", "-c", short], start_new_session=True))

    def works() -> bool:
        shell = activity.processes()[child[0].pid]
        return samples._works([shell._replace(moved_bytes=0)], 1.0)

    until(works, "the shell itself does next to nothing")
    os.killpg(child[0].pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_job_whose_terminal_was_closed_is_still_this_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "the token of this very server")
    left = subprocess.run(
        ["sh", "-c", "nohup sleep 600 >/dev/null 2>&1 & echo $!"],
        capture_output=True,
        check=True,
        start_new_session=True,
    )
    job = int(left.stdout)

    def is_ours() -> bool:
        found = activity.processes()
        return job in {process.pid for process in activity.ours(found, own_machine=False)}

    try:
        # It is `sh` and `nohup` before it is `sleep`, and has no environment in between.
        until(lambda: activity.processes()[job].name == "sleep", "the job runs")
        until(is_ours, "it is found by its token")
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "another's")
        assert not is_ours()
    finally:
        os.kill(job, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("parent", "kind"), [("sshd-session", "ssh"), ("tini", "terminals")])
def test_a_real_terminal_counts_while_somebody_types(
    parent: str, kind: str, tmp_path: Path, child: list[subprocess.Popen[bytes]]
) -> None:
    """A login is a shell below sshd; any other terminal is one of Jupyter's, or tmux's."""
    program = tmp_path / parent
    program.symlink_to(sys.executable)
    main, other = os.openpty()
    login = (
        "import os, subprocess, sys\n"
        "subprocess.run(['cat'], stdin=0, stdout=0, start_new_session=True, preexec_fn=lambda:"
        " __import__('fcntl').ioctl(0, __import__('termios').TIOCSCTTY, 0))"
    )
    child.append(subprocess.Popen([str(program), "-c", login], stdin=other, start_new_session=True))
    tty = os.ttyname(other)
    try:
        samples = activity.Activity(own_machine=False)
        until(
            lambda: tty in activity.terminals_of(activity.ours(activity.processes(), False)),
            "the terminal is in use",
        )
        hour_ago = time.time() - 3600
        os.utime(tty, (hour_ago, hour_ago))
        assert kind not in samples.sample(), "nobody has typed for an hour"
        os.write(main, b"ls\n")
        read = b""
        while read.count(b"ls") < 2:
            read += os.read(main, 100)  # the terminal's echo, and what cat has read
        assert kind in samples.sample()
    finally:
        os.close(main)
        os.close(other)


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
