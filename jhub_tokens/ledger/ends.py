"""The ends of sessions as the cluster saw them: when a container finished, and why.

The hub and the cluster both tell of an end, in either order. Whoever comes first ends the
session; what the cluster says is the truer word, so it moves an end that the hub has reported,
and the hub's later word moves nothing. Only the hub knows whether a server was ever ready: until
it has told, what the cluster says of an unready session waits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import Connection, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.batches import change_wallets
from jhub_tokens.ledger.deadlines import notify
from jhub_tokens.ledger.late import charge_late
from jhub_tokens.ledger.loading import rows_of
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.sessions import end_session, give_back_after
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["TOLD", "ClusterBooks", "ClusterEnd", "ClusterEndReason", "EndsBooked", "OpenSession"]

ClusterEndReason = Literal[
    "oom",  # more memory than it may have
    "evicted",  # its node ran short of something, or was drained
    "node_lost",  # its node failed, was shut down or is out of reach
    "preempted",  # a spot node was taken back
    "displaced",  # the scheduler needed its place for something more urgent
    "crashed",  # its own process failed
    "exited",  # its own process ended
    "deleted",  # somebody deleted the pod
]
#: Ends that happen to a member, who is told of them.
TOLD: tuple[ClusterEndReason, ...] = ("oom", "evicted", "node_lost", "preempted", "displaced")
#: What the hub says of an end, and what the cluster says instead of it: the hub sees a server
#: gone, the cluster sees why. Other reasons are our own orders, and stand.
_TRUER = {
    "lost": get_args(ClusterEndReason),
    "exited": (*TOLD, "crashed", "deleted"),
    "failed": (*TOLD, "crashed"),
    "stopped": TOLD,
}
_ends, _s, _m = schema.cluster_ends, schema.sessions, schema.members
#: The hub has told whether it was ever ready, so that it can be booked.
_DUE = (
    select(_ends, _s.c.wallet_id)
    .join(_s, _s.c.session_id == _ends.c.session_id)
    .where(_ends.c.booked_ms.is_(None), or_(_s.c.ready_ms.is_not(None), _s.c.ended_ms.is_not(None)))
    .order_by(_ends.c.session_id)
)


@dataclass(frozen=True, slots=True)
class ClusterEnd:
    """The end of a session's pod.

    Parameters
    ----------
    session_id
        The session that the pod was made for.
    ended_ms
        When it ended.
    reason
        Why.
    exact
        Whether that instant was observed. If not, the pod was last known to live then, and the
        hub may know of a later sign of life.
    exit_code, node
        Of the container that ended, and where it ran, as far as known.
    """

    session_id: str
    ended_ms: int
    reason: ClusterEndReason
    exact: bool = True
    exit_code: int | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class EndsBooked:
    """What became of the ends that the cluster told.

    Parameters
    ----------
    booked
        Sessions whose ends are in the books now, through this call.
    waiting
        How many ends wait for the hub's word, or for a wallet that is in trouble.
    notices
        How many notices were written.
    """

    booked: tuple[str, ...] = ()
    waiting: int = 0
    notices: int = 0


@dataclass(frozen=True, slots=True)
class OpenSession:
    """An open session, and where its server is."""

    session_id: str
    start_key: str
    name: str
    server_name: str
    hub: str
    admitted_ms: int


class ClusterBooks:
    """What the cluster tells the books; every method is one transaction.

    Parameters
    ----------
    runner
        Runs operations on the books.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def end(self, ends: Sequence[ClusterEnd] = ()) -> EndsBooked:
        """Book ends, and those told before that had to wait. Idempotent; the first word stands.

        Ends of sessions that are not in the books are left out.
        """
        return self._runner.write(end, ends)

    def open_sessions(self) -> tuple[OpenSession, ...]:
        """Return all open sessions."""
        return self._runner.read(open_sessions)

    def known(self, session_ids: Sequence[str]) -> frozenset[str]:
        """Return those of `session_ids` that are in the books, open or not."""
        return self._runner.read(known, session_ids)


def end(
    connection: Connection, catalogue: Catalogue, now_ms: int, ends: Sequence[ClusterEnd]
) -> EndsBooked:
    """Book ends; see `ClusterBooks.end`."""
    _note(connection, now_ms, ends)
    due: dict[str, list[Row]] = defaultdict(list)
    for row in rows_of(connection.execute(_DUE)):
        due[row["wallet_id"]].append(row)

    def apply(wallet: OpenWallet) -> None:
        for told in due[wallet.wallet_id]:
            _apply(wallet, told)
        wallet.advance()

    changed = change_wallets(connection, catalogue, now_ms, list(due), apply)
    booked = [
        told["session_id"]
        for wallet_id, facts in due.items()
        if wallet_id not in changed.failed
        for told in facts
    ]
    if booked:
        these = _ends.c.session_id.in_(booked)
        connection.execute(update(_ends).where(these).values(booked_ms=now_ms))
    left = select(_ends.c.session_id).where(_ends.c.booked_ms.is_(None))
    waiting = len(connection.execute(left).all())
    return EndsBooked(tuple(booked), waiting, changed.notices)


def open_sessions(
    connection: Connection, _catalogue: Catalogue, _now_ms: int
) -> tuple[OpenSession, ...]:
    """Return all open sessions; see `ClusterBooks.open_sessions`."""
    shown = (_s.c.server_name, _s.c.hub, _s.c.admitted_ms)
    query = (
        select(_s.c.session_id, _s.c.start_key, _m.c.name, *shown)
        .join(_m, _m.c.member_id == _s.c.member_id)
        .where(_s.c.settled.is_(False), _s.c.ended_ms.is_(None))
    )
    return tuple(OpenSession(*row) for row in connection.execute(query))


def known(
    connection: Connection, _catalogue: Catalogue, _now_ms: int, session_ids: Sequence[str]
) -> frozenset[str]:
    """Return those that are in the books; see `ClusterBooks.known`."""
    query = select(_s.c.session_id).where(_s.c.session_id.in_(session_ids))
    return frozenset(connection.execute(query).scalars())


def _note(connection: Connection, now_ms: int, ends: Sequence[ClusterEnd]) -> None:
    """Keep what is told for the first time."""
    if not ends:
        return
    query = select(_s.c.session_id).where(_s.c.session_id.in_([e.session_id for e in ends]))
    ours = set(connection.execute(query).scalars())
    rows = {
        told.session_id: {
            "session_id": told.session_id,
            "ended_ms": told.ended_ms,
            "exact": told.exact,
            "reason": told.reason,
            "exit_code": told.exit_code,
            "node": told.node,
            "told_ms": now_ms,
        }
        for told in reversed(ends)
        if told.session_id in ours
    }
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(_ends)
    # In one order for everybody: replicas see the same cluster and tell the same ends at once.
    ordered = [rows[key] for key in sorted(rows)]
    if ordered:
        connection.execute(insert.on_conflict_do_nothing(), ordered)


def _apply(wallet: OpenWallet, told: Row) -> None:
    session = wallet.any_session(told["session_id"])
    reason = told["reason"]
    if session["ended_ms"] is None:
        ended_ms = told["ended_ms"]
        if not told["exact"]:
            ended_ms = max(ended_ms, session["alive_to_ms"] or 0)
        ordered = session["stop_reason"] is not None
        end_session(wallet, session, ended_ms, reason)
        is_news = not ordered
    else:
        # One that was never ready cost nothing; only why it failed is of interest.
        if session["ready_ms"] is not None and told["exact"]:
            _move_end(wallet, session, told["ended_ms"])
        is_news = reason in _TRUER.get(session["end_reason"] or "", ())
        if is_news:
            session["end_reason"] = reason
    if is_news and reason in TOLD and session["ready_ms"] is not None:
        server = {"server_name": session["server_name"], "profile": session["profile"]}
        params = {"reason": reason, "at_ms": session["ended_ms"], "servers": [server]}
        notify(wallet, "ended", params, [session["member_id"]])


def _move_end(wallet: OpenWallet, session: Row, ended_ms: int) -> None:
    """Move the end that the hub has told to where the cluster saw it."""
    told_ms, settled_ms = session["ended_ms"], wallet.row["settled_to_ms"]
    ended_ms = max(session["ready_ms"], min(ended_ms, wallet.now_ms))
    if ended_ms > told_ms:
        if session["end_reason"] != "lost":
            return  # the hub saw it gone by then: two clocks disagree
        # Nobody knew that it lived on, unless it was found again and is metered since.
        ended_ms = min(ended_ms, _next_ms(wallet, session) or ended_ms)
    if ended_ms > told_ms:
        session["ended_ms"], session["settled"] = ended_ms, False
        late_to_ms = min(ended_ms, settled_ms)
        if late_to_ms > told_ms and session["rate_mtok_h"]:
            charge_late(wallet, session, told_ms, late_to_ms)
    elif ended_ms < told_ms:
        session["ended_ms"] = ended_ms
        give_back_after(wallet, session, ended_ms, min(told_ms, settled_ms))


def _next_ms(wallet: OpenWallet, session: Row) -> int | None:
    """Return since when the next server of the same name is metered, None if there is none."""
    since_ms = func.coalesce(_s.c.ready_ms, _s.c.admitted_ms)
    later = select(func.min(since_ms)).where(
        _s.c.member_id == session["member_id"],
        _s.c.server_name == session["server_name"],
        _s.c.session_id != session["session_id"],
        since_ms >= session["ended_ms"],
    )
    found: int | None = wallet.connection.execute(later).scalar()
    return found
