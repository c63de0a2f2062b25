"""A wall clock that is not believed blindly: checked against a steady one, never going back.

The wall clock says what time it is, and can be set: by hand, by a virtual machine's host, by a
time server after hours without one. The steady clock says only how much time has passed, and
nobody can set it. As long as both tell of the same time passing, the wall clock holds. When
they part by more than a tolerance, somebody set the wall clock: that is reported, and time goes
on as the steady clock counts it, so that nothing is renewed, expired, charged or stopped for
time that did not pass.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["TOLERANCE_MS", "GuardedClock", "steady_ms", "wall_ms"]

#: A time server that is reached all the time corrects by less than this.
TOLERANCE_MS = 2_000


def wall_ms() -> int:
    """Return the machine's wall clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """Return milliseconds since some fixed instant, counted through suspension where possible.

    While a machine is suspended time does pass: Linux counts that in CLOCK_BOOTTIME, not in
    CLOCK_MONOTONIC.
    """
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    if boot_time is None:
        return time.monotonic_ns() // 1_000_000
    return time.clock_gettime_ns(boot_time) // 1_000_000


class GuardedClock:
    """A `Clock` that follows the wall clock while the steady clock agrees. Thread-safe.

    Parameters
    ----------
    on_disagreement
        Called with the milliseconds by which the wall clock is ahead (negative: behind) when
        it has been set, again whenever it is set anew, and with 0 once both agree again. It is
        called with no lock held, by whichever thread asked for the time.
    tolerance_ms
        By how much the wall clock may part from the steady one between two looks.
    wall, steady
        The two sources, in milliseconds.
    """

    def __init__(
        self,
        on_disagreement: Callable[[int], None] = lambda _: None,
        *,
        tolerance_ms: int = TOLERANCE_MS,
        wall: Callable[[], int] = wall_ms,
        steady: Callable[[], int] = steady_ms,
    ) -> None:
        self._on_disagreement = on_disagreement
        self._tolerance_ms = tolerance_ms
        self._wall = wall
        self._steady = steady
        self._lock = threading.Lock()
        # Where both clocks stood when they last agreed.
        self._wall_then_ms, self._steady_then_ms = wall(), steady()
        self._latest_ms = self._wall_then_ms
        self._reported_ms = 0

    @property
    def disagreement_ms(self) -> int:
        """By how much the wall clock was ahead when it was last reported; 0: they agree."""
        return self._reported_ms

    def now_ms(self) -> int:
        """Return the current instant, never an earlier one than before."""
        with self._lock:
            wall, steady = self._wall(), self._steady()
            reckoned_ms = self._wall_then_ms + steady - self._steady_then_ms
            ahead_ms = wall - reckoned_ms
            if abs(ahead_ms) <= self._tolerance_ms:
                ahead_ms = 0
                self._wall_then_ms = reckoned_ms = wall  # small steps are followed
                self._steady_then_ms = steady
            self._latest_ms = max(self._latest_ms, reckoned_ms)
            now_ms = self._latest_ms
            news = ahead_ms != self._reported_ms and (
                not ahead_ms or abs(ahead_ms - self._reported_ms) > self._tolerance_ms
            )
            if news:
                self._reported_ms = ahead_ms
        if news:
            self._on_disagreement(ahead_ms)
        return now_ms

    def accept(self) -> None:
        """Believe the wall clock from now on, as an operator does who has checked it.

        If it is behind, time stands still until it has caught up.
        """
        with self._lock:
            self._wall_then_ms, self._steady_then_ms = self._wall(), self._steady()
