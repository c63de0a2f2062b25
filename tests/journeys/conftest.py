"""A running demo for each journey, and the browser to drive it with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.journeys.demo_hub import DemoHub

pytest.register_assert_rewrite("tests.journeys.every_lab", "tests.journeys.lab")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoHub]:
    """A demo with new books; they must be clean, and nothing may run on, when it has ended."""
    hub = DemoHub(tmp_path_factory.mktemp("demo"))
    hub.start()
    try:
        yield hub
    finally:
        code = hub.stop()
    assert code == 0, hub.output
    audit = hub.command("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    hub.assert_no_tracebacks()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    # Not for the session: its event loop runs on, and asynchronous tests could not have theirs.
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium, else Playwright's own; a journey is never skipped for want of one."""
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None and not Path(playwright.chromium.executable_path).exists():
        pytest.fail("the journeys need a Chromium: run .ci/chromium, or install one", pytrace=False)
    # Chromium's sandbox refuses to run as root, as in many containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = playwright.chromium.launch(executable_path=path, args=arguments)
    yield browser
    browser.close()
