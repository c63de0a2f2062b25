"""Beside jupyterhub-idle-culler: what works is spared, what does not is culled, the books agree."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.hub.conftest import MakeHub
from tests.hub.harness import HubProcess, eventually
from tests.hub.test_files_only import workspace

pytestmark = [pytest.mark.hub, pytest.mark.slow]

#: Longer than a busy machine takes until a job is first heard of: two looks, a report, a push.
TIMEOUT_S = 30
#: As its documentation says, but that it looks every second.
CULLER = f"""\
c.JupyterHub.services.append({{
    "name": "culler",
    "command": [
        sys.executable, "-m", "jupyterhub_idle_culler", "--timeout={TIMEOUT_S}", "--cull-every=1",
    ],
}})
c.JupyterHub.load_roles.append({{
    "name": "culler",
    "services": ["culler"],
    "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
}})
"""
#: The extension of this checkout, whether or not one is installed.
SOURCES = Path(__file__).parents[2] / "labextension"
#: A job that no kernel and no terminal knows of, as `nohup train.py &` leaves behind.
JOB = """\
import subprocess, sys
c.ServerApp.jpserver_extensions = {"jhub_tokens_lab": True}
subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
"""


@pytest.fixture
def hub(make_hub: MakeHub) -> HubProcess:
    before = f'import os; os.environ["PYTHONPATH"] = {str(SOURCES)!r}'
    return make_hub(real_server=True, before=before, after=CULLER).start()


def test_a_job_keeps_its_server_and_an_idle_one_is_culled(hub: HubProcess) -> None:
    home = workspace(hub, "pro-1")
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter" / "jupyter_server_config.py").write_text(JOB)
    hub.start_server("pro-1")
    server = psutil.Process(hub.pid("pro-1"))
    hub.add_user("pro-2")
    hub.start_server("pro-2")

    def busy() -> str:
        rows = hub.books("select busy from server_reports join sessions using (session_id)")
        return str(rows)

    eventually(lambda: "jobs" in busy(), "the server reports its job", within_s=60)
    hub.wait_stopped("pro-2", within_s=120)
    hub.wait_no_session("pro-2")
    assert hub.usage("pro-2")[0][2] == "stopped"
    assert hub.servers("pro-1")[""]["ready"], "longer there, but it works"
    for job in server.children(recursive=True):
        if "while True: pass" in job.cmdline():
            job.kill()
    hub.wait_stopped("pro-1", within_s=120)
    hub.wait_no_session("pro-1")
