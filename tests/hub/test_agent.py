"""The agent hears soon that a service is back, though a long poll would wait."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from jhub_tokens import wire
from jhub_tokens.hub import agent as agent_module
from jhub_tokens.hub.agent import LONG_POLL_MS, Agent
from jhub_tokens.hub.client import ServiceUnavailable, TokenServiceClient


class Recorded(TokenServiceClient):
    """Is away twice, then there; keeps how long each question would have waited."""

    def __init__(self) -> None:
        super().__init__(lambda: "http://nowhere.invalid", "the-token")
        self.waits_ms: list[int] = []
        self.enough = asyncio.Event()

    async def stops(self, *, known: Collection[str], wait_ms: int) -> wire.StopOrders:
        self.waits_ms.append(wait_ms)
        if len(self.waits_ms) <= 2:
            raise ServiceUnavailable("away")
        if len(self.waits_ms) == 4:
            self.enough.set()
        return wire.StopOrders(stops=[])


async def test_a_service_that_comes_back_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_FIRST_S", "STOPS_RETRY_LONGEST_S", "LONG_POLL_LEAST_S"):
        monkeypatch.setattr(agent_module, name, 0.0)
    client = Recorded()
    agent = Agent(client, token="the-token")
    task = asyncio.create_task(agent._stop_loop())
    await asyncio.wait_for(client.enough.wait(), 10)
    task.cancel()
    assert client.waits_ms[:4] == [0, 0, 0, LONG_POLL_MS]
    assert agent.reachable
