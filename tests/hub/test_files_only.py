"""With an empty balance a member's files can still be opened, and nothing else."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from jhub_spawner.workspaces import workspace_of
from tests.hub.conftest import MakeHub
from tests.hub.harness import HubProcess

pytestmark = [pytest.mark.hub, pytest.mark.slow]

FILES = """\
profiles:
  files:
    title: Files only
    rate: 0
    cpu: 0.5
    memory: 512M
    max_run: 1h
    files: true
"""
#: What a member may leave among the files, to have it all back.
HOSTILE = """\
from pathlib import Path
Path("read").touch()
c.ServerApp.terminals_enabled = True
c.KernelProvisionerFactory.default_provisioner_name = "local-provisioner"
"""


@pytest.fixture
def hub(make_hub: MakeHub) -> HubProcess:
    hub = make_hub(real_server=True)
    path = hub.directory / "catalogue.yaml"
    text = path.read_text().replace("profiles:\n", FILES, 1)
    text = text.replace(
        "tokens: 0.01\n    profiles: [cpu]", "tokens: 0.01\n    profiles: [cpu, files]"
    )
    path.write_text(text)
    return hub.start()


def test_files_open_with_an_empty_balance(hub: HubProcess) -> None:
    browser = hub.sign_in("poor-1")
    refused = hub.post_start("poor-1", {"profile": "cpu"})
    assert refused.status_code == 403
    assert "open your files with “Files only”" in refused.json()["message"]
    page = browser.get("/hub/spawn").text
    assert 'value="files"' in page
    home = workspace(hub, "poor-1")
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter" / "jupyter_server_config.py").write_text(HOSTILE)

    hub.start_server("poor-1", profile="files")
    server = "/user/poor-1/api"
    saved = hub.client.put(
        f"{server}/contents/notes.txt", json={"type": "file", "format": "text", "content": "mine"}
    )
    assert saved.status_code == 201, saved.text
    assert hub.client.get("/user/poor-1/files/notes.txt").text == "mine"
    assert (home / "notes.txt").read_text() == "mine"
    assert hub.client.get(f"{server}/kernelspecs").json()["kernelspecs"] == {}
    for name in ("python3", "nothing"):
        assert hub.client.post(f"{server}/kernels", json={"name": name}).status_code >= 400
    assert hub.client.get(f"{server}/kernels").json() == []
    assert hub.client.post(f"{server}/terminals").status_code >= 400
    assert not list(home.rglob("read")), "the member's own configuration is not read"

    session = hub.wait_session("poor-1")
    assert (session["profile"], session["rate_mtok_h"]) == ("files", 0)
    assert session["ends_at_ms"] - session["ready_at_ms"] == 3_600_000
    balance = hub.standing("poor-1")["balance"]
    hub.stop_server("poor-1")
    hub.wait_no_session("poor-1")
    assert hub.standing("poor-1")["balance"] == balance
    [(_, _, reason, charged, rate)] = hub.usage("poor-1")
    assert (reason, charged, rate) == ("stopped", 0, 0)

    # The next server of the same name has everything again.
    hub.grant("poor-1", "5")
    hub.start_server("poor-1", profile="cpu")
    assert hub.client.get(f"{server}/kernelspecs").json()["kernelspecs"]
    assert (home / "read").exists(), "and the member's own configuration"
    hub.stop_server("poor-1")


def workspace(hub: HubProcess, name: str) -> Path:
    """Return the directory of a member whose servers have never run."""
    hub.add_user(name)
    uri = f"file:{hub.directory}/jupyterhub.sqlite?mode=ro"
    with sqlite3.connect(uri, uri=True) as connection:
        query = "select id, created from users where name = ?"
        ((user_id, created),) = connection.execute(query, (name,)).fetchall()
    user = SimpleNamespace(name=name, id=user_id, created=datetime.fromisoformat(created))
    return workspace_of(user, hub.directory / "workspaces")
