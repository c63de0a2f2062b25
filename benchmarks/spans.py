"""Stretches of time on the hub's loop, with what the processor and the garbage collector took."""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Collector", "Span", "Stopwatch", "collector"]


@dataclass(frozen=True, slots=True)
class Span:
    """How long something took, the garbage collector's part apart; in seconds.

    A full collection walks the whole process and comes whoever happens to allocate next: it
    would blame a random piece of code.
    """

    at: float  # the monotonic instant of its end
    s: float
    cpu_s: float  # of this thread: without waiting for a processor
    collecting_s: float

    def as_dict(self, what: str) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self), "what": what}


class Collector:
    """Adds up the garbage collections of one thread."""

    def __init__(self) -> None:
        self.s = 0.0
        self.cpu_s = 0.0
        self.longest: list[dict[str, float]] = []
        self._thread = 0
        self._since = 0.0
        self._cpu_since = 0.0

    def watch_this_thread(self) -> None:
        """Begin; collections that other threads set off count as waiting."""
        self._thread = threading.get_ident()
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if threading.get_ident() != self._thread:
            return
        now, cpu = time.monotonic(), time.thread_time()
        if phase == "start":
            self._since, self._cpu_since = now, cpu
            return
        took_s = now - self._since
        self.s += took_s
        self.cpu_s += cpu - self._cpu_since
        if info["generation"] > 0:
            entry = {"at": now, "s": took_s, "cpu_s": cpu - self._cpu_since}
            self.longest.append({**entry, "generation": info["generation"]})


collector = Collector()


class Stopwatch:
    """Runs from its making until it is read; in one thread."""

    __slots__ = ("_begun", "_collected", "_collected_cpu", "_cpu")

    def __init__(self) -> None:
        self._collected, self._collected_cpu = collector.s, collector.cpu_s
        self._begun, self._cpu = time.monotonic(), time.thread_time()

    def read(self) -> Span:
        """Return what has passed."""
        now, cpu = time.monotonic(), time.thread_time()
        collecting_s = collector.s - self._collected
        collecting_cpu_s = collector.cpu_s - self._collected_cpu
        return Span(
            at=now,
            s=max(0.0, now - self._begun - collecting_s),
            cpu_s=max(0.0, cpu - self._cpu - collecting_cpu_s),
            collecting_s=collecting_s,
        )
