"""What every supported Lab must do; the journeys of the oldest and the newest import these."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser, expect

from tests.hub.harness import HubProcess, eventually
from tests.journeys.lab import (
    LabTab,
    lab_settings,
    leave,
    no_news,
    sources_in,
    stopped,
    tail,
    workspace,
    write_notebook,
)

__all__ = [
    "test_a_dry_server_loses_nothing_of_two_tabs",
    "test_notebook_7",
    "test_panel_keep_running_stop_and_language",
]


TRAINING = (
    "images, labels = load_digits()\nmodel = Classifier(layers=3)",
    "for epoch in range(20):\n"
    "    loss = model.train(images, labels)\n"
    "    print(f'epoch {epoch}: loss {loss:.4f}')",
)


@pytest.mark.slow
def test_a_dry_server_loses_nothing_of_two_tabs(hub: HubProcess, browser: Browser):
    """Two tabs hold different unsaved edits of one notebook: both are on disk when it stops."""
    name = "pro-5"
    first = LabTab.sign_in(browser, hub, name)
    hub.start_server(name)
    home = workspace(hub, name)
    no_news(home)
    write_notebook(home / "work.ipynb", "x = 0")
    second = first.another()
    first.open("work.ipynb")
    second.open("work.ipynb", workspace="second")
    first.type_cell("first = 'edited in the first tab'")
    second.type_cell("second = 'edited in the second tab'")
    leave(hub, name, 28)
    expect(first.status).to_contain_text("left", timeout=15_000)
    expect(first.status).to_have_attribute("data-level", "red", timeout=30_000)
    expect(first.page.locator(".Toastify__toast").first).to_contain_text("stops in", timeout=20_000)
    first.shot("lab-warning")
    stopped(hub, name, 60)
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


def test_panel_keep_running_stop_and_language(hub: HubProcess, browser: Browser):
    name = "pro-1"
    tab = LabTab.sign_in(browser, hub, name)
    hub.start_server(name)
    home = workspace(hub, name)
    no_news(home)
    write_notebook(home / "train.ipynb", *TRAINING)
    tab.open("train.ipynb")
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

    # Whoever scrolls is there: the service hears of it, and of the open tab alone it does not.
    def in_use() -> bool:
        page.mouse.wheel(0, 10)
        return any("page" in busy for (busy,) in hub.books("select busy from server_reports"))

    eventually(in_use, "the service hears that somebody is at the page", within_s=60)
    # Keep running: an hour ahead is within the plan's eight.
    time = page.evaluate("new Date(Date.now() + 3600e3).toTimeString().slice(0, 5)")
    panel.get_by_label("Keep running until").fill(time)
    panel.get_by_role("button", name="Keep", exact=True).click()
    expect(panel).to_contain_text("Kept running, even if idle", timeout=20_000)
    tab.kernel_is("Idle")
    expect(page.locator(".jp-Spinner")).to_have_count(0)
    tab.shot("lab-panel-en")
    # The status of a terminal, without any token.
    state = next(home.rglob("jhub-tokens.json"))
    assert state.stat().st_mode & 0o077 == 0, "nobody else reads it"
    assert json.loads(state.read_text())["keep_left_ms"] > 0
    # In Lab's language, Chinese.
    lab_settings(home, "translation-extension/plugin", locale="zh_CN")
    tab.open("train.ipynb")
    expect(tab.status).to_contain_text("额度", timeout=30_000)
    expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=60_000)
    tab.status.click()
    expect(panel).to_contain_text("保持运行至")
    tab.shot("lab-panel-zh")
    # Stop from inside, with an edit that was not saved.
    tab.type_cell("y = 'unsaved until the stop'")
    panel.get_by_role("button", name="停止此服务器").click()
    page.locator(".jp-Dialog").get_by_role("button", name="停止此服务器").click()
    stopped(hub, name, 30)
    assert "unsaved until the stop" in sources_in(home)["train.ipynb"]
    page.context.close()


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
