"""Sealing: binds the heads of all chains together, regularly, and lets them be kept elsewhere.

Each seal is a line in the log (event ``sealed``) and, if a file is named, a line there with all
its heads. Several replicas work side by side: whoever comes first seals, and each keeps a
complete file of its own. It never dies: what fails is logged and tried again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from jhub_tokens.clock import Clock
from jhub_tokens.ledger.exported_seals import SealFileProblem, append_seals
from jhub_tokens.ledger.seals import seal_facts
from jhub_tokens.service.books import Books
from jhub_tokens.service.executors import Workers
from jhub_tokens.service.metrics import Metrics

__all__ = ["Sealer"]

log = structlog.get_logger(__name__)

#: A seal that could not be kept is tried again within this.
_SLEEP_MAX_S = 60.0


class Sealer:
    """One asyncio task that seals the books every now and then.

    Parameters
    ----------
    books
        Where the ledger is, once it is open.
    workers
        Threads for the blocking work.
    clock
        The clock by which seals are due.
    metrics
        Where the last seal and failures are told.
    every_ms
        How long after a seal the next one is due; 0: there are none.
    path
        The file to which seals are appended; None: only the log tells.
    key
        What seals are signed with outside the database; may be empty.
    """

    def __init__(
        self,
        books: Books,
        workers: Workers,
        clock: Clock,
        metrics: Metrics,
        *,
        every_ms: int,
        path: Path | None = None,
        key: str = "",
    ) -> None:
        self._books = books
        self._workers = workers
        self._clock = clock
        self._metrics = metrics
        self._every_ms = every_ms
        self._path = path
        self._key = key

    async def run(self) -> None:
        """Work until cancelled."""
        while self._every_ms:
            if self._books.is_open:
                try:
                    await self.work()
                except SealFileProblem as problem:
                    self._metrics.seal_failures.inc()
                    log.error("seals cannot be kept", reason=str(problem))
                except Exception:
                    self._metrics.seal_failures.inc()
                    log.exception("sealing failed")
            await asyncio.sleep(min(_SLEEP_MAX_S, self._every_ms / 1000))

    async def work(self) -> None:
        """Seal if it is time, and keep what is not kept yet."""
        seals = self._books.ledger.seals
        for seal in await self._workers.write(seals.make, every_ms=self._every_ms):
            # `jhub-tokens audit --seals` reads this line from a log in JSON.
            log.info("sealed", **seal_facts(seal, self._key))
        last = await self._workers.read(seals.last)
        if last is not None:
            self._metrics.sealed_at.set(last.sealed_ms / 1000)
        if self._path is not None:
            # A disk that hangs must not keep the books' own threads.
            await asyncio.to_thread(append_seals, seals, self._path, self._key)
