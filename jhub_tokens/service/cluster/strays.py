"""Pods of servers without an open session: nobody pays for them, and nobody may need them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from jhub_tokens.ledger.ends import OpenSession
from jhub_tokens.service.cluster.pods import PodSeen
from jhub_tokens.wire.labels import label_value

__all__ = ["SessionFinder", "Stray", "Strays", "StrayReason"]

StrayReason = Literal[
    "closed",  # its session is over
    "unknown",  # its label names a session that is not in these books
    "unlabelled",  # it names none, and none is open where it is
]
#: A hub stops what has ended within that time; the rest is worth saying.
REPORT_AFTER_MS = 2 * 60_000
#: How far the API server's clock may be behind ours, and its instants are whole seconds.
_SKEW_MS = 5_000
#: How the keys of sessions begin that were opened for a server found running.
_ADOPTED = "adopted-"


@dataclass(frozen=True, slots=True)
class Stray:
    """A pod without an open session."""

    pod: PodSeen
    why: StrayReason
    since_ms: int  # when it was first seen like that


class SessionFinder:
    """Knows which session a pod is for: by our labels, else by whose server it is.

    Parameters
    ----------
    sessions
        All that are open.
    """

    def __init__(self, sessions: Iterable[OpenSession]) -> None:
        self._by_id = {session.session_id: session for session in sessions}
        self._by_key = {label_value(s.start_key): s for s in self._by_id.values()}
        self._by_place: dict[tuple[str, str], list[OpenSession]] = {}
        for session in self._by_id.values():
            place = (session.name, session.server_name)
            self._by_place.setdefault(place, []).append(session)

    def of(self, pod: PodSeen) -> str | None:
        """Return the id of the open session that a living pod is for, None if there is none."""
        found = self._by_id.get(pod.session_id or "") or self._by_key.get(pod.start_key or "")
        if found is None and pod.member is not None:
            here = self._by_place.get((pod.member, pod.server_name), ())
            mine = [session for session in here if self._may_be(session, pod)]
            found = mine[0] if len(mine) == 1 else None
        return None if found is None else found.session_id

    @staticmethod
    def _may_be(session: OpenSession, pod: PodSeen) -> bool:
        """Tell whether a session can be that of a pod which does not name it.

        A server that was found running is older than its session; any other is younger, and one
        with a label that names another session was not made for this one.
        """
        if pod.hub is not None and label_value(session.hub) != pod.hub:
            return False
        if session.start_key.startswith(_ADOPTED):
            return True
        if pod.session_id is not None or pod.created_ms is None:
            return False
        return pod.created_ms >= session.admitted_ms - _SKEW_MS


class Strays:
    """Remembers since when pods have had no session."""

    def __init__(self) -> None:
        self._since_ms: dict[str, int] = {}
        self.found: tuple[Stray, ...] = ()

    @staticmethod
    def alive(pods: Iterable[PodSeen]) -> list[PodSeen]:
        """Return the pods that run or will, and are not being stopped."""
        return [pod for pod in pods if not pod.is_finished and pod.deleting_ms is None]

    def look(
        self,
        pods: Iterable[PodSeen],
        sessions: Mapping[str, str],
        known: Collection[str],
        now_ms: int,
    ) -> tuple[Stray, ...]:
        """Return the strays among living pods, those that have lasted long enough to be said.

        `sessions` are the open sessions by pod, `known` the ids of those that are in the books.
        """
        alone = {pod.uid: pod for pod in pods if pod.uid not in sessions}
        self._since_ms = {uid: self._since_ms.get(uid, now_ms) for uid in alone}
        self.found = tuple(
            Stray(pod, _why(pod, known), self._since_ms[uid])
            for uid, pod in sorted(alone.items())
            if now_ms - self._since_ms[uid] >= REPORT_AFTER_MS
        )
        return self.found


def _why(pod: PodSeen, known: Collection[str]) -> StrayReason:
    if pod.session_id is None:
        return "unlabelled"
    return "closed" if pod.session_id in known else "unknown"
