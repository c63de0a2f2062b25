"""Closed books: the service listens all the same, says why, and opens as soon as it can."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jhub_tokens import __version__
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
    """Every kind of route answers 503: with the reason to those who run it, else without."""
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
    boss = hub.users.get("boss") or hub.add_user("boss", admin=True)
    async with Api(running, hub.add_token(boss, "admin:users")) as all_powers:
        answers.append(await all_powers.get("api/v1/members"))
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        for word in words:
            assert word in answer.json()["message"]
        assert answer.json()["remedy"]
        assert answer.json().get("code", "unavailable") == "unavailable"
    async with Api(running, hub.add_token(ada, "custom:jhub-tokens:read!user=ada")) as own:
        answer = await own.get("api/v1/members/me")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"]
    assert "cannot open its books" in answer.json()["message"]
    assert "tell the operator" in answer.json()["remedy"]
    assert not any(word in answer.text for word in words), "members are not told of the machine"
    browser = Browser(running, hub, ada)
    # A hub takes a 503 of the first page for a service that failed to start, and exits.
    assert (await browser.get("")).status_code == 302
    page = await browser.sign_in()
    assert page.status_code == 503
    assert "cannot open its books" in page.text and "Logout" in page.text
    assert not any(word in page.text for word in words)
    await browser.client.aclose()
    browser = Browser(running, hub, boss)
    page = await browser.sign_in()
    assert page.status_code == 503
    assert all(word in page.text for word in words)
    assert "Traceback" not in page.text
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


#: who asks for the health → whether they are told why.
ASKING = {
    "on loopback": True,
    "through a proxy": False,
    "through a proxy, with another header": False,
    "with an unknown token": False,
    "with the hub side's token": True,
    "a member": False,
    "a monitor": True,
    "staff": True,
    "an admin's token": True,
    "an admin's browser": True,
    "a member's browser": False,
}


async def ask_health(who: str, running: RunningService, hub: StubHub) -> httpx.Response:
    ada, boss = hub.add_user("ada"), hub.add_user("boss", admin=True)
    proxied = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"}
    token = None
    match who:
        case "on loopback":
            proxied = {}
        case "through a proxy, with another header":
            proxied = {"Forwarded": "for=127.0.0.1"}
        case "with an unknown token":
            token = "made-up"
        case "with the hub side's token":
            token = SERVICE_TOKEN
        case "a member":
            token = hub.add_token(ada, "custom:jhub-tokens:read!user=ada")
        case "a monitor":
            token = hub.add_token(User("monitor", 0, "", kind="service"), "read:metrics")
        case "staff":
            token = hub.add_token(ada, "custom:jhub-tokens:read")
        case "an admin's token":
            token = hub.add_token(boss, "admin:users")
        case "an admin's browser" | "a member's browser":
            browser = Browser(running, hub, boss if "admin" in who else ada)
            await browser.sign_in()
            answer = await browser.get("healthz", headers=proxied)
            await browser.client.aclose()
            return answer
    async with Api(running, token) as client:
        return await client.get("healthz", headers=proxied)


@pytest.mark.parametrize("who", ASKING)
async def test_health_says_why_to_those_who_run_it(
    who: str, settings: Settings, started: Start, hub: StubHub, catalogue_path: Path
) -> None:
    catalogue_path.write_text("plans: [")
    running = await started(settings)
    await until(lambda: "catalogue.yaml" in str(running.service.books.problem), "it was tried")
    answer = await ask_health(who, running, hub)
    health = answer.json()
    assert (answer.status_code, health["status"]) == (503, "unavailable")
    assert health["version"] == __version__
    assert ("catalogue.yaml" in health["message"]) == ASKING[who]
    assert bool(health["remedy"]) == ASKING[who]
    assert ASKING[who] or "catalogue.yaml" not in answer.text


@pytest.mark.parametrize("who", ASKING)
async def test_health_tells_of_a_broken_edit_to_those_who_run_it(
    who: str, running: RunningService, hub: StubHub, catalogue_path: Path
) -> None:
    catalogue_path.write_text("plans: [")
    await until(lambda: running.service.books.source.problem, "the mistake is found")
    answer = await ask_health(who, running, hub)
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert ("catalogue.yaml" in answer.json()["catalogue_problem"]) == ASKING[who]
    assert ASKING[who] or "catalogue.yaml" not in answer.text


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
    running: RunningService, story: Story, hub: StubHub, ada: User, settings: Settings
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
            assert "members" in answer.json()["message"], "the hub's log may say which table"
            token = hub.add_token(ada, "custom:jhub-tokens:read!user=ada")
            async with Api(running, token) as own:
                answer = await own.get("api/v1/members/me")
            assert answer.status_code == 503
            assert "cannot open its books" in answer.json()["message"]
        finally:
            other.execute("ALTER TABLE members_gone RENAME TO members")
    other.close()
    answer = await story.api.post("api/v1/hub/overview", {"member": identity(ada)})
    assert answer.status_code == 200, "and goes on when the database is well again"
