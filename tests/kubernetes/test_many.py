"""Fifty servers on one wallet, which runs dry under all of them at once."""

from __future__ import annotations

import pytest

from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.hub.harness import eventually
from tests.kubernetes.conftest import MakeHub

pytestmark = pytest.mark.slow

_SERVERS = 50
#: All are asked for before the first is there, and two cores take minutes to begin them all.
_PATIENT = """\
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.Spawner.start_timeout = c.Spawner.http_timeout = 600
"""


def test_fifty_servers_run_dry_together(make_hub: MakeHub, figure) -> None:  # type: ignore[no-untyped-def]
    hub = make_hub(after=_PATIENT).start()
    hub.add_user("herd")
    hub.grant("herd", "40")  # each start needs what its shortest run takes, for all at once
    names = [f"server-{number}" for number in range(_SERVERS)]
    for name in names:
        answer = hub.post_start("herd", {"profile": "cpu"}, name)
        assert answer.status_code in (201, 202), answer.text

    def all_ready() -> bool:
        # Those that run already burn what the others need.
        if int(hub.standing("herd")["balance"]["grains"]) < 30 * GRAINS_PER_TOKEN:
            hub.grant("herd", "20")
        return sum(server["ready"] for server in hub.servers("herd").values()) == _SERVERS

    eventually(all_ready, "all are ready", within_s=540, every_s=1)
    eventually(
        lambda: not hub.namespace.items("pods", "component=singleuser-server"),
        "all pods are gone",
        within_s=240,
        every_s=1,
    )
    eventually(lambda: not hub.standing("herd")["sessions"], "all sessions have ended")
    rows = hub.usage("herd")
    assert len(rows) == _SERVERS
    assert {reason for _, _, reason, _, _ in rows} == {"dry"}
    for ready_ms, ended_ms, _, charged, rate in rows:
        assert charged == rate * (ended_ms - ready_ms) > 0
    ends = sorted(ended_ms for _, ended_ms, *_ in rows)
    figure("50 servers run dry", f"the last {(ends[-1] - ends[0]) / 1000:.1f} s after the first")
