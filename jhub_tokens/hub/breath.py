"""Long work on the hub's event loop, in short pieces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

__all__ = ["Breather", "each"]

Item = TypeVar("Item")


class Breather:
    """Lets the loop go on whenever `piece_s` seconds were spent without a pause.

    JupyterHub is one event loop for everybody; nothing of ours may hold it for longer than
    10 ms, so that a piece takes at most 4 ms plus the item that fills it.
    """

    def __init__(self, piece_s: float = 0.004) -> None:
        self._piece_s = piece_s
        self._since = time.perf_counter()

    async def __call__(self) -> None:
        """Pause if it is time to."""
        if time.perf_counter() - self._since >= self._piece_s:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


async def each(
    items: Iterable[Item], work: Callable[[Item], Awaitable[None]], *, at_once: int
) -> None:
    """Do `work` for each item, at most `at_once` of them at a time; `work` must not raise."""
    todo = iter(items)

    async def worker() -> None:
        breathe = Breather()
        for item in todo:
            await work(item)
            await breathe()

    await asyncio.gather(*(worker() for _ in range(at_once)))
