"""Inside the hub: how late does its event loop wake, which callbacks hold it, and whose are they.

Times are of the monotonic clock, which all processes of a machine share, so that the measuring
process can tell by them what the hub was doing.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import os
import signal
import time
from array import array
from pathlib import Path
from typing import Any

from benchmarks.own_code import time_own_code
from benchmarks.spans import Span, Stopwatch, collector

__all__ = ["PERIOD_S", "start"]

#: How often the loop should wake.
PERIOD_S = 0.001
#: Callbacks shorter than this are not kept.
KEPT_FROM_S = 0.002
#: Found, not imported: the plain hub loads nothing of ours.
_OWN = tuple(
    f"{place}{os.sep}"
    for name in ("jhub_tokens", "jhub_spawner", "jhub_authenticator")
    if (spec := importlib.util.find_spec(name)) is not None
    for place in spec.submodule_search_locations or []
)
_DEPTH_MAX = 40


class Probe:
    """Wakes every millisecond, and times each callback of the loop.

    Both see all that holds the loop, the operating system included; the processor time that the
    loop's thread used meanwhile tells its own work from waiting for a processor.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wakes = array("d")  # instant, how late, processor time; of each wake
        self._callbacks: list[dict[str, Any]] = []
        self._own_stretches: list[dict[str, Any]] = []

    def install(self, loop: asyncio.AbstractEventLoop, *, ours: bool) -> None:
        """Begin; on SIGUSR2 everything found so far is written to the file."""
        # Kept: the loop itself holds its tasks by weak references only.
        self._task = loop.create_task(self._wake(), name="loop probe")
        loop.add_signal_handler(signal.SIGUSR2, self._write)
        collector.watch_this_thread()
        self._time_callbacks()
        if ours:
            time_own_code(self._note_own)

    async def _wake(self) -> None:
        note = self._wakes.extend
        while True:
            begun, cpu = time.monotonic(), time.thread_time()
            await asyncio.sleep(PERIOD_S)
            now = time.monotonic()
            note((now, now - begun - PERIOD_S, time.thread_time() - cpu))

    def _time_callbacks(self) -> None:
        run = asyncio.Handle._run

        def timed_run(handle: Any) -> None:
            callback, args = handle._callback, handle._args
            watch = Stopwatch()
            run(handle)
            span = watch.read()
            if span.s + span.collecting_s >= KEPT_FROM_S:
                entry = span.as_dict(_describe(callback, args))
                self._callbacks.append(entry)
                if _is_own(callback):
                    self._own_stretches.append({**entry, "outermost": True})

        asyncio.Handle._run = timed_run  # type: ignore[method-assign, assignment]

    def _note_own(self, span: Span, what: str, outermost: bool) -> None:
        if span.s >= KEPT_FROM_S:
            self._own_stretches.append({**span.as_dict(what), "outermost": outermost})

    def _write(self) -> None:
        found = {
            "wakes": self._wakes.tolist(),
            "callbacks": self._callbacks,
            "own": self._own_stretches,
            "collections": collector.longest,
        }
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(found))
        part.replace(self._path)


def start(path: Path, *, ours: bool) -> None:
    """Probe the running loop; on SIGUSR2, `path` gets what was found."""
    Probe(path).install(asyncio.get_running_loop(), ours=ours)


def _codes(callback: Any) -> list[Any]:
    """Return the code objects of a callback, or of the coroutines of a task's step."""
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        while isinstance(callback, functools.partial):
            callback = callback.func
        code = getattr(callback, "__code__", None)
        return [] if code is None else [code]
    codes: list[Any] = []
    waiting: Any = owner.get_coro()
    while waiting is not None and len(codes) < _DEPTH_MAX:
        code = getattr(waiting, "cr_code", None) or getattr(waiting, "gi_code", None)
        if code is None:
            break
        codes.append(code)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return codes


def _is_own(callback: Any) -> bool:
    """Return whether a callback or task is ours from the root; parts of the hub's do not count."""
    codes = _codes(callback)
    return bool(codes) and codes[0].co_filename.startswith(_OWN)


def _describe(callback: Any, args: Any) -> str:
    codes = _codes(callback)
    if codes:
        return " > ".join(code.co_qualname for code in codes)
    return repr((callback, args))[:300]
