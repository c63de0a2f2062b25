"""The newest JupyterLab and Notebook: whatever else a member may meet."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.hub.conftest import hubs
from tests.hub.harness import HubProcess
from tests.journeys.every_lab import test_notebook_7
from tests.journeys.lab import (
    LABS,
    LabTab,
    lab_hub,
    leave,
    no_news,
    stopped,
    tail,
    terminal,
    workspace,
    write_notebook,
)

__all__ = ["test_notebook_7"]

pytestmark = [pytest.mark.journey, pytest.mark.slow]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hubs(tmp_path_factory) as make:
        yield lab_hub(make(real_server=True), "newest")


def test_no_tab_open(hub: HubProcess, browser: Browser):
    """A kernel and a terminal run with no tab: a checkpoint is written, and a line."""
    name = "pro-6"
    hub.add_user(name)
    hub.start_server(name)
    home = workspace(hub, name)
    write_notebook(home / "alone.ipynb", "x = 1")
    answer = hub.client.post(
        f"/user/{name}/api/sessions",
        json={"path": "alone.ipynb", "name": "alone", "type": "notebook",
              "kernel": {"name": "python3"}},
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    # Terminals are login shells, whose path is the machine's own.
    status = f"{LABS['newest'].with_name('jhub-tokens')} status"
    hub.wait_session(name)
    with terminal(hub, name) as shell:
        # Asked while there is time: on a busy machine, no more than a warning fits before an end.
        shell.type(f"until {status} | grep -q stops; do sleep 0.5; done; {status}")
        shell.reads("of 300, burning 60 an hour", "This session has cost 0", "It stops in")
        leave(hub, name, 40)
        shell.reads("[jhub-tokens] This server stops in", "the balance is used up")
        shell.reads("Open documents are being saved")
    stopped(hub, name, 60)
    assert (home / ".ipynb_checkpoints" / "alone-checkpoint.ipynb").exists(), tail(hub)


def test_stop_when_the_cells_are_done(hub: HubProcess, browser: Browser):
    name = "pro-2"
    tab = LabTab.sign_in(browser, hub, name)
    hub.start_server(name)
    home = workspace(hub, name)
    release = home / "release"
    wait = (
        "import os, time\n"
        f"while not os.path.exists({str(release)!r}): time.sleep(0.1)\n"
        "print('done')"
    )
    write_notebook(home / "long.ipynb", wait)
    no_news(home)
    tab.open("long.ipynb")
    tab.kernel_is("Idle")
    tab.page.locator(".jp-Notebook .jp-Cell").first.click()
    tab.page.keyboard.press("Shift+Enter")
    tab.kernel_is("Busy")
    tab.status.click()
    # Not check(), which looks at once: the panel is drawn from what the service says.
    box = tab.page.get_by_label("Stop when these cells are done")
    box.click()
    expect(box).to_be_checked(timeout=20_000)
    release.touch()
    stopped(hub, name, 40)
    cells = json.loads((home / "long.ipynb").read_text())["cells"]
    assert "done" in json.dumps(cells[0]["outputs"]), (
        "what the cell printed was saved before the stop"
    )
    tab.page.context.close()


def own_token(hub: HubProcess, name: str) -> dict[str, str]:
    """Return the header of a token of a member's own."""
    signed_in = {"auth": {"username": name, "password": "demo"}}
    answer = httpx.post(f"{hub.url}/hub/api/users/{name}/tokens", json=signed_in)
    return {"Authorization": f"token {answer.json()['token']}"}


def revoke_server_token(hub: HubProcess, name: str) -> None:
    """Revoke the token of a member's running server, as the member may on the hub's page."""
    path = f"{hub.url}/hub/api/users/{name}/tokens"
    own = own_token(hub, name)
    revoked = 0
    for token in httpx.get(path, headers=own).json()["api_tokens"]:
        if token["note"].startswith("Server at"):
            revoked += httpx.delete(f"{path}/{token['id']}", headers=own).status_code == 204
    assert revoked == 1


def nobody_else_may_act(hub: HubProcess, tab: LabTab) -> None:
    """Neither strangers, nor other members, nor a page that makes the member's browser ask."""
    hub.add_user("pro-9")
    for headers in ({}, own_token(hub, "pro-9")):
        for path, method in (("act", "POST"), ("feed", "GET")):
            url = f"{hub.url}/user/{tab.name}/jhub-tokens/{path}"
            answer = httpx.request(method, url, headers=headers, json={"act": "stop"})
            assert answer.status_code in (302, 403), (path, answer.text)
    body = "{method: 'POST', body: JSON.stringify({act: 'stop'})}"
    forged = f"path => fetch(path, {body}).then(answer => answer.status)"
    assert tab.page.evaluate(forged, f"/user/{tab.name}/jhub-tokens/act") == 403


def test_service_away_token_revoked_extension_off(hub: HubProcess, browser: Browser):
    name = "pro-3"
    tab = LabTab.sign_in(browser, hub, name)
    hub.start_server(name)
    tab.open()
    expect(tab.status).to_contain_text("60/h", timeout=30_000)
    nobody_else_may_act(hub, tab)
    service = hub.service()
    service.suspend()
    try:
        expect(tab.status).to_contain_text("ago", timeout=40_000)
        expect(tab.status).to_contain_text("Balance")
    finally:
        service.resume()
    expect(tab.status).not_to_contain_text("ago", timeout=40_000)
    # Its token is revoked: it says so, with what was known, and Lab goes on.
    revoke_server_token(hub, name)
    tab.status.click()
    expect(tab.page.locator("#jhub-tokens-panel")).to_contain_text("refuses", timeout=60_000)
    # Switched off: nothing of it is there, and Lab is as it was.
    settings = workspace(hub, name) / ".jupyter" / "labconfig"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "page_config.json").write_text('{"disabledExtensions": {"jhub-tokens-lab": true}}')
    tab.open()
    expect(tab.page.locator(".jp-Launcher").first).to_be_visible(timeout=30_000)
    expect(tab.status).to_have_count(0)
    tab.page.context.close()
