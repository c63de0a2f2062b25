"""Long polls for stop orders: the agent hears of an order the moment it is written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection

from jhub_tokens.ledger.records import StopOrderRecord

__all__ = ["StopBoard"]

#: Another replica's warden writes orders, too, and cannot wake anybody here.
LOOK_AGAIN_S = 2.0

Orders = tuple[StopOrderRecord, ...]


class StopBoard:
    """Wakes those who wait for stop orders whenever there may be new ones."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def poke(self) -> None:
        """Say that there may be new orders."""
        # Those who wait hold the old event; who comes later waits on the new one.
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(
        self, read: Callable[[], Awaitable[Orders]], known: Collection[str], wait_ms: int
    ) -> Orders:
        """Return the standing orders once one is not `known`, or after `wait_ms`.

        Parameters
        ----------
        read
            Reads the standing orders from the books.
        known
            Ids of the orders that the caller has.
        wait_ms
            How long to wait at most.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_ms / 1000
        while True:
            changed = self._changed  # taken before reading: an order in between is not missed
            orders = await read()
            left = deadline - loop.time()
            if left <= 0 or any(order.order_id not in known for order in orders):
                return orders
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_AGAIN_S)):
                    await changed.wait()
