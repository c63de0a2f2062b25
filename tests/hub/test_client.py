"""The hub's client turns every kind of answer into a typed one, or into a typed error, in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from jhub_tokens import wire
from jhub_tokens.hub import client as client_module
from jhub_tokens.hub.client import Refused, ServiceUnavailable, TokenServiceClient

MEMBER = wire.Identity(hub_user_id=1, created="2026-01-01T00:00:00Z", name="ann")
ASK = wire.AdmitRequest(member=MEMBER, start_key="k" * 32, profile="gpu")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Double:
    """The contract's other side: answers whatever the test says, and keeps what was asked."""

    def __init__(self) -> None:
        self.answer: Answer
        self.seen: list[web.Request] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.answer(request)


@pytest_asyncio.fixture
async def double() -> AsyncIterator[tuple[Double, TokenServiceClient]]:
    service = Double()
    app = web.Application()
    app.router.add_route("*", "/api/v1/{path:.*}", service.handle)
    server = TestServer(app)
    await server.start_server()
    client = TokenServiceClient(lambda: str(server.make_url("/api/v1")), "the-token")
    yield service, client
    await client.close()
    await server.close()


def answer(status: int, text: str) -> Answer:
    async def give(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    return give


async def test_a_refusal_is_typed(double: tuple[Double, TokenServiceClient]) -> None:
    service, client = double
    refusal = wire.Refusal(code="plan", message="Not in your plan.")
    body = wire.ErrorBody(code="plan", message="Not in your plan.", refusal=refusal)
    service.answer = answer(403, body.model_dump_json())
    with pytest.raises(Refused) as caught:
        await client.admit(ASK)
    assert caught.value.refusal == refusal
    assert caught.value.status == 403
    assert service.seen[0].headers["Authorization"] == "token the-token"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (503, '{"code": "unavailable", "message": "no books"}'),
        (500, "<html>oops"),
        (200, "[]"),
        (200, '{"unknown": 1}'),
        (302, ""),
        (401, ""),
    ],
)
async def test_whatever_else_is_unavailable(
    double: tuple[Double, TokenServiceClient], status: int, text: str
) -> None:
    service, client = double
    service.answer = answer(status, text)
    with pytest.raises(ServiceUnavailable):
        await client.admit(ASK)


async def test_a_hanging_service_is_given_up(
    double: tuple[Double, TokenServiceClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = double
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    service.answer = hang
    assert client_module.MEMBER_TIMEOUT_S < 3  # what a member waits, at most
    begun = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="no answer"):
        await client.overview(wire.OverviewRequest(member=MEMBER))
    assert time.monotonic() - begun < 3
    released.set()


async def test_nobody_listens() -> None:
    client = TokenServiceClient(lambda: "http://127.0.0.1:9", "the-token")
    with pytest.raises(ServiceUnavailable, match="cannot reach"):
        await client.admit(ASK)
    await client.close()


async def test_known_stop_orders_are_told(double: tuple[Double, TokenServiceClient]) -> None:
    service, client = double
    service.answer = answer(200, '{"stops": []}')
    assert (await client.stops(known={"a"}, wait_ms=5)).stops == []
    assert service.seen[0].query.getall("known") == ["a"]
