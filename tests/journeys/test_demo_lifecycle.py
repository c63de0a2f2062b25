"""The demo leaves nothing running, keeps its books, and gets over a hub that was killed."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.journeys.demo_hub import DemoHub, wait_until

pytestmark = [pytest.mark.journey, pytest.mark.slow]


def processes(demo: DemoHub) -> list[psutil.Process]:
    """Return what runs for this demo, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd()]
        except psutil.Error:
            continue
        if any(str(demo.state) in word for word in words) or (
            "--port" in words and str(demo.port) in words
        ):
            found.append(process)
    return found


def is_ready(admin: httpx.Client, server: str) -> bool:
    found = admin.get("/hub/api/users/edsger").json()["servers"].get(server)
    return bool(found and found["ready"])


def usages(demo: DemoHub) -> list[dict[str, Any]]:
    lines = demo.statement("edsger")["lines"]
    return [line for line in lines if line["kind"] == "usage"]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_ctrl_c_restart_and_a_killed_hub(tmp_path: Path):
    demo = DemoHub(tmp_path)
    demo.start()
    ports = [demo.settings()[key] for key in ("port", "hub_port", "proxy_port", "service_port")]
    try:
        with demo.api(demo.token_of("admin")) as admin:
            assert admin.post("/hub/api/users/edsger").status_code == 201
            # The second start is a change, at which the hub proves that the first one is alive.
            for server in ("", "second"):
                path = f"/hub/api/users/edsger/servers/{server}"
                assert admin.post(path, json={"profile": "cpu"}).status_code in (201, 202)
                wait_until(lambda: is_ready(admin, server), "edsger's server", 60)  # noqa: B023
            wait_until(lambda: usages(demo), "a charge to be booked", 40)
    finally:
        code = demo.stop()
    assert code == 0, demo.output
    assert "Stopped. The books are kept" in demo.output
    assert not [port for port in ports if is_listening(port)]
    assert processes(demo) == []

    # After a new start on the same ports, what ran is charged: once, and not for the time after.
    stopped_ms = time.time_ns() // 1_000_000
    demo.start()
    wait_until(lambda: "running" not in str(usages(demo)), "the sessions to be settled", 40)
    assert len(usages(demo)) == 2
    assert all(line["from_ms"] < line["to_ms"] < stopped_ms for line in usages(demo))
    assert [demo.settings()[key] for key in ("hub_port", "proxy_port", "service_port")] == ports[1:]

    # A killed hub: the demo says so and ends; the next one is not kept out by what is left.
    hub = next(process for process in processes(demo) if "jupyterhub" in process.cmdline())
    hub.kill()
    assert demo.wait() == 1
    assert "the hub has ended" in demo.output and "Traceback" not in demo.output
    wait_until(lambda: processes(demo) == [], "everything to end with the hub")
    demo.start()
    assert demo.stop() == 0, demo.output

    # --reset begins anew.
    demo.start("--reset")
    try:
        assert demo.command("statement", "edsger").returncode == 1
    finally:
        assert demo.stop() == 0, demo.output
    assert demo.command("audit").returncode == 0
    demo.assert_no_tracebacks()
