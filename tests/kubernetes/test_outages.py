"""Hub or API server away while pods live or die: no session is lost, none is charged twice."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from tests.hub.harness import eventually
from tests.kubernetes.conftest import MakeHub
from tests.kubernetes.harness import now_ms

DAEMON = os.environ.get("JHUB_TOKENS_TEST_DAEMON")


def test_a_pod_dies_while_the_hub_is_away(make_hub: MakeHub) -> None:
    hub = make_hub().start()
    for name in ("dies", "lives"):
        hub.add_user(name)
        hub.start_server(name)
        hub.wait_session(name)
    begun_ms = now_ms()
    hub.kill()
    hub.delete_pod("dies")
    hub.wait_no_pod("dies")
    gone_ms = now_ms()
    hub.start()
    ended = hub.wait_ended("dies")
    assert ended.cost_is_exact
    # Never for longer than it lived; and what is not proven is not charged.
    assert ended.ready_ms <= ended.ended_ms <= gone_ms + 1000
    assert ended.ended_ms >= begun_ms - 60_000
    assert not hub.servers("dies")

    # The other one is the same session as before.
    assert hub.servers("lives")[""]["ready"]
    hub.wait_session("lives")
    hub.stop_server("lives")
    lived = hub.wait_ended("lives")
    assert lived.ended_ms > gone_ms
    assert lived.cost_is_exact


@pytest.mark.skipif(DAEMON is None, reason="no daemon of this cluster can be killed")
def test_the_api_server_is_killed_under_running_servers(make_hub: MakeHub) -> None:
    assert DAEMON is not None
    hub = make_hub().start()
    hub.add_user("outlives")
    hub.start_server("outlives")
    hub.wait_session("outlives")
    subprocess.run([DAEMON, "kill", "apiserver"], check=True, timeout=60)
    try:
        # The hub looks several times, sees nothing, and takes that for neither life nor death.
        until = time.monotonic() + 20
        while time.monotonic() < until:
            assert hub.client.get("/user/outlives/").status_code == 200
            assert hub.servers("outlives")[""]["ready"]
            time.sleep(1)
    finally:
        subprocess.run([DAEMON, "start", "apiserver"], check=True, timeout=60)
        eventually(hub.namespace.cluster.answers, "the API server answers", within_s=120)
    [session] = hub.standing("outlives")["sessions"]
    assert session["ready_at_ms"]
    # What ends afterwards is seen.
    told_ms = now_ms()
    hub.delete_pod("outlives", grace_s=1)
    # The kubelet, too, has lost its API server, and waits up to a minute between two tries: to
    # read that the pod is to end, and to write that it has.
    hub.wait_no_pod("outlives", within_s=180)
    gone_ms = now_ms()
    ended = hub.wait_ended("outlives", within_s=120)
    assert ended.cost_is_exact
    assert told_ms - 1_000 <= ended.ended_ms <= gone_ms + 30_000
