"""Starts that fail or are cancelled, and a `Spawner.stop` that does not do what it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.hub.conftest import hubs
from tests.hub.harness import HubProcess, eventually

pytestmark = pytest.mark.hub

AFTER = """
class Stubborn(WorkspaceProcessSpawner):
    async def stop(self, now=False):
        import pathlib
        if self.user.name.startswith("stubborn") and pathlib.Path("stubborn").exists():
            raise RuntimeError("cannot stop")
        await super().stop(now=now)

async def hook(spawner):
    name = spawner.user.name
    if name == "slow":
        spawner.args = ["--slow"]
    elif name == "broken":
        spawner.cmd, spawner.http_timeout = ["false"], 2
    elif name == "raises":
        raise RuntimeError("the operator's own hook fails")
    with open("hooks", "a") as file:
        file.write(name + "\\n")

c.JupyterHub.spawner_class = Stubborn
c.Spawner.pre_spawn_hook = hook
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hubs(tmp_path_factory) as make:
        yield make(after=AFTER).start()


def test_cancelled_pending_start_costs_nothing(odd: HubProcess) -> None:
    odd.add_user("slow")
    start = threading.Thread(target=lambda: odd.post_start("slow", {"profile": "cpu"}))
    start.start()
    eventually(lambda: odd.standing("slow")["sessions"], "the start is admitted")
    odd.api("DELETE", "users/slow/server")
    start.join()
    odd.wait_no_session("slow")
    assert odd.standing("slow")["used"]["grains"] == "0"
    [(ready_ms, _, reason, _, _)] = odd.usage("slow")
    assert (ready_ms, reason) == (None, "cancelled")


def test_failed_start_costs_nothing(odd: HubProcess) -> None:
    odd.add_user("broken")
    assert odd.post_start("broken", {"profile": "cpu"}).status_code == 500
    odd.wait_no_session("broken")
    assert odd.standing("broken")["used"]["grains"] == "0"
    assert odd.usage("broken")[0][2] == "failed"


def test_the_operators_hook_runs_after_admission_and_may_fail(odd: HubProcess) -> None:
    odd.add_user("raises")
    assert odd.post_start("raises", {"profile": "cpu"}).status_code == 500
    odd.wait_no_session("raises")
    assert odd.standing("raises")["used"]["grains"] == "0"


def test_a_process_that_outlives_its_stop_is_charged_until_it_is_gone(odd: HubProcess) -> None:
    odd.add_user("stubborn-1")
    odd.start_server("stubborn-1")
    odd.wait_session("stubborn-1")
    process = psutil.Process(odd.pid("stubborn-1"))
    flag = odd.directory / "stubborn"
    flag.touch()
    odd.api("DELETE", "users/stubborn-1/server")
    odd.wait_stopped("stubborn-1")  # so says the hub
    eventually(lambda: "outlived its stop" in odd.log(), "the agent notices")
    assert process.is_running()
    assert odd.standing("stubborn-1")["sessions"], "the session goes on while the process lives"
    flag.unlink()
    freed = time.time() * 1000
    odd.wait_no_session("stubborn-1", within_s=40)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    [(ready_ms, ended_ms, _, charged, rate)] = odd.usage("stubborn-1")
    assert ended_ms >= freed - 50
    assert charged == rate * (ended_ms - ready_ms)


def test_refusals_neither_raise_nor_reset_the_count_of_real_failures(odd: HubProcess) -> None:
    # A success sets the count to zero; then four real failures, one below the limit.
    odd.add_user("fine")
    odd.start_server("fine")
    odd.stop_server("fine")
    odd.add_user("raises")
    for _ in range(4):
        assert odd.post_start("raises", {"profile": "cpu"}).status_code == 500
    for _ in range(6):
        assert odd.post_start("fine", {"profile": "gpu"}).status_code == 403
    odd.wait_ready()
    assert odd.process is not None
    assert odd.process.poll() is None
    # The fifth real failure stops the hub, as the operator wants it.
    odd.post_start("raises", {"profile": "cpu"})
    eventually(lambda: odd.process.poll() is not None, "the hub gives up", within_s=30)
