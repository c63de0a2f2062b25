"""The outbox's worker: sends notices by e-mail and webhook, each at least once.

It routes new notices, claims what is due under a lease, sends it outside any transaction and
writes down what became of it. A crash in between leaves a lease that ends, and whoever is there
then sends again under the same id. Several replicas work side by side: a lease is one worker's.
It never dies: a pass that fails is logged and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from jhub_tokens.clock import Clock
from jhub_tokens.ledger.outbox import EMAIL, Delivery, Outcome
from jhub_tokens.service.books import Books
from jhub_tokens.service.channels import Channel, NotSent
from jhub_tokens.service.executors import Workers
from jhub_tokens.service.metrics import Metrics

__all__ = ["ATTEMPTS_MAX", "OutboxWorker", "backoff_ms"]

log = structlog.get_logger(__name__)

#: About fourteen hours of trying: a night's outage loses nothing.
ATTEMPTS_MAX = 12
_BACKOFF_MIN_MS = 30_000
_BACKOFF_MAX_MS = 6 * 3_600_000
#: Longer than a batch can take, so that no lease ends while its delivery is being sent.
_LEASE_MS = 120_000
_SEND_MAX_S = 20.0
_BATCH = 20
_AT_ONCE = 5
_ROUTED_AT_ONCE = 500
_PASSES_MAX = 50  # then others get their turn at the writing thread
_SLEEP_MAX_S = 15.0
_RETRY_S = 5.0
#: However often it is woken, it looks no more often than this.
_REST_S = 0.1


def backoff_ms(attempts: int) -> int:
    """Return how long to wait after so many attempts, in milliseconds."""
    return min(_BACKOFF_MAX_MS, _BACKOFF_MIN_MS << min(attempts - 1, 30))


class OutboxWorker:
    """One asyncio task that sends what is due.

    Parameters
    ----------
    books
        Where the ledger is, once it is open.
    workers
        Threads for the blocking work.
    clock
        The clock by which deliveries are due.
    metrics
        Where deliveries are counted.
    channels
        By what to send; without any, there is nothing to do.
    """

    def __init__(
        self,
        books: Books,
        workers: Workers,
        clock: Clock,
        metrics: Metrics,
        channels: Sequence[Channel],
    ) -> None:
        self._books = books
        self._workers = workers
        self._clock = clock
        self._metrics = metrics
        self._channels = {name: channel for channel in channels for name in channel.names}
        self._all = tuple(channels)
        self._woken = asyncio.Event()
        self.passes = 0  #: passes finished since the start

    def wake(self) -> None:
        """Look again now: there may be new notices."""
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while self._channels:
                self._woken.clear()
                sleep_s = _SLEEP_MAX_S
                if self._books.is_open:
                    try:
                        sleep_s = await self.work()
                    except Exception:
                        sleep_s = _RETRY_S
                        self._metrics.outbox_failures.inc()
                        log.exception("outbox's pass failed", again_in_s=sleep_s)
                await asyncio.sleep(_REST_S)
                # Not wait_for(): in Python 3.11 it can lose a cancellation to a wake-up.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(sleep_s):
                        await self._woken.wait()
        finally:
            for channel in self._all:
                await channel.close()

    async def work(self) -> float:
        """Route and send everything that is due; return how long to sleep, in seconds."""
        outbox = self._books.ledger.outbox
        hooks = [name for name in self._channels if name != EMAIL]
        for _ in range(_PASSES_MAX):
            # Looking is cheap and needs no turn at the writing thread.
            state = await self._workers.read(outbox.state)
            due = state.next_try_ms is not None and state.next_try_ms <= self._clock.now_ms()
            if not (state.unrouted or due):
                break
            if state.unrouted:
                email = EMAIL in self._channels
                await self._workers.write(
                    outbox.route, email=email, webhooks=hooks, limit=_ROUTED_AT_ONCE
                )
            batch = await self._workers.write(outbox.claim, lease_ms=_LEASE_MS, limit=_BATCH)
            if batch:
                turns = asyncio.Semaphore(_AT_ONCE)
                outcomes = await asyncio.gather(*(self._send(each, turns) for each in batch))
                await self._workers.write(outbox.settle, outcomes)
            elif not state.unrouted:
                break  # another replica has it
        self.passes += 1
        self._metrics.outbox_waiting.set(state.waiting)
        if state.next_try_ms is None:
            return _SLEEP_MAX_S
        left_s = (state.next_try_ms - self._clock.now_ms()) / 1000
        return min(_SLEEP_MAX_S, max(0.0, left_s))

    async def _send(self, delivery: Delivery, turns: asyncio.Semaphore) -> Outcome:
        channel, kind = self._channels.get(delivery.channel), delivery.channel.partition(":")[0]
        try:
            if channel is None:
                raise NotSent("the channel is not configured any more", for_good=True)
            async with turns:
                # What waited so long that its lease might end meanwhile is left for the next.
                if delivery.lease_until_ms - self._clock.now_ms() < _SEND_MAX_S * 1000:
                    return Outcome(delivery, "waiting", self._clock.now_ms(), "its turn came late")
                async with asyncio.timeout(_SEND_MAX_S):
                    await channel.send(delivery, self._books.catalogue)
        except NotSent as error:
            return self._not_sent(delivery, kind, str(error), for_good=error.for_good)
        except TimeoutError:
            return self._not_sent(delivery, kind, f"no answer within {_SEND_MAX_S:g} s")
        except Exception as error:
            # One delivery's trouble is not everybody's: a text that cannot be made, say.
            log.exception("delivery failed", notice_id=delivery.notice.notice_id, channel=kind)
            return self._not_sent(delivery, kind, f"{type(error).__name__}: {error}")
        self._metrics.deliveries.labels(kind, "sent").inc()
        return Outcome(delivery, "sent")

    def _not_sent(
        self, delivery: Delivery, kind: str, error: str, *, for_good: bool = False
    ) -> Outcome:
        gives_up = for_good or delivery.attempts >= ATTEMPTS_MAX
        self._metrics.deliveries.labels(kind, "given_up" if gives_up else "retried").inc()
        log.warning(
            "notice given up" if gives_up else "notice not sent yet",
            notice_id=delivery.notice.notice_id,
            channel=kind,
            attempts=delivery.attempts,
            error=error,
        )
        if gives_up:
            return Outcome(delivery, "failed", error=error[:1000])
        then_ms = self._clock.now_ms() + backoff_ms(delivery.attempts)
        return Outcome(delivery, "waiting", then_ms, error[:1000])
