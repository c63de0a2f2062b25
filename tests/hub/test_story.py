"""The main job once, with a real JupyterLab server and a real kernel."""

from __future__ import annotations

import psutil
import pytest

from tests.hub.conftest import MakeHub
from tests.hub.harness import eventually

pytestmark = [pytest.mark.hub, pytest.mark.slow]


def test_a_real_server_with_a_kernel_is_started_metered_and_stopped(make_hub: MakeHub) -> None:
    hub = make_hub(real_server=True).start()
    browser = hub.sign_in("pro-1")
    assert "lasts until" in browser.get("/hub/spawn").text.lower()
    browser.post_spawn({"profile": "gpu", "gpu_model:gpu": "T4", "image:gpu": "py-1"})
    hub.wait_server("pro-1")
    session = hub.wait_session("pro-1")
    assert session["profile"] == "gpu"
    lab = browser.get("/user/pro-1/lab")
    assert lab.status_code == 200
    assert "JupyterLab" in lab.text

    # Its files are in the member's own directory.
    server = psutil.Process(hub.pid("pro-1"))
    workspace = server.cwd()
    assert workspace.startswith(f"{hub.directory}/workspaces/pro-1-")
    kernel = hub.client.post("/user/pro-1/api/kernels")
    assert kernel.status_code == 201, kernel.text
    kernels = eventually(lambda: server.children(recursive=True), "a kernel runs")

    home = browser.get("/hub/home").text
    assert "600 tokens per hour" in home
    hub.stop_server("pro-1")
    for process in kernels:
        eventually(lambda process=process: not process.is_running(), "kernels end too")
    hub.wait_no_session("pro-1")
    [(ready_ms, ended_ms, reason, charged, rate)] = hub.usage("pro-1")
    assert reason == "stopped"
    assert charged == rate * (ended_ms - ready_ms) > 0
    assert "/user/pro-1/" not in hub.routes()
