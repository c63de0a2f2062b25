"""Open pages, told of what changes: who has a page open, and whether to send it anew.

A page does not ask. It holds one stream open, and one task here looks for all of them at once
whether anything that they show was written: as soon as this process has written, and every few
seconds besides, for another replica or the command line may have. A look is three queries by
index for five hundred members, so streams cost next to nothing while nothing happens.

Between two messages the page counts on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Hashable, Iterable, Iterator

import structlog

from jhub_tokens.i18n import _
from jhub_tokens.ledger.stamps import MEMBERS_MAX
from jhub_tokens.service.books import Books
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.executors import Workers
from jhub_tokens.service.metrics import Metrics

__all__ = ["LiveStreams", "Stream", "stamp_text"]

log = structlog.get_logger(__name__)

#: Another replica's writes wake nobody here.
LOOK_AGAIN_S = 5.0
#: However much is written, nobody is told more often than this.
REST_S = 1.0
#: A proxy between closes what is silent; a comment keeps it open.
BEAT_S = 20.0
#: A stream ends by itself, so that a page whose person has signed out meanwhile falls silent.
AGE_MAX_S = 600.0
#: Browsers open few connections to one origin: more are not a person's.
PER_MEMBER_MAX = 8
IN_ALL_MAX = 5_000
#: How many pages are made at once, whatever happens to all members at midnight.
RENDERED_AT_ONCE = 2


def stamp_text(stamp: Hashable) -> str:
    """Return a stamp of the books as a short text that pages carry."""
    return hashlib.sha256(repr(stamp).encode()).hexdigest()[:16]


class Stream:
    """One open page of one member.

    Parameters
    ----------
    shown
        The stamp of what the page shows.
    """

    def __init__(self, member_id: str, shown: str) -> None:
        self.member_id = member_id
        self.shown = shown
        self._over = False
        self._woken = asyncio.Event()
        self._changed = False

    def end(self) -> None:
        """Let the stream end."""
        self._over = True
        self._woken.set()

    def tell(self) -> None:
        """Say that what the page shows was changed."""
        self._changed = True
        self._woken.set()

    async def next(self, timeout_s: float) -> bool | None:
        """Wait; return whether there is news, None once the stream is to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        self._woken.clear()
        changed, self._changed = self._changed, False
        return None if self._over else changed


class LiveStreams:
    """All open streams of this process.

    Parameters
    ----------
    books
        What is looked at.
    workers
        Threads for the looking.
    metrics
        Where streams are counted.
    """

    def __init__(self, books: Books, workers: Workers, metrics: Metrics) -> None:
        self._books = books
        self._workers = workers
        self._metrics = metrics
        self._streams: dict[str, set[Stream]] = {}
        self._count = 0
        self._closed = False
        self._woken = asyncio.Event()
        #: Bounds how many pages are made at once.
        self.rendering = asyncio.Semaphore(RENDERED_AT_ONCE)
        self.looks = 0  #: how often the books were looked at

    @contextlib.contextmanager
    def joined(self, member_id: str, shown: str) -> Iterator[Stream]:
        """Hold a stream open for a member.

        Raises
        ------
        Problem
            If there are too many, or the service is stopping.
        """
        if self._closed:
            raise Problem(503, "unavailable", _("The token service is stopping."))
        if self._count >= IN_ALL_MAX:
            raise _too_many(503)
        mine = self._streams.setdefault(member_id, set())
        if len(mine) >= PER_MEMBER_MAX:
            raise _too_many(429)
        stream = Stream(member_id, shown)
        mine.add(stream)
        self._counted(1)
        self.poke()  # something may have happened since the page was made
        try:
            yield stream
        finally:
            mine.discard(stream)
            self._counted(-1)
            if not mine and self._streams.get(member_id) is mine:
                del self._streams[member_id]

    def poke(self) -> None:
        """Say that something was written."""
        if self._streams:
            self._woken.set()

    def close(self) -> None:
        """End all streams; no more are opened."""
        self._closed = True
        for stream in self._all():
            stream.end()

    async def run(self) -> None:
        """Look for changes until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._woken.wait()
            self._woken.clear()
            if self._streams and self._books.is_open:
                try:
                    await self._look()
                except asyncio.CancelledError:
                    raise
                except Exception as error:
                    # The pages keep what they show; whoever asks the books is told what is wrong.
                    log.warning("looking for changes failed", error=str(error))
            await asyncio.sleep(REST_S)

    async def _look(self) -> None:
        self.looks += 1
        members = list(self._streams)
        for begin in range(0, len(members), MEMBERS_MAX):
            asked = members[begin : begin + MEMBERS_MAX]
            stamps = await self._workers.read(self._books.ledger.wallet_stamps, asked)
            for member_id in asked:
                if member_id not in stamps:
                    continue
                stamp = stamp_text(stamps[member_id])
                for stream in self._streams.get(member_id, ()):
                    if stream.shown != stamp:
                        stream.tell()

    def _all(self) -> Iterable[Stream]:
        return [stream for streams in self._streams.values() for stream in streams]

    def _counted(self, more: int) -> None:
        self._count += more
        self._metrics.event_streams.set(self._count)


def age_s() -> float:
    """Return how long a new stream lasts; not all pages come back at one instant."""
    return AGE_MAX_S * random.uniform(0.75, 1)


def _too_many(status: int) -> Problem:
    return Problem(
        status,
        "too_many_streams",
        _("Too many pages are open."),
        remedy=_("Close some; this page works without, too."),
        headers={"Retry-After": "60"},
    )
