"""Closed books: the service listens all the same, says why, and opens as soon as it can."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jhub_tokens.clock import ManualClock
from jhub_tokens.service.serve import RunningService, start
from jhub_tokens.service.settings import Settings
from tests.service.conftest import (
    CATALOGUE,
    SERVICE_TOKEN,
    Api,
    Browser,
    Story,
    identity,
    until,
)
from tests.service.stub_hub import StubHub, User

Start = Callable[[Settings], Any]


@pytest.fixture
async def started(clock: ManualClock) -> AsyncIterator[Start]:
    """Start services that need not come up."""
    services: list[RunningService] = []

    async def make(settings: Settings) -> RunningService:
        services.append(await start(settings, clock))
        return services[-1]

    yield make
    for each in services:
        await each.stop()


async def assert_closed(running: RunningService, hub: StubHub, *words: str) -> None:
    """Every kind of route answers 503 with the reason and the remedy."""
    await until(
        lambda: all(word in str(running.service.books.problem) for word in words),
        f"{words} in {running.service.books.problem}",
    )
    ada = hub.users.get("ada") or hub.add_user("ada")
    async with Api(running, SERVICE_TOKEN) as side:
        answers = [
            await side.post("api/v1/hub/overview", {"member": identity(ada)}),
            await side.post("api/v1/hub/offers", {"member": identity(ada)}),
            await side.post("api/v1/hub/snapshots", {"epoch": "an-epoch", "sequence": 1}),
            await side.get("api/v1/hub/stops?wait_ms=30000"),
            await side.get("healthz"),
        ]
        assert (await side.get("metrics")).status_code == 200
    async with Api(running, hub.add_token(ada, "custom:jhub-tokens:read!user=ada")) as own:
        answers.append(await own.get("api/v1/members/me"))
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        for word in words:
            assert word in answer.json()["message"]
        assert answer.json()["remedy"]
        assert answer.json().get("code", "unavailable") == "unavailable"
    browser = Browser(running, hub, ada)
    # A hub takes a 503 of the first page for a service that failed to start, and exits.
    assert (await browser.get("")).status_code == 302
    page = await browser.sign_in()
    assert page.status_code == 503
    assert all(word in page.text for word in words)
    assert "Traceback" not in page.text and "Logout" in page.text
    await browser.client.aclose()


async def test_a_catalogue_with_mistakes_and_its_correction(
    settings: Settings, started: Start, hub: StubHub, catalogue_path: Path
) -> None:
    catalogue_path.write_text(CATALOGUE.replace("rate: 30", "rate: lots"))
    running = await started(settings)
    await assert_closed(running, hub, "catalogue.yaml:17", "rate")
    catalogue_path.write_text(CATALOGUE)
    await until(lambda: running.service.books.is_open, "the corrected catalogue is used")


async def test_no_catalogue(settings: Settings, started: Start, hub: StubHub) -> None:
    missing = replace(settings, catalogue_path=Path("/nowhere/catalogue.yaml"))
    await assert_closed(await started(missing), hub, "/nowhere/catalogue.yaml")


async def test_books_of_a_newer_release(settings: Settings, started: Start, hub: StubHub) -> None:
    path = settings.sqlite_path
    assert path is not None
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
    connection.close()
    await assert_closed(await started(settings), hub, "newer")


async def test_a_database_that_cannot_be_reached(
    settings: Settings, started: Start, hub: StubHub
) -> None:
    url = "postgresql+psycopg://tokens:secret@127.0.0.1:1/tokens"
    running = await started(replace(settings, database_url=url))
    await until(lambda: "starting" not in str(running.service.books.problem), "it was tried")
    assert "secret" not in str(running.service.books.problem)
    await assert_closed(running, hub, "database")


async def test_a_database_url_that_makes_no_sense(
    settings: Settings, started: Start, hub: StubHub
) -> None:
    running = await started(replace(settings, database_url="mysql://tokens@localhost/tokens"))
    await assert_closed(running, hub, "mysql")


async def test_two_services_on_one_database(
    settings: Settings, started: Start, hub: StubHub, running: RunningService
) -> None:
    second = await started(settings)
    await assert_closed(second, hub, "Another token service", "tokens.sqlite")
    await running.stop()
    await until(lambda: second.service.books.is_open, "the second takes over")


async def test_a_broken_edit_keeps_the_last_good_catalogue(
    running: RunningService, story: Story, ada: User, catalogue_path: Path
) -> None:
    catalogue_path.write_text("plans: [")
    await until(lambda: running.service.books.source.problem, "the mistake is found")
    assert (await story.admit(ada, "cpu")).status_code == 201
    health = await story.api.get("healthz")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert "catalogue.yaml" in health.json()["catalogue_problem"]
    catalogue_path.write_text(CATALOGUE.replace("title: CPU", "title: Small machine"))
    await until(lambda: not running.service.books.source.problem, "the correction is found")
    answer = await story.api.post("api/v1/hub/offers", {"member": identity(ada)})
    assert answer.json()["offers"][0]["title"] == "Small machine"


async def test_a_database_that_fails_while_running(
    running: RunningService, story: Story, ada: User, settings: Settings
) -> None:
    await story.join(ada)
    path = settings.sqlite_path
    assert path is not None
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("ALTER TABLE members RENAME TO members_gone")
        try:
            answer = await story.api.post("api/v1/hub/overview", {"member": identity(ada)})
            assert answer.status_code == 503
            assert answer.json()["code"] == "unavailable"
            assert "Traceback" not in answer.text
        finally:
            other.execute("ALTER TABLE members_gone RENAME TO members")
    other.close()
    answer = await story.api.post("api/v1/hub/overview", {"member": identity(ada)})
    assert answer.status_code == 200, "and goes on when the database is well again"
