"""A list and a watch of one kind of object, kept going for ever and never older than it says.

The server ends each watch after a while, and ours begins the next where it ended. Every watch
speaks regularly, by bookmarks or at its end: what has not spoken for longer is stale, whatever its
connection looks like, and nobody may take what it shows for life or death.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from jhub_tokens.clock import Clock
from jhub_tokens.service.cluster.api import Api, ApiProblem
from jhub_tokens.service.cluster.pace import Pace

__all__ = ["Change", "Watch"]

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Spoken longer ago than this, it is stale.
FRESH_MS = 90_000
#: Interrupted for longer than this, what comes first may have happened meanwhile.
LATE_MS = 5_000
#: A watch that ends sooner than this is not begun anew at once.
SHORTEST_S = 1.0
_BACK_OFF_MIN_S = 0.5
_BACK_OFF_MAX_S = 30.0
#: A permission is not given from one second to the next.
_FORBIDDEN_S = 60.0


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What became known of one object.

    Parameters
    ----------
    item
        Its state; of one that is gone, the last.
    gone
        Whether the server has it no more.
    at_ms
        When this became known.
    known_ms
        Up to when nothing of it was known to have happened: the same instant while watched
        without interruption, None if nobody watched before.
    """

    item: T
    gone: bool
    at_ms: int
    known_ms: int | None


class Watch(Generic[T]):
    """Keeps all objects of one kind, as the server has them.

    Parameters
    ----------
    name
        What is watched, for logs and metrics.
    api
        The API server.
    path, query
        Where the list is.
    parse
        Makes an item of the server's JSON; None: not to be kept.
    clock
        Says when something became known.
    on_change
        Told of each change, in order.
    remedy
        What an operator does about a missing permission.
    sleep
        Waits between tries.
    """

    def __init__(
        self,
        name: str,
        api: Api,
        path: str,
        parse: Callable[[Mapping[str, Any]], T | None],
        clock: Clock,
        *,
        query: Mapping[str, str] | None = None,
        on_change: Callable[[Change[T]], None] = lambda _change: None,
        remedy: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self._api = api
        self._path = path
        self._query = dict(query or {})
        self._parse = parse
        self._clock = clock
        self._on_change = on_change
        self._remedy = remedy
        self._sleep = sleep
        self.items: dict[str, T] = {}
        self.fresh_at_ms: int | None = None  #: up to when it is known what the server has
        self.problem: ApiProblem | None = None  #: why it does not work at present
        self.lists = 0  #: lists taken in since the start
        self._version: str | None = None  # where the next watch goes on; None: list first
        self._late_since_ms: int | None = None  # fresh until then, and catching up
        self._failures = 0
        self._pace = Pace()
        self._begun_ms = 0

    def is_fresh(self, now_ms: int) -> bool:
        """Tell whether what it shows may be taken for the truth."""
        return self.fresh_at_ms is not None and now_ms - self.fresh_at_ms <= FRESH_MS

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._follow(self._version or "")
            except ApiProblem as problem:
                await self._fail(problem)

    # --- listing ---------------------------------------------------------------------------

    async def _list(self) -> None:
        begun_ms = self._clock.now_ms()
        found: dict[str, T] = {}
        version = ""
        async with aclosing(self._api.pages(self._path, self._query)) as pages:
            async for raws, version_listed in pages:
                version = version_listed
                for raw in raws:
                    item = self._read(raw)
                    if item is not None:
                        found[raw["metadata"]["uid"]] = item
        known_ms = self.fresh_at_ms
        missing = [item for uid, item in self.items.items() if uid not in found]
        self.items = found
        # What the list says was true when it was begun, or later.
        self._fresh(begun_ms)
        self._version = version or None
        self.lists += 1
        self._works()
        for item in missing:
            self._tell(item, True, known_ms)
        for item in found.values():
            self._tell(item, False, known_ms)

    # --- watching --------------------------------------------------------------------------

    async def _follow(self, version: str) -> None:
        """Take in what happens after `version`, until the server ends the watch."""
        query = {
            **self._query,
            "resourceVersion": version,
            "timeoutSeconds": str(self._pace.watch_s),
            "allowWatchBookmarks": "true",
        }
        begun_s = time.monotonic()
        events = self._api.events(self._path, query, silence_s=self._pace.silence_s)
        async with aclosing(events):
            async for event in events:
                if event is None:
                    self._begun()
                else:
                    self._take(event)
        # It ended in good order: everything up to now has been told.
        self._fresh(self._clock.now_ms())
        self._failures = 0
        self._pace.ended()
        if time.monotonic() - begun_s < SHORTEST_S:
            await self._sleep(SHORTEST_S)  # something in between does not let watches last

    def _begun(self) -> None:
        last_ms = self.fresh_at_ms
        self._begun_ms = self._clock.now_ms()
        if last_ms is not None and self._begun_ms - last_ms > LATE_MS:
            self._late_since_ms = last_ms
        self._works()

    def _take(self, event: Mapping[str, Any]) -> None:
        raw: Mapping[str, Any] = event.get("object") or {}
        meta: Mapping[str, Any] = raw.get("metadata") or {}
        if event.get("type") == "BOOKMARK":
            self._fresh(self._clock.now_ms())
            self._failures = 0
            self._pace.bookmark(self._clock.now_ms() - self._begun_ms)
        elif meta.get("uid"):
            known_ms = self._late_since_ms
            if known_ms is None:
                known_ms = self._clock.now_ms()
                self._fresh(known_ms)
                self._failures = 0
            self._changed(event.get("type") == "DELETED", str(meta["uid"]), raw, known_ms)
        self._version = str(meta.get("resourceVersion") or "") or self._version

    def _changed(self, gone: bool, uid: str, raw: Mapping[str, Any], known_ms: int) -> None:
        item = self._read(raw)
        if gone or item is None:
            before = self.items.pop(uid, None)
            last = before if item is None else item
            if last is not None:
                self._tell(last, gone, known_ms)
        else:
            self.items[uid] = item
            self._tell(item, False, known_ms)

    # --- both ------------------------------------------------------------------------------

    def _fresh(self, at_ms: int) -> None:
        self.fresh_at_ms = max(at_ms, self.fresh_at_ms or 0)
        self._late_since_ms = None

    def _read(self, raw: Mapping[str, Any]) -> T | None:
        try:
            return self._parse(raw)
        except (KeyError, TypeError, ValueError, AttributeError):
            # One odd object must not end the watch of all others.
            name = (raw.get("metadata") or {}).get("name") if isinstance(raw, dict) else None
            log.warning("an object cannot be read", watch=self.name, name=name, exc_info=True)
            return None

    def _tell(self, item: T, gone: bool, known_ms: int | None) -> None:
        change = Change(item, gone, self._clock.now_ms(), known_ms)
        try:
            self._on_change(change)
        except Exception:
            log.exception("a change cannot be taken in", watch=self.name)

    def _works(self) -> None:
        if self.problem is not None:
            log.info("the cluster can be watched again", watch=self.name)
        self.problem = None

    async def _fail(self, problem: ApiProblem) -> None:
        """Say what is wrong, once, and wait before the next try."""
        self._failures += 1
        if not problem.is_expired:
            self._pace.failed()
        if problem.status not in (0, 429):
            self._version = None  # whatever the server dislikes, a list is where to begin
        if problem.is_expired and self._failures == 1:
            return  # old versions are forgotten as a matter of course
        is_news = self.problem is None or self.problem.status != problem.status
        self.problem = problem
        if is_news:
            log.warning(
                "the cluster cannot be watched",
                watch=self.name,
                reason=str(problem),
                remedy=self._remedy if problem.is_forbidden else "it is tried again and again",
            )
        if problem.is_forbidden:
            wait_s = _FORBIDDEN_S
        else:
            wait_s = min(_BACK_OFF_MAX_S, _BACK_OFF_MIN_S * 2 ** min(self._failures - 1, 10))
        # Spread: replicas that lost the same server must not come back in step.
        await self._sleep(wait_s * random.uniform(0.7, 1.3))
