"""Telling the books of ends: again and again until they have taken them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from jhub_tokens.ledger.ends import ClusterEnd
from jhub_tokens.service.books import Books
from jhub_tokens.service.cluster.metrics import ClusterMetrics
from jhub_tokens.service.executors import Workers

__all__ = ["EndTeller"]

log = structlog.get_logger(__name__)

_AT_ONCE = 500
#: How soon what could not be booked, or waits for the hub's word, is tried again.
_AGAIN_S = 15.0


class EndTeller:
    """Holds ends until the books have them; the first word about a session stands.

    Parameters
    ----------
    books, workers
        Where the ledger is, and threads for the blocking work.
    metrics
        Where ends are counted.
    on_booked
        Called when ends were booked: deadlines and notices may be new.
    """

    def __init__(
        self,
        books: Books,
        workers: Workers,
        metrics: ClusterMetrics,
        on_booked: Callable[[], None],
    ) -> None:
        self._books = books
        self._workers = workers
        self._metrics = metrics
        self._on_booked = on_booked
        self._ends: dict[str, ClusterEnd] = {}
        self._waiting = 1  # unknown: an earlier process may have left some
        self._woken = asyncio.Event()

    def tell(self, end: ClusterEnd) -> None:
        """Take over an end."""
        self._ends.setdefault(end.session_id, end)
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.deliver()
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("ends cannot be booked", count=len(self._ends), again_in_s=_AGAIN_S)
                await asyncio.sleep(_AGAIN_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S):
                    await self._woken.wait()

    async def deliver(self) -> None:
        """Book what is held, and what had to wait before."""
        while self._books.is_open and (self._ends or self._waiting):
            batch = dict(list(self._ends.items())[:_AT_ONCE])
            ledger = self._books.ledger
            booked = await self._workers.write(ledger.cluster.end, list(batch.values()))
            for session_id in batch:
                self._ends.pop(session_id, None)
            self._waiting = booked.waiting
            for session_id in booked.booked:
                told = batch.get(session_id)
                reason = told.reason if told else "told_before"
                log.info("the cluster ended a session", session=session_id, reason=reason)
                self._metrics.ends.labels(reason).inc()
            if booked.booked:
                self._on_booked()
            if not self._ends:
                return
