"""The service on PostgreSQL: as a role that owns nothing, and what its probes say."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import make_url

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import open_ledger
from jhub_tokens.service.serve import RunningService, start
from jhub_tokens.service.settings import Settings
from tests.service.conftest import PREFIX, SERVICE_TOKEN, Api, identity, until
from tests.service.stub_hub import StubHub

pytestmark = pytest.mark.postgresql
Start = Callable[..., Any]


@pytest.fixture
async def started(settings: Settings, clock: ManualClock) -> AsyncIterator[Start]:
    services: list[RunningService] = []

    async def make(database_url: str, **changes: Any) -> RunningService:
        services.append(await start(replace(settings, database_url=database_url, **changes), clock))
        return services[-1]

    yield make
    for each in services:
        await each.stop()


async def statuses(running: RunningService) -> tuple[int, int, int]:
    async with Api(running) as anybody:
        paths = ("healthz/live", "healthz/ready", "healthz")
        live, ready, health = [await anybody.get(path) for path in paths]
    return live.status_code, ready.status_code, health.status_code


async def test_a_schema_that_waits_for_its_owner(
    started: Start,
    hub: StubHub,
    service_books: Any,
) -> None:
    name = f"empty_{uuid.uuid4().hex}"
    service_books.execute(f"CREATE DATABASE {name}")
    owner = service_books.url(name)
    running = await started(owner, may_migrate=False)
    await until(lambda: "starting" not in str(running.service.books.problem), "it was tried")
    assert await statuses(running) == (200, 503, 503)
    async with Api(running, SERVICE_TOKEN) as side:
        ada = hub.add_user("ada")
        answer = await side.post("api/v1/hub/overview", {"member": identity(ada)})
        assert answer.status_code == 503
        assert "no schema yet" in answer.json()["message"]
        assert "`jhub-tokens migrate` as the owner" in answer.json()["remedy"]
        (await asyncio.to_thread(open_ledger, owner)).close()  # as the owner's command does
        await until(lambda: running.service.books.is_open, "it goes on by itself")
        answer = await side.post("api/v1/hub/overview", {"member": identity(ada)})
        assert answer.status_code == 200
    assert await statuses(running) == (200, 200, 200)


async def test_a_replica_without_its_database_is_alive_but_not_ready(
    started: Start,
    service_books: Any,
) -> None:
    url = service_books()
    running = await started(url)
    await until(lambda: running.service.books.is_open, "the books are open")
    assert await statuses(running) == (200, 200, 200)
    database = make_url(url).database
    renamed = f"{database}_away"
    end = (
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}'"
    )
    service_books.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    service_books.execute(end)
    service_books.execute(f"ALTER DATABASE {database} RENAME TO {renamed}")
    assert (await statuses(running))[:2] == (200, 503)
    async with Api(running) as anybody:
        said = (await anybody.get("healthz/ready")).text
    assert database not in said and PREFIX not in said
    service_books.execute(f"ALTER DATABASE {renamed} RENAME TO {database}")
    service_books.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")

    async def ready() -> bool:
        return (await statuses(running))[1] == 200

    await until(ready, "it is ready again")
