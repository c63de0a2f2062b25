"""How long servers had to wait for a node, so that the next ones can be told."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from statistics import median

from jhub_tokens.service.cluster.pods import PodSeen

__all__ = ["Waits"]

#: A pod that finds room is given a node at once; longer than this, it had to wait.
_WAITED_MS = 5_000
_KEPT = 20
_PODS_MAX = 10_000
#: What was longer ago than this tells nothing about now.
_RECENT_MS = 7 * 86_400_000


class Waits:
    """The latest waits in each pool, as this process has seen them."""

    def __init__(self) -> None:
        self._waits: dict[str, deque[tuple[int, int]]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self._counted: OrderedDict[str, None] = OrderedDict()  # pods, the latest last

    def note(self, pod: PodSeen) -> None:
        """Take note of a pod that has been given a node; once each."""
        if pod.pool is None or pod.scheduled_ms is None or pod.created_ms is None:
            return
        if pod.uid in self._counted:
            return
        self._counted[pod.uid] = None
        if len(self._counted) > _PODS_MAX:
            self._counted.popitem(last=False)
        waited_ms = pod.scheduled_ms - pod.created_ms
        if waited_ms >= _WAITED_MS:
            self._waits[pod.pool].append((pod.scheduled_ms, waited_ms))

    def expected_s(self, pool: str, now_ms: int) -> int | None:
        """Return how long a server usually waits in a pool that is full; None: not known."""
        recent = [ms for at_ms, ms in self._waits[pool] if now_ms - at_ms <= _RECENT_MS]
        return round(median(recent) / 1000) if recent else None
