"""One run of one server as the hub process sees it, and the reports that wait for a receipt.

Instants in here are seconds of the monotonic clock: what leaves the process are ages, so that
no two machines' clocks need to agree.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from jupyterhub.utils import utcnow

from jhub_tokens import wire
from jhub_tokens.hub.identity import UNTOLD

__all__ = ["EndReason", "Reports", "Run", "age_ms", "new_key"]

EndReason = Literal["stopped", "exited", "failed", "cancelled", "lost"]
Phase = Literal[
    "asking",  # the admission is under way
    "starting",  # admitted, not yet ready
    "ready",
    "lingering",  # the hub has forgotten the server, its process lives on
    "over",
]

#: Reports that no receipt ever names are dropped after this time; the service has long since
#: ended a session that no snapshot shows.
REPORT_LIFETIME_S = 7 * 86_400.0


def new_key() -> str:
    """Return a fresh key for one attempt to start."""
    return uuid.uuid4().hex


def age_ms(instant: float, now: float) -> int:
    """Return how long before `now` the monotonic `instant` was, in milliseconds."""
    return max(0, round((now - instant) * 1000))


@dataclass(eq=False, slots=True)
class Run:
    """One run of one server, from the question whether it may start to its observed end."""

    spawner: Any
    member: wire.Identity
    server_name: str
    start_key: str | None  # None: found running, not yet named by the service
    phase: Phase
    profile: str | None = None
    started: str | None = None
    session_id: str | None = None
    ready_at: float | None = None
    alive_at: float | None = None  # last poll that found it alive
    died_at: float | None = None  # first poll that found it gone
    stop_at: float | None = None  # stop then even if the service is away
    restored: bool = False  # started by an earlier hub process
    through: str | None = None  # the key under which it was let through unasked, if it was
    stopping: bool = False  # Spawner.stop was called
    cancelled: bool = False
    state: dict[str, Any] = field(default_factory=dict)  # the base spawner's, while lingering

    @property
    def open(self) -> bool:
        """Whether snapshots show it."""
        return self.phase != "over"

    def polled(self, status: int | None, now: float) -> None:
        """Take note of what a poll of the spawner said at `now`."""
        if status is None:
            self.alive_at, self.died_at = now, None
        elif self.alive_at is not None and self.died_at is None:
            self.died_at = now

    def end_reason(self) -> EndReason:
        """Return why it ended, as far as the hub can tell."""
        if self.restored and self.alive_at is None:
            return "lost"  # gone before this hub process looked for the first time
        if self.ready_at is None:
            return "cancelled" if self.cancelled else "failed"
        return "stopped" if self.stopping else "exited"

    def seen(self, now: float) -> wire.ServerSeen:
        """Return its line of a snapshot."""
        return wire.ServerSeen(
            member=self.member,
            server_name=self.server_name,
            start_key=self.start_key,
            started=self.started,
            ready_age_ms=None if self.ready_at is None else age_ms(self.ready_at, now),
            alive_age_ms=None if self.alive_at is None else age_ms(self.alive_at, now),
            active_age_ms=_active_age_ms(self.spawner),
            profile=self.profile,
        )


def _active_age_ms(spawner: Any) -> int | None:
    """Return how long ago the hub last saw a server in use: by its proxy, or told by the server."""
    if spawner.orm_spawner is None or spawner.orm_spawner.last_activity is None:
        return None
    passed: timedelta = utcnow(with_tz=False) - spawner.orm_spawner.last_activity
    return max(0, round(passed.total_seconds() * 1000))


@dataclass(slots=True)
class _End:
    ready_at: float | None
    at: float
    reason: EndReason
    detail: str


class Reports:
    """Facts that are told again with every snapshot until a receipt names them."""

    def __init__(self) -> None:
        self._ended: dict[str, _End] = {}
        self._cancelled: dict[str, float] = {}
        self._failed_stops: dict[str, str] = {}
        self._members: dict[tuple[int, str], wire.Identity] = {}

    def ended(
        self,
        start_key: str,
        ready_at: float | None,
        at: float,
        reason: EndReason,
        detail: str = "",
    ) -> None:
        """Report that the run of `start_key`, ready since `ready_at`, ended at the instant `at`.

        Both are monotonic instants. A run that was ready and over between two receipts is
        known to the service by this report alone.
        """
        # The first observation counts: a second one can only be later, never truer.
        self._ended.setdefault(start_key, _End(ready_at, at, reason, detail[:500]))

    def cancelled(self, start_key: str) -> None:
        """Report that the start of `start_key` was given up before its admission was known."""
        self._cancelled.setdefault(start_key, time.monotonic())

    def stop_failed(self, order_id: str, detail: str) -> None:
        """Report that a stop order could not be carried out."""
        self._failed_stops[order_id] = detail[:500]

    def member(self, identity: wire.Identity) -> None:
        """Report that this member exists."""
        self._members[identity.hub_user_id, identity.created] = identity

    def fill(self, now: float) -> dict[str, Any]:
        """Return the fields of a snapshot that carry these facts."""
        self._forget_before(now - REPORT_LIFETIME_S)
        return {
            "ended": [
                wire.EndSeen(
                    start_key=key,
                    ready_age_ms=None if end.ready_at is None else age_ms(end.ready_at, now),
                    ended_age_ms=age_ms(end.at, now),
                    reason=end.reason,
                    detail=end.detail,
                )
                for key, end in self._ended.items()
            ],
            "cancelled": list(self._cancelled),
            "members": list(self._members.values()),
            "failed_stops": [
                wire.StopFailed(order_id=order_id, detail=detail)
                for order_id, detail in self._failed_stops.items()
            ],
        }

    def received(self, snapshot: wire.Snapshot, receipt: wire.SnapshotReceipt) -> None:
        """Drop what the receipt of `snapshot` confirms."""
        for key in receipt.ended:
            self._ended.pop(key, None)
        for key in receipt.cancelled:
            self._cancelled.pop(key, None)
        for identity in snapshot.members:
            UNTOLD.confirmed(identity)
            place = identity.hub_user_id, identity.created
            if self._members.get(place) == identity:
                del self._members[place]
        for failed in snapshot.failed_stops:
            if self._failed_stops.get(failed.order_id) == failed.detail:
                del self._failed_stops[failed.order_id]

    def _forget_before(self, instant: float) -> None:
        self._ended = {key: end for key, end in self._ended.items() if end.at >= instant}
        self._cancelled = {key: at for key, at in self._cancelled.items() if at >= instant}
