"""What the JupyterLab extension costs: its size, Lab's start in a browser, and idling."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, sync_playwright

from benchmarks.hubs import BenchmarkError, Hub, hub_pair
from benchmarks.memory import resident_mib
from benchmarks.report import Report, Row
from benchmarks.statistics import ratio_of_medians

__all__ = ["run"]

_NAME = "member-0"
_ROUNDS, _QUICK_ROUNDS = 20, 1
_SETTLE_S = 3.0
_IDLE_S, _QUICK_IDLE_S = 60.0, 5.0
_SEED = 7
_PART = Path("share/jupyter/labextensions/jhub-tokens-lab")

#: Notes when Lab's splash goes, which is when a person can begin, and when a balance is shown.
_WATCH = """
new MutationObserver(() => {
  const splash = document.getElementById('jupyterlab-splash');
  window.benchSplash ||= splash !== null;
  if (window.benchSplash && !splash) { window.benchReady ??= performance.now(); }
  if (document.querySelector('.jp-JhubTokens-status button')?.textContent) {
    window.benchShown ??= performance.now();
  }
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
_FETCHED = """
performance.getEntriesByType('resource')
  .filter(entry => entry.name.includes('/jhub-tokens-lab/'))
  .map(entry => [entry.name.split('/').pop().split('?')[0], entry.encodedBodySize])
"""
#: What makes a server of the plain hub one without the extension, in its member's directory.
_WITHOUT = {
    "labconfig/page_config.json": {"disabledExtensions": {"jhub-tokens-lab": True}},
    "jupyter_server_config.json": {
        "ServerApp": {"jpserver_extensions": {"jhub_tokens_lab": False}}
    },
}


def run(*, quick: bool) -> Report:
    """Open JupyterLab with and without the extension, in turns; then let both idle."""
    rounds, idle_s = (_QUICK_ROUNDS, _QUICK_IDLE_S) if quick else (_ROUNDS, _IDLE_S)
    files = _files()
    opened: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    idle: dict[str, dict[str, float]] = {}
    fetched: dict[str, int] = {}
    with hub_pair(server="singleuser") as hubs, _browser() as browser:
        states = {}
        for hub in hubs:
            hub.add_users([_NAME])
            hub.start_server(_NAME)
            if not hub.ours:
                _leave_out(hub)
            states[hub.name] = _signed_in(browser, hub)
        lots = random.Random(_SEED)
        for number in range(-1, rounds):  # the first round warms the servers
            order = list(hubs)
            lots.shuffle(order)
            for hub in order:
                context = browser.new_context(storage_state=states[hub.name])
                figures, found = _open_lab(context, hub)
                context.close()
                if found and not hub.ours:
                    raise BenchmarkError("the plain hub's JupyterLab has the extension, too")
                fetched = found or fetched
                if number >= 0:
                    opened[hub.name].append(figures)
            if sys.stderr.isatty():
                print(
                    f"\rJupyterLab opened: {max(0, number + 1)}/{rounds} ", end="", file=sys.stderr
                )
        if sys.stderr.isatty():
            print(file=sys.stderr)
        for hub in hubs:
            idle[hub.name] = _idle(browser, states[hub.name], hub, idle_s)
    data = {"files": files, "fetched": fetched, "opened": opened, "idle": idle}
    notes = [
        f"opened {rounds} times each with an empty browser cache, in turns, the first by lot;"
        " both servers have the same JupyterLab",
        f"the page's part on disk: {sum(files.values()) / 1000:.1f} kB in {len(files)} files;"
        f" fetched at a start: {sum(fetched.values()) / 1000:.1f} kB in {len(fetched)} files",
        f"idle: one tab open on the launcher for {idle_s:g} s, after {_SETTLE_S:g} s to settle",
    ]
    return Report("lab", "The JupyterLab extension", _rows(opened, idle, fetched), notes, data)


def _files() -> dict[str, int]:
    """Return the built files and their sizes."""
    folder = Path(sys.prefix) / _PART
    files = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "static" in path.parts
    }
    if not files:
        raise BenchmarkError(
            "the JupyterLab extension is not in this environment; run make setup-labs first"
        )
    return files


@contextlib.contextmanager
def _browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def _signed_in(browser: Browser, hub: Hub) -> StorageState:
    """Return a browser's state after signing in, the server's own cookie included."""
    signed_in = hub.sign_in(_NAME)
    cookies = [
        {"name": c.name, "value": c.value or "", "domain": "127.0.0.1", "path": c.path}
        for c in signed_in.cookies.jar
    ]
    context = browser.new_context(storage_state={"cookies": cookies, "origins": []})  # type: ignore[typeddict-item]
    page = context.new_page()
    page.goto(f"{hub.public_url}/user/{_NAME}/lab", timeout=120_000)
    page.wait_for_selector("#jp-main-dock-panel", timeout=120_000)
    state = context.storage_state()
    context.close()
    return state


def _leave_out(hub: Hub) -> None:
    """Start the server again without the extension."""
    hub.stop_server(_NAME)
    (home,) = (hub.directory / "workspaces").glob(f"{_NAME}*")
    for name, content in _WITHOUT.items():
        path = home / ".jupyter" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    hub.start_server(_NAME)


def _open_lab(context: BrowserContext, hub: Hub) -> tuple[dict[str, float], dict[str, int]]:
    page = context.new_page()
    work = _Work(page)  # counts from here: the page is still empty
    _go_to_lab(page, hub)
    page.wait_for_timeout(_SETTLE_S * 1000)
    figures = {
        "ready_s": page.evaluate("window.benchReady") / 1000,
        "processor_s": work.seconds(),
    }
    shown_ms = page.evaluate("window.benchShown ?? null")
    if shown_ms is not None:
        figures["shown_s"] = shown_ms / 1000
    return figures, dict(page.evaluate(_FETCHED))


def _go_to_lab(page: Page, hub: Hub) -> None:
    page.add_init_script(_WATCH)
    page.goto(f"{hub.public_url}/user/{_NAME}/lab?reset", timeout=120_000)
    page.wait_for_function("window.benchReady !== undefined", timeout=120_000)


class _Work:
    """How long a page's main thread has worked."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")

    def seconds(self) -> float:
        metrics: list[dict[str, Any]] = self._session.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def _idle(browser: Browser, state: StorageState, hub: Hub, idle_s: float) -> dict[str, float]:
    """Return what an idle tab and its server use in a minute, and the server's memory."""
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    _go_to_lab(page, hub)
    page.wait_for_timeout(_SETTLE_S * 1000)
    server = _single_user_server(hub)
    work = _Work(page)
    page_s, server_s, begun = work.seconds(), sum(server.cpu_times()[:2]), time.monotonic()
    page.wait_for_timeout(idle_s * 1000)
    minutes = (time.monotonic() - begun) / 60
    figures = {
        "page_s_per_min": (work.seconds() - page_s) / minutes,
        "server_s_per_min": (sum(server.cpu_times()[:2]) - server_s) / minutes,
        "server_mib": resident_mib(server),
    }
    context.close()
    return figures


def _single_user_server(hub: Hub) -> psutil.Process:
    for child in hub.process.children():
        if any("jupyterhub-singleuser" in part for part in child.cmdline()):
            return child
    raise BenchmarkError(f"the {hub.name} hub's single-user server does not run")


def _rows(
    opened: dict[str, list[dict[str, float]]],
    idle: dict[str, dict[str, float]],
    fetched: dict[str, int],
) -> list[Row]:
    rows = [Row("fetched by a tab", "—", f"{sum(fetched.values()) / 1000:.1f} kB", "", "< 40 kB")]
    for key, measure, aim in (
        ("ready_s", "until Lab can be used, median", "no visible delay"),
        ("processor_s", "the page's processor time until then and settled", ""),
    ):
        plain, ours = ([each[key] for each in opened[name]] for name in ("plain", "ours"))
        added_ms = (statistics.median(ours) - statistics.median(plain)) * 1000
        rows.append(
            Row(
                measure,
                f"{statistics.median(plain) * 1000:,.0f} ms",
                f"{statistics.median(ours) * 1000:,.0f} ms",
                f"× {ratio_of_medians(ours, plain)}, {added_ms:+.0f} ms",
                aim,
            )
        )
    shown = [each["shown_s"] for each in opened["ours"] if "shown_s" in each]
    if shown:
        rows.append(
            Row("until the balance is shown", "—", f"{statistics.median(shown) * 1000:,.0f} ms")
        )
    for key, measure in (
        ("page_s_per_min", "an idle tab, processor time a minute"),
        ("server_s_per_min", "its server, processor time a minute"),
    ):
        values = [idle[name][key] * 1000 for name in ("plain", "ours")]
        rows.append(
            Row(measure, *(f"{ms:,.0f} ms" for ms in values), f"{values[1] - values[0]:+.0f} ms")
        )
    memory = [idle[name]["server_mib"] for name in ("plain", "ours")]
    rows.append(
        Row(
            "its server's memory (RSS)",
            *(f"{mib:.1f} MiB" for mib in memory),
            f"{memory[1] - memory[0]:+.1f} MiB",
        )
    )
    return rows
