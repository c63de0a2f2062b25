"""Threads for the books: blocking work never runs on the event loop.

SQLite admits one writer, so one thread writes and requests queue behind it instead of racing
for a lock; reads run beside it. The queue is bounded: beyond it, callers are told to come back.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from jhub_tokens.i18n import _
from jhub_tokens.service.errors import Unavailable

__all__ = ["Workers"]

P = ParamSpec("P")
R = TypeVar("R")

#: More waiting than this and an answer would come too late to be of use.
BACKLOG_MAX = 1000


class Workers:
    """One pool that writes, one that reads.

    Parameters
    ----------
    writers, readers
        Number of threads of each pool.
    """

    def __init__(self, *, writers: int = 1, readers: int = 3) -> None:
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="books-write")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="books-read")
        self.backlog = 0

    async def write(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work` in a writing thread; once begun it is never abandoned half-way."""
        return await self._run(self._writers, work, *args, **kwargs)

    async def read(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work` in a reading thread."""
        return await self._run(self._readers, work, *args, **kwargs)

    async def _run(
        self, pool: ThreadPoolExecutor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        if self.backlog >= BACKLOG_MAX:
            raise Unavailable(
                _("The token service has more to do than it can answer in time."),
                remedy=_("Try again in a few seconds."),
                code="busy",
            )
        try:
            # With what belongs to the request, so that texts made there are in its language.
            context = contextvars.copy_context()
            future = asyncio.wrap_future(pool.submit(lambda: context.run(work, *args, **kwargs)))
        except RuntimeError:  # the pool is closed: the service is stopping
            raise _stopping() from None
        self.backlog += 1
        try:
            # Shielded: a caller who hangs up must not cancel a write that may be under way.
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if future.cancelled():  # dropped with the pool; the caller itself was not cancelled
                raise _stopping() from None
            raise
        finally:
            self.backlog -= 1

    def close(self) -> None:
        """Wait for what runs, drop what waits."""
        self._writers.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)


def _stopping() -> Unavailable:
    return Unavailable(_("The token service is stopping."), public=True)
