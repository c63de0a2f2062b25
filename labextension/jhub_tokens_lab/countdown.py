"""What the last answer of the service means now: time left, how urgent, which warning is due.

Instants here are milliseconds of this machine's monotonic clock. The service's own instants are
used as differences only, so that no two clocks need to agree.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Countdown"]


class Countdown:
    """One answer of the service, and when it was received.

    Parameters
    ----------
    view
        The answer.
    received_ms
        When it came.
    """

    def __init__(self, view: dict[str, Any], received_ms: float) -> None:
        self.view = view
        self.received_ms = received_ms

    def age_ms(self, now_ms: float) -> int:
        """Return how old the answer is."""
        return max(0, round(now_ms - self.received_ms))

    def left_ms(self, name: str, now_ms: float) -> int | None:
        """Return how long it is until the instant `name` of the answer; negative when over."""
        at_ms = self.view.get(name)
        if at_ms is None:
            return None
        return int(at_ms - self.view["as_of_ms"] - self.age_ms(now_ms))

    @property
    def thresholds_ms(self) -> list[int]:
        """How long before the end warnings come, the earliest first."""
        return [int(ms) for ms in self.view["warn_before_ms"]]

    @property
    def ends_for_real(self) -> bool:
        """Whether a stop will come: not in shadow mode, where the service only tells of it."""
        return bool(self.view["enforced"] or self.view["stopping"])

    def reached(self, now_ms: float) -> int | None:
        """Return the smallest threshold reached; None: no warning is due."""
        left = self.left_ms("ends_at_ms", now_ms)
        if left is None or not self.ends_for_real:
            return None
        return min((ms for ms in self.thresholds_ms if left <= ms), default=None)

    def saves(self, threshold_ms: int | None) -> bool:
        """Tell whether documents are saved once this warning has come."""
        return threshold_ms is not None and threshold_ms <= self.view["save_before_ms"]

    def level(self, now_ms: float) -> str:
        """Return how urgent it is: calm, amber, or red."""
        if self.view["stopping"]:
            return "red"
        reached = self.reached(now_ms)
        if reached is None:
            return "calm"
        earlier = [ms for ms in self.thresholds_ms if not self.saves(ms)]
        return "red" if self.saves(reached) or reached == earlier[-1] else "amber"

    def kept(self, now_ms: float) -> bool:
        """Tell whether the member wants the server to run on even if idle."""
        left = self.left_ms("keep_until_ms", now_ms)
        return left is not None and left > 0
