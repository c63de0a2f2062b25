"""The embedded spawner ends every process that it started, and takes no other for its own."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from jhub_spawner import WorkspaceProcessSpawner
from jhub_spawner.workspaces import workspace_of
from tests.hub.harness import eventually

PARENT = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, {on_term})
child = [sys.executable, "-c", "import signal, time\\n"
         "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"]
same = subprocess.Popen(child)
own = subprocess.Popen(child, start_new_session=True)
open("children", "w").write(f"{{same.pid}} {{own.pid}}")
time.sleep(600)
"""


def member(name: str = "ann", id: int = 1, created: int = 2026) -> Any:
    return SimpleNamespace(name=name, id=id, created=datetime(created, 1, 1))


class Bare(WorkspaceProcessSpawner):
    """Without the hub around it."""

    own_env: dict[str, str] = {}

    def get_env(self) -> dict[str, str]:
        return dict(self.user_env({"PATH": os.environ["PATH"], **self.own_env}))

    def get_args(self) -> list[str]:
        return list(self.args)


async def started(tmp_path: Path, on_term: str) -> tuple[Bare, list[psutil.Process]]:
    spawner = Bare(user=member(), workspaces_dir=str(tmp_path / "workspaces"))
    spawner.term_timeout = 1
    spawner.cmd = [sys.executable, "-c", PARENT.format(on_term=on_term)]
    await spawner.start()
    file = spawner.workspace / "children"
    pids = eventually(lambda: file.exists() and file.read_text().split(), "the children run")
    return spawner, [psutil.Process(int(pid)) for pid in pids]


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("on_term", ["lambda *a: sys.exit()", "signal.SIG_IGN"])
async def test_a_stop_ends_the_children_too(tmp_path: Path, on_term: str) -> None:
    spawner, children = await started(tmp_path, on_term)
    assert await spawner.poll() is None
    await spawner.stop()
    assert await spawner.poll() is not None
    for child in children:
        eventually(lambda child=child: gone(child), "the child is gone", within_s=3)


JOB = """
import os, pathlib, signal, subprocess, sys, time
job = ("import os, signal, sys, time\\n"
       "def save(*_): time.sleep(0.5); open('saved', 'w').close(); sys.exit()\\n"
       "signal.signal(signal.SIGTERM, save); open('job', 'w').write(str(os.getpid()))\\n"
       "time.sleep(600)")
# As `nohup python train.py &` in a terminal that is then closed.
shell = [sys.executable, "-c", "import subprocess, sys; "
         "subprocess.Popen([sys.executable, '-c', sys.argv[1]])", job]
subprocess.run(shell, start_new_session=True)
open("children", "w").write("none")
time.sleep(600)
"""


async def test_a_job_that_has_left_the_server_saves_and_ends_with_it(tmp_path: Path) -> None:
    spawner = Bare(user=member(), workspaces_dir=str(tmp_path / "workspaces"))
    spawner.term_timeout = 1
    spawner.cmd = [sys.executable, "-c", JOB]
    spawner.own_env = {"JUPYTERHUB_API_TOKEN": "of this run", "JHUB_GRACE_SECONDS": "20"}
    await spawner.start()
    file = spawner.workspace / "job"
    job = psutil.Process(int(eventually(lambda: file.exists() and file.read_text(), "it runs")))
    assert job.ppid() != spawner.pid
    again = Bare(user=member(), workspaces_dir=str(tmp_path / "workspaces"))
    again.load_state(spawner.get_state())
    assert again.grace_s == 20, "known to the next hub process, too"
    await spawner.stop()
    assert gone(job)
    assert (spawner.workspace / "saved").exists()


async def test_known_again_after_a_restart_of_the_hub(tmp_path: Path) -> None:
    first, _ = await started(tmp_path, "lambda *a: sys.exit()")
    state = first.get_state()
    again = Bare(user=member(), workspaces_dir=str(tmp_path / "workspaces"))
    again.load_state(state)
    assert await again.poll() is None
    await again.stop(now=True)  # not our child: a zombie until the first one looks
    assert await again.poll() == 0
    assert await first.poll() is not None


async def test_a_recycled_process_id_is_no_server(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        spawner = Bare(user=member(), workspaces_dir=str(tmp_path))
        spawner.load_state({"pid": stranger.pid, "create_time_ms": 1_000})
        assert await spawner.poll() == 0
        await spawner.stop()
        assert stranger.poll() is None
    finally:
        stranger.communicate()


async def test_never_started_is_not_running(tmp_path: Path) -> None:
    spawner = Bare(user=member(), workspaces_dir=str(tmp_path))
    assert await spawner.poll() == 0
    await spawner.stop()


def test_a_workspace_belongs_to_an_identity(tmp_path: Path) -> None:
    root = tmp_path / "workspaces"
    first = workspace_of(member("ann"), root)
    assert first.stat().st_mode & 0o777 == 0o700
    assert workspace_of(member("renamed"), root) == first
    assert workspace_of(member("ann", created=2027), root) != first
    assert workspace_of(member("ann", id=2), root) != first


@pytest.mark.parametrize("name", ["../../etc", "名前", "a b", "x" * 300, "*", "[a]", "a\x00b", ""])
def test_odd_names_stay_below_the_root(tmp_path: Path, name: str) -> None:
    root = tmp_path / "workspaces"
    path = workspace_of(member(name), root)
    assert path.parent == root
    assert path.is_dir()
    assert len(path.name) < 80
