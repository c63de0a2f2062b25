from __future__ import annotations

import asyncio
import threading

import pytest

from jhub_tokens.service.errors import Unavailable
from jhub_tokens.service.executors import Workers


async def test_what_waits_when_the_service_stops_is_told_so() -> None:
    workers, begun, release = Workers(readers=1), threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        release.wait(20)
        return "done"

    under_way = asyncio.ensure_future(workers.read(hold))
    await asyncio.to_thread(begun.wait, 20)
    waiting = asyncio.ensure_future(workers.read(lambda: "never"))
    while workers.backlog < 2:
        await asyncio.sleep(0)
    closing = asyncio.ensure_future(asyncio.to_thread(workers.close))
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    release.set()
    assert await under_way == "done"
    await closing
    with pytest.raises(Unavailable, match="stopping"):
        await workers.read(lambda: "too late")


async def test_a_caller_who_gives_up_is_cancelled_and_the_work_is_not() -> None:
    workers, begun, release, written = Workers(), threading.Event(), threading.Event(), []

    def write() -> None:
        begun.set()
        release.wait(20)
        written.append(1)

    caller = asyncio.ensure_future(workers.write(write))
    await asyncio.to_thread(begun.wait, 20)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    release.set()
    await asyncio.to_thread(workers.close)
    assert written == [1]
