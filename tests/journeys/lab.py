"""A hub whose members have the JupyterLab extension, and a person in JupyterLab."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jupyterhub
import pytest
import websocket
from playwright.sync_api import Browser, BrowserContext, Page, expect

from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.hub.harness import API_TOKEN, HubProcess, eventually
from tests.journeys.demo_hub import artefacts

__all__ = [
    "LABS",
    "UNDER_NEWEST_HUB",
    "LabTab",
    "lab_hub",
    "lab_settings",
    "leave",
    "no_news",
    "sources_in",
    "stopped",
    "tail",
    "terminal",
    "workspace",
    "write_notebook",
]

ROOT = Path(__file__).parents[2]
#: Where `make` puts single-user servers: the newest Lab is the demo's, the oldest has its own.
LABS = {
    "newest": Path(sys.executable).parent / "jupyterhub-singleuser",
    "4.3": ROOT / ".venv" / "lab-4.3" / "bin" / "jupyterhub-singleuser",
}

#: The oldest Lab's own single-user server is a JupyterHub 5.5, whatever the hub is.
UNDER_NEWEST_HUB = pytest.mark.skipif(
    jupyterhub.version_info[0] < 6, reason="shown once, under the newest hub"
)

#: One token is a minute on a CPU. The last warning takes the last 15 s, of which 12 s are grace.
POLICY = {
    "grace: 2s": "grace: 12s",
    "stop_time: 1s": "stop_time: 3s",
    "minimum_run: 10s": "minimum_run: 5s",
    "warn_before: [30m]": "warn_before: [40s, 25s]",
}


def lab_hub(hub: HubProcess, lab: str) -> HubProcess:
    """Configure a hub for a Lab version and start it."""
    command = LABS[lab]
    assert command.exists(), f"{command} is missing: run make setup-labs"
    path = hub.directory / "catalogue.yaml"
    text = path.read_text()
    for old, new in POLICY.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    hub.configure(
        before='configure_kwargs["service_environment"] = {"JHUB_TOKENS_SERVER_TOKEN_CACHE": "1"}',
        after=f"c.Spawner.cmd = {[str(command)]!r}\n",
    )
    return hub.start()


def leave(hub: HubProcess, name: str, seconds: int) -> None:
    """Take tokens back until what is left lasts for so long on a CPU: a minute for a token."""
    hub.wait_session(name)
    balance = int(hub.standing(name)["balance"]["grains"])
    mtok = balance * 1000 // GRAINS_PER_TOKEN - seconds * 1000 // 60
    hub.grant(name, f"-{mtok / 1000:.3f}", "adjustment")


class LabTab:
    """One tab with JupyterLab."""

    def __init__(self, page: Page, hub: HubProcess, name: str) -> None:
        self.page, self.hub, self.name = page, hub, name

    @classmethod
    def sign_in(cls, browser: Browser, hub: HubProcess, name: str) -> LabTab:
        context: BrowserContext = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(f"{hub.url}/hub/login?next=%2Fhub%2Fhome")
        page.locator("#username_input").fill(name)
        page.locator("#password_input").fill("demo")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/hub/home")
        return cls(page, hub, name)

    def another(self) -> LabTab:
        return LabTab(self.page.context.new_page(), self.hub, self.name)

    def open(self, path: str = "", *, workspace: str = "") -> LabTab:
        """Open Lab, with a document if asked; several tabs want workspaces of their own."""
        place = f"/workspaces/{workspace}" if workspace else ""
        tree = f"/tree/{path}" if path else ""
        self.page.goto(f"{self.hub.url}/user/{self.name}/lab{place}{tree}?reset")
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0, timeout=90_000)
        return self

    @property
    def status(self) -> Any:
        return self.page.locator(".jp-JhubTokens-status button")

    def type_cell(self, text: str) -> None:
        """Replace the first cell's text, unsaved."""
        editor = self.page.locator(".jp-Notebook .jp-Cell .cm-content").first
        expect(editor).to_be_visible(timeout=60_000)
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)
        expect(self.page.locator(".jp-mod-dirty").first).to_be_attached()

    def kernel_is(self, state: str) -> None:
        """Wait for what the status bar says of the open notebook's kernel."""
        bar = self.page.locator("#jp-main-statusbar")
        expect(bar).to_contain_text(f"Python 3 (ipykernel) | {state}", timeout=60_000)

    def shot(self, name: str) -> None:
        self.page.screenshot(path=artefacts() / f"{name}.png")


def workspace(hub: HubProcess, name: str) -> Path:
    """Return a member's directory."""
    found = [
        path for path in (hub.directory / "workspaces").iterdir() if path.name.startswith(name)
    ]
    assert len(found) == 1, found
    return found[0]


def lab_settings(home: Path, plugin: str, **values: Any) -> None:
    """Set what a member sets on Lab's page of settings."""
    path = home / f".jupyter/lab/user-settings/@jupyterlab/{plugin}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def no_news(home: Path) -> None:
    """Answer the question that Lab asks everybody who is new, and that covers what is behind it."""
    lab_settings(home, "apputils-extension/notification", fetchNews="false")


def notebook(*sources: str) -> dict[str, Any]:
    """Return a notebook of code cells."""
    cells = [
        {"cell_type": "code", "id": f"cell-{n}", "metadata": {}, "source": source,
         "outputs": [], "execution_count": None}
        for n, source in enumerate(sources)
    ]  # fmt: skip
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


def write_notebook(path: Path, *sources: str) -> None:
    path.write_text(json.dumps(notebook(*sources)))


def sources_in(directory: Path) -> dict[str, str]:
    """Return the text of every notebook's cells, by file name; checkpoints left out."""
    found = {}
    for path in directory.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        found[path.name] = "\n".join("".join(cell["source"]) for cell in cells)
    return found


def stopped(hub: HubProcess, name: str, within_s: float) -> None:
    eventually(
        lambda: not hub.servers(name).get("", {}).get("ready"),
        f"the server of {name} is stopped",
        within_s=within_s,
        every_s=0.5,
    )


def tail(hub: HubProcess) -> str:
    return "\n".join(line for line in hub.log().splitlines() if "jhub-tokens:" in line)[-3000:]


class Terminal:
    """A terminal of a member's server, without a browser."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._text = ""

    def type(self, line: str) -> None:
        self._socket.send(json.dumps(["stdin", f"{line}\r"]))

    def reads(self, *texts: str, within_s: float = 60.0) -> None:
        """Wait for lines that hold these texts, and take them and what is before as read."""
        deadline = time.monotonic() + within_s
        for text in texts:
            while text not in self._text:
                assert time.monotonic() < deadline, f"no {text!r} in {self._text!r}"
                try:
                    kind, *said = json.loads(self._socket.recv())
                except websocket.WebSocketTimeoutException:
                    continue  # by itself a ping would start the time anew
                except websocket.WebSocketConnectionClosedException:
                    pytest.fail(f"closed before {text!r}, after {self._text!r}")
                self._text += said[0] if kind == "stdout" else ""
            self._text = self._text.partition(text)[2]


@contextmanager
def terminal(hub: HubProcess, name: str) -> Iterator[Terminal]:
    """Open a terminal in a member's running server."""
    made = hub.client.post(f"/user/{name}/api/terminals").json()["name"]
    socket = websocket.create_connection(
        f"{hub.url.replace('http', 'ws', 1)}/user/{name}/terminals/websocket/{made}",
        header=[f"Authorization: token {API_TOKEN}"],
        timeout=1,
    )
    try:
        yield Terminal(socket)
    finally:
        socket.close()
