"""The API's description: complete, valid, and what the service really does."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given
from hypothesis import settings as hypothesis_settings
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import open_ledger
from jhub_tokens.service.app import API_ROUTES
from jhub_tokens.service.openapi import openapi_document
from jhub_tokens.service.serve import start
from jhub_tokens.service.settings import Settings
from tests.service.conftest import CATALOGUE, NOON_MS, PREFIX, SERVICE_TOKEN, identity
from tests.service.stub_hub import StubHub

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
DOCUMENT = openapi_document(API_ROUTES, PREFIX)


@dataclass
class Live:
    """A service that runs in a thread of its own."""

    url: str
    admin_token: str
    database: str


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder: Path = tmp_path_factory.mktemp("live")
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    ready, done = threading.Event(), threading.Event()
    found: list[Live] = []

    async def run() -> None:
        hub = StubHub(SERVICE_TOKEN, PREFIX)
        await hub.start()
        settings = Settings(
            catalogue_path=folder / "catalogue.yaml",
            database_url=f"sqlite:///{folder / 'tokens.sqlite'}",
            service_token=SERVICE_TOKEN,
            hub_api_url=f"{hub.url}/hub/api",
        )
        running = await start(settings, ManualClock(NOON_MS))
        admin = hub.add_user("admin", admin=True)
        token = hub.add_token(admin, "admin:users", "read:users!user=admin")
        url = f"http://127.0.0.1:{running.port}{PREFIX}"
        async with httpx.AsyncClient(headers={"Authorization": f"token {SERVICE_TOKEN}"}) as side:
            while not running.service.books.is_open:
                await asyncio.sleep(0.01)
            await side.post(f"{url}api/v1/hub/overview", json={"member": identity(admin)})
        found.append(Live(url, token, settings.database_url))
        ready.set()
        await asyncio.to_thread(done.wait)
        await running.stop()
        await hub.stop()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(20), "the service has not come up"
    yield found[0]
    done.set()
    thread.join(20)
    books = open_ledger(found[0].database)
    findings = books.audit()
    books.close()
    assert not findings


OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.parametrize(
    "mode",
    [pytest.param(GenerationMode.POSITIVE, marks=pytest.mark.slow), GenerationMode.NEGATIVE],
)
def test_the_service_does_what_the_description_says(
    path: str, method: str, mode: GenerationMode, live: Live
) -> None:
    """Generated requests, valid and not, never meet a server error or an undescribed answer."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.update(base_url=live.url.removesuffix("/"))
    # In a query everything is text: a number where a text is wanted is no mistake there.
    checks = [*CHECKS, negative_data_rejection] if method == "post" else CHECKS
    token = SERVICE_TOKEN if "/hub/" in path else live.admin_token

    @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode))
    @hypothesis_settings(
        max_examples=10,
        database=None,
        phases=[Phase.generate],  # shrinking over HTTP would take minutes
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Case[Any]) -> None:
        # Longer than any server reads: refused before anything of ours is asked.
        query = parse_qsl(urlencode(case.query or {}, doseq=True), keep_blank_values=True)
        assume(len(query) < 900 and sum(map(len, (v for _, v in query))) < 20_000)
        wait = (case.query or {}).get("wait_ms")
        if isinstance(wait, int) and 0 < wait <= 30_000:
            case.query["wait_ms"] = 0  # a valid wait: nobody orders a stop here
        headers = {**dict(case.headers or {}), "Authorization": f"token {token}"}
        # Header names that HTTP itself refuses say nothing about our description.
        assume(all(re.fullmatch(r"[A-Za-z0-9-]+", name) for name in headers))
        case.call_and_validate(headers=headers, checks=checks)

    check()


def test_every_operation_is_described() -> None:
    described = {
        (path, method) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    served = {
        (f"/{path}", method)
        for path, handler in API_ROUTES
        for method in ("get", "post")
        if hasattr(getattr(handler, method), "operation")
    }
    assert described == served
    ids = [op["operationId"] for methods in DOCUMENT["paths"].values() for op in methods.values()]
    assert len(ids) == len(set(ids))


def test_schemas_are_valid_and_all_references_lead_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for each in schemas.values():
        Draft202012Validator.check_schema(each)

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in schemas
    for methods in DOCUMENT["paths"].values():
        for op in methods.values():
            assert "503" in op["responses"], "closed books are an answer of every route"
