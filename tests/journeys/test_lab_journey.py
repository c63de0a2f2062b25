"""The extension in real JupyterLabs, the oldest and the newest, under a real hub."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.hub.conftest import hubs
from tests.hub.harness import HubProcess
from tests.journeys.lab import (
    LABS,
    LabTab,
    lab_hub,
    sources_in,
    stopped,
    tail,
    workspace,
    write_notebook,
)

pytestmark = pytest.mark.journey

#: What has nothing to do with Lab's version is shown once.
NEWEST = pytest.mark.parametrize("hub", ["newest"], indirect=True)


@pytest.fixture(scope="module", params=list(LABS))
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubProcess]:
    with hubs(tmp_path_factory) as make:
        yield lab_hub(make(real_server=True), request.param)


def test_a_dry_server_loses_nothing_of_two_tabs(hub: HubProcess, browser: Browser):
    """Two tabs hold different unsaved edits of one notebook: both are on disk when it stops."""
    name = "brief-1"
    first = LabTab.sign_in(browser, hub, name)
    hub.start_server(name)
    home = workspace(hub, name)
    write_notebook(home / "work.ipynb", "x = 0")
    second = first.another()
    first.open("work.ipynb")
    second.open("work.ipynb", workspace="second")
    first.type_cell("first = 'edited in the first tab'")
    second.type_cell("second = 'edited in the second tab'")
    expect(first.status).to_contain_text("left")
    expect(first.status).to_have_attribute("data-level", "red", timeout=90_000)
    expect(first.page.locator(".Toastify__toast").first).to_contain_text("stops in", timeout=20_000)
    stopped(hub, name, 120)
    written = sources_in(home)
    text = "\n".join(written.values())
    assert "edited in the first tab" in text and "edited in the second tab" in text, (
        written,
        tail(hub),
    )
    assert len(written) == 2, f"one copy beside the notebook, however often it was saved: {written}"
    checkpoints = list((home / ".ipynb_checkpoints").glob("work-checkpoint.ipynb"))
    assert len(checkpoints) == 1
    first.page.context.close()


@NEWEST
def test_no_tab_open_checkpoints_all_the_same(hub: HubProcess, browser: Browser):
    """A kernel runs with no tab: its notebook gets a checkpoint before the server is stopped."""
    name = "brief-2"
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
    stopped(hub, name, 150)
    assert (home / ".ipynb_checkpoints" / "alone-checkpoint.ipynb").exists(), tail(hub)


def test_panel_keep_running_stop_and_language(hub: HubProcess, browser: Browser):
    name = "pro-1"
    tab = LabTab.sign_in(browser, hub, name)
    hub.start_server(name)
    home = workspace(hub, name)
    write_notebook(home / "calm.ipynb", "y = 2")
    tab.open("calm.ipynb")
    page = tab.page
    expect(tab.status).to_contain_text("Balance", timeout=30_000)
    expect(tab.status).to_have_attribute("data-level", "calm")
    expect(tab.status).to_contain_text("60/h", timeout=30_000)
    tab.status.click()
    panel = page.locator("#jhub-tokens-panel")
    expect(panel).to_be_visible()
    expect(panel).to_contain_text("of 300")
    expect(panel.get_by_role("link", name="Balance and statement")).to_have_attribute(
        "href", "/services/tokens/"
    )
    # Keep running: an hour ahead is within the plan's eight.
    time = page.evaluate("new Date(Date.now() + 3600e3).toTimeString().slice(0, 5)")
    panel.get_by_label("Keep running until").fill(time)
    panel.get_by_role("button", name="Keep", exact=True).click()
    expect(panel).to_contain_text("Kept running, even if idle", timeout=20_000)
    tab.shot("lab-panel-en")
    # The status of a terminal, without any token.
    state = next(home.rglob("jhub-tokens.json"))
    assert state.stat().st_mode & 0o077 == 0, "nobody else reads it"
    assert json.loads(state.read_text())["keep_left_ms"] > 0
    # In Lab's language, Chinese.
    settings = home / ".jupyter/lab/user-settings/@jupyterlab/translation-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "plugin.jupyterlab-settings").write_text('{"locale": "zh_CN"}')
    tab.open("calm.ipynb")
    expect(tab.status).to_contain_text("额度", timeout=30_000)
    tab.status.click()
    expect(panel).to_contain_text("保持运行至")
    tab.shot("lab-panel-zh")
    # Stop from inside, with an edit that was not saved.
    tab.type_cell("y = 'unsaved until the stop'")
    panel.get_by_role("button", name="停止此服务器").click()
    page.locator(".jp-Dialog").get_by_role("button", name="停止此服务器").click()
    stopped(hub, name, 30)
    assert "unsaved until the stop" in sources_in(home)["calm.ipynb"]
    page.context.close()


@NEWEST
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
    tab.open("long.ipynb")
    expect(
        tab.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first
    ).to_be_attached(timeout=60_000)
    tab.page.locator(".jp-Notebook .jp-Cell").first.click()
    tab.page.keyboard.press("Shift+Enter")
    expect(
        tab.page.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]").first
    ).to_be_attached()
    tab.status.click()
    tab.page.get_by_label("Stop when these cells are done").check()
    release.touch()
    stopped(hub, name, 40)
    cells = json.loads((home / "long.ipynb").read_text())["cells"]
    assert "done" in json.dumps(cells[0]["outputs"]), (
        "what the cell printed was saved before the stop"
    )
    tab.page.context.close()


def revoke_server_token(hub: HubProcess, name: str) -> None:
    """Revoke the token of a member's running server, as the member may on the hub's page."""
    path = f"{hub.url}/hub/api/users/{name}/tokens"
    signed_in = {"auth": {"username": name, "password": "demo"}}
    own = {"Authorization": f"token {httpx.post(path, json=signed_in).json()['token']}"}
    revoked = 0
    for token in httpx.get(path, headers=own).json()["api_tokens"]:
        if token["note"].startswith("Server at"):
            revoked += httpx.delete(f"{path}/{token['id']}", headers=own).status_code == 204
    assert revoked == 1


@NEWEST
def test_service_away_token_revoked_extension_off(hub: HubProcess, browser: Browser):
    name = "pro-3"
    tab = LabTab.sign_in(browser, hub, name)
    hub.start_server(name)
    tab.open()
    expect(tab.status).to_contain_text("60/h", timeout=30_000)
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


def test_notebook_7(hub: HubProcess, browser: Browser):
    name = "pro-4"
    tab = LabTab.sign_in(browser, hub, name)
    hub.start_server(name)
    write_notebook(workspace(hub, name) / "seven.ipynb", "z = 7")
    tab.page.goto(f"{hub.url}/user/{name}/notebooks/seven.ipynb")
    expect(tab.status).to_contain_text("Balance", timeout=60_000)
    tab.status.click()
    expect(tab.page.locator("#jhub-tokens-panel")).to_be_visible()
    expect(tab.page.locator("#jhub-tokens-panel")).to_contain_text("of 300")
    tab.shot("notebook-7")
    hub.stop_server(name)
    tab.page.context.close()
