"""Doubles for the extension's server part: tabs, sessions, the service, and a watcher's world.

Import `some_contents` and `a_world` where they are used; they are found as ``contents`` and
``world``.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from jhub_tokens_lab import activity
from jhub_tokens_lab.saving import Saver
from jhub_tokens_lab.watcher import Watcher

MINUTE = 60_000
LOG = logging.getLogger("tests.lab")


def view(**changes: Any) -> dict[str, Any]:
    """Return an answer of the service: 60 minutes left, documents are saved in the last 2.5."""
    return {
        "balance": {"grains": "0", "tokens": "10.000"},
        "allotment": {"grains": "0", "tokens": "50.000"},
        "burn_mtok_h": 6000,
        "session": {
            "title": "CPU",
            "cost": {"grains": "0", "tokens": "1.509"},
            "rate_mtok_h": 6000,
        },
        "ends_at_ms": 60 * MINUTE,
        "stop_at_ms": 60 * MINUTE - 30_000,
        "end_reason": "dry",
        "stopping": None,
        "warn_before_ms": [30 * MINUTE, 10 * MINUTE, 5 * MINUTE, 150_000, MINUTE],
        "save_before_ms": 150_000,
        "enforced": True,
        "keep_until_ms": None,
        "stop_when_done": True,
        "ask_again_ms": MINUTE,
        "as_of_ms": 0,
        **changes,
    }


class FakeTab:
    """A tab that answers, or does not."""

    def __init__(self, *documents: str, answers: bool = True) -> None:
        self.documents = list(documents)
        self.answers = answers
        self.pushed: list[dict[str, Any]] = []
        self.saves: list[str] = []
        self.others: list[FakeTab] = []
        self.saving = False

    async def save(self, reason: str) -> dict[str, Any]:
        assert not any(tab.saving for tab in self.others), "tabs take turns"
        self.saves.append(reason)
        self.saving = True
        await asyncio.sleep(0 if self.answers else 3600)
        self.saving = False
        return {"documents": self.documents, "copies": [], "failed": []}

    def push(self, state: dict[str, Any]) -> None:
        self.pushed.append(state)


class Sessions:
    def __init__(self, *paths: str) -> None:
        self.paths = paths

    async def list_sessions(self) -> list[dict[str, Any]]:
        return [{"path": path, "type": "notebook"} for path in self.paths]


@pytest.fixture(name="contents")
def some_contents(tmp_path: Path) -> Any:
    for name in ("open.txt", "kernel.ipynb"):
        text = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
        (tmp_path / name).write_text(text)
    return AsyncLargeFileManager(root_dir=str(tmp_path))


class Service:
    """The service as the client sees it."""

    def __init__(self) -> None:
        self.view = view()
        self.problem: Exception | None = None
        self.reports: list[tuple[list[str], int | None]] = []
        self.told_hub = 0
        self.stops = 0

    async def report(self, busy: list[str], active_age_ms: int | None) -> dict[str, Any]:
        if self.problem:
            raise self.problem
        self.reports.append((busy, active_age_ms))
        return self.view

    async def stop(self) -> dict[str, Any]:
        if self.problem:
            raise self.problem
        self.stops += 1
        return view(stopping="asked")

    async def keep_running(self, for_ms: int | None) -> dict[str, Any]:
        self.view = view(keep_until_ms=for_ms)
        return self.view

    async def tell_hub(self, age_ms: int) -> None:
        self.told_hub += 1


class World:
    """A watcher whose time, service and kernels are the test's."""

    def __init__(self, directory: Path, contents: Any) -> None:
        self.now = 0.0
        self.service = Service()
        self.kernels: list[str] = []
        self.jupyter_age_ms = 1e12
        self.tab = FakeTab("open.txt")
        samples = activity.Activity(own_machine=False)
        samples.sample = lambda: []  # type: ignore[method-assign]
        self.watcher = Watcher(
            self.service, Saver(contents, Sessions(), LOG), samples, lambda: self.kernels,
            directory, "", LOG, clock=lambda: self.now,
            jupyter_age_ms=lambda: self.jupyter_age_ms,
        )  # type: ignore[arg-type]  # fmt: skip
        self.watcher.tabs.append(self.tab)
        self.said: list[str] = []
        self.watcher._say = lambda key, **_: self.said.append(key)  # type: ignore[method-assign]

    async def at(self, minutes: float) -> None:
        self.now = minutes * MINUTE
        self.service.view = {**self.service.view, "as_of_ms": self.now}
        await self.watcher.ask_if_due()
        await self.watcher.act()
        if self.watcher._saving is not None:
            await self.watcher._saving


@pytest.fixture(name="world")
def a_world(tmp_path: Path, contents: Any) -> World:
    return World(tmp_path / "runtime", contents)
