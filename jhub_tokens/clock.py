"""Time, injected: the one place where the package asks what time it is."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Anything that tells the time in milliseconds since the epoch (UTC)."""

    def now_ms(self) -> int:
        """Return the current instant."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return the current instant."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves when told to: a month runs in a second."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return the instant it was last set to."""
        return self._now_ms

    def set_ms(self, now_ms: int) -> None:
        """Jump to `now_ms`, forward or back."""
        self._now_ms = now_ms

    def advance_ms(self, duration_ms: int) -> None:
        """Move by `duration_ms`."""
        self._now_ms += duration_ms
