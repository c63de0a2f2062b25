"""The warden: acts on time, so that warnings, stops and renewals happen when they are due.

It asks the ledger to advance what is due, again and again until nothing is, then sleeps until
the next deadline (at most 30 s, in case the clock jumps) or until a write may have changed it.
It never dies: a pass that fails is logged and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from jhub_tokens.clock import Clock
from jhub_tokens.ledger.records import AdvanceReport
from jhub_tokens.service.books import Books
from jhub_tokens.service.executors import Workers
from jhub_tokens.service.metrics import Metrics

__all__ = ["Warden"]

log = structlog.get_logger(__name__)

_BATCH = 200
_PASSES_MAX = 50  # then others get their turn at the writing thread
_SLEEP_MAX_S = 30.0
_RETRY_MIN_S = 0.5
#: However often it is woken, it looks no more often than this.
_REST_S = 0.05


class Warden:
    """One asyncio task that advances due wallets.

    Parameters
    ----------
    books
        Where the ledger is, once it is open.
    workers
        Threads for the blocking work.
    clock
        The clock by which deadlines are due.
    on_stops
        Called after a pass that ordered stops.
    on_notices
        Called after a pass that wrote notices.
    metrics
        Where passes and lag are counted.
    """

    def __init__(
        self,
        books: Books,
        workers: Workers,
        clock: Clock,
        on_stops: Callable[[], None],
        on_notices: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        self._books = books
        self._workers = workers
        self._clock = clock
        self._on_stops = on_stops
        self._on_notices = on_notices
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._failures = 0
        self.passes = 0  #: passes finished since the start

    def wake(self) -> None:
        """Look again now: a write may have brought a deadline forward."""
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._woken.clear()
            sleep_s = _SLEEP_MAX_S
            if self._books.is_open:
                try:
                    sleep_s = await self._work()
                    self._failures = 0
                except asyncio.CancelledError:
                    raise
                except Exception:
                    self._failures += 1
                    sleep_s = min(_SLEEP_MAX_S, _RETRY_MIN_S * 2 ** min(self._failures, 6))
                    self._metrics.warden_failures.inc()
                    log.exception("warden's pass failed", again_in_s=sleep_s)
            await asyncio.sleep(_REST_S)
            # Not wait_for(): in Python 3.11 it can lose a cancellation to a wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(sleep_s):
                    await self._woken.wait()

    async def _work(self) -> float:
        """Advance everything that is due; return how long to sleep, in seconds."""
        begun = time.perf_counter()
        if await self._workers.write(self._books.ledger.payments.freeze_overdue):
            log.info("frozen for fees past due")
            self._on_stops()
        for _ in range(_PASSES_MAX):
            report = await self._workers.write(self._books.ledger.advance_due, _BATCH)
            self._after(report)
            now_ms = self._clock.now_ms()
            due = report.next_deadline_ms is not None and report.next_deadline_ms <= now_ms
            if not (due and report.wallets):
                break
        self.passes += 1
        self._metrics.warden_pass_seconds.observe(time.perf_counter() - begun)
        if report.next_deadline_ms is None:
            self._metrics.warden_lag_seconds.set(0)
            return _SLEEP_MAX_S
        left_s = (report.next_deadline_ms - now_ms) / 1000
        self._metrics.warden_lag_seconds.set(max(0.0, -left_s))
        # What is due but could not be advanced is tried again soon, not at once for ever.
        return min(_SLEEP_MAX_S, left_s if left_s > 0 else _RETRY_MIN_S)

    def _after(self, report: AdvanceReport) -> None:
        if report.stops_ordered:
            log.info("stops ordered", count=report.stops_ordered)
            self._on_stops()
        if report.notices:
            self._on_notices()
        if report.wallets:
            log.debug("wallets advanced", wallets=report.wallets, notices=report.notices)
