"""Sessions: begin, readiness, proof of life and the end of one run of one server."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select

from jhub_tokens import burndown
from jhub_tokens.catalogue import Catalogue, Profile
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.deadlines import close_stop_order, set_end
from jhub_tokens.ledger.records import (
    SessionRecord,
    StopEnded,
)
from jhub_tokens.ledger.returns import return_charge
from jhub_tokens.ledger.rows import Row, new_id
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = [
    "BY_START_KEY",
    "bury",
    "end_session",
    "give_back_after",
    "is_used",
    "lock_start",
    "mark_ready",
    "open_session",
    "profile_needs",
    "session_needs",
    "session_record",
    "start_session",
]


BY_START_KEY = select(schema.sessions).where(schema.sessions.c.start_key == bindparam("start_key"))
_KEY_USED = (
    select(schema.sessions.c.start_key)
    .where(schema.sessions.c.start_key == bindparam("start_key"))
    .union_all(
        select(schema.tombstones.c.start_key).where(
            schema.tombstones.c.start_key == bindparam("start_key")
        )
    )
)
_LOCK_START = select(
    func.pg_advisory_xact_lock(
        func.hashtextextended(bindparam("start_key", type_=schema.sessions.c.start_key.type), 0)
    )
)
_ORDERED = select(schema.stop_orders.c.issued_ms).where(
    schema.stop_orders.c.session_id == bindparam("session_id"),
    schema.stop_orders.c.closed_ms.is_(None),
)


def session_record(row: Any, cost_grains: int | None = None) -> SessionRecord:
    """Return the record of a row; its cost is what is booked unless a projection is given."""
    return SessionRecord(
        row["session_id"],
        row["wallet_id"],
        row["member_id"],
        row["server_name"],
        row["start_key"],
        row["profile"],
        row["image"],
        row["gpu_model"],
        row["rate_mtok_h"],
        row["admitted_ms"],
        row["ready_ms"],
        row["ended_ms"],
        row["end_reason"],
        row["alive_to_ms"],
        row["charged_grains"],
        row["charged_grains"] if cost_grains is None else cost_grains,
        row["max_run_ms"],
        row["cut_ms"],
        row["gpus"],
        bool(row["files"]),
        row["stop_time_ms"],
    )


# --- admission -------------------------------------------------------------------------------


def lock_start(connection: Connection, start_key: str) -> None:
    """Let a start and its cancel, asked of two replicas at once, wait for each other.

    Neither would see what the other has not committed yet. Take it before any wallet's lock.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(_LOCK_START, {"start_key": start_key})


def open_session(connection: Connection, start_key: str) -> Row | None:
    """Return the session of a key, None if there is none or it has ended."""
    row = connection.execute(BY_START_KEY, {"start_key": start_key}).mappings().first()
    return None if row is None or row["ended_ms"] is not None else dict(row)


def is_used(connection: Connection, start_key: str) -> bool:
    """Tell whether a key names a session, open or not, or a cancelled start."""
    return connection.execute(_KEY_USED, {"start_key": start_key}).first() is not None


def profile_needs(catalogue: Catalogue, profile: Profile) -> burndown.Need:
    """Return what must stand behind a new session of `profile`."""
    policy = catalogue.policy
    duration_ms = policy.minimum_run_ms + policy.grace_ms + policy.stop_time_ms
    return burndown.Need(profile.rate_mtok_h, duration_ms)


def session_needs(session: dict[str, Any], now_ms: int) -> burndown.Need:
    """Return what must stand behind an open session; a starting one has run for nothing."""
    ready_ms = session["ready_ms"]
    elapsed_ms = 0 if ready_ms is None else now_ms - ready_ms
    minimum_ms = max(0, session["minimum_run_ms"] - elapsed_ms)
    duration_ms = minimum_ms + session["grace_ms"] + session["stop_time_ms"]
    return burndown.Need(session["rate_mtok_h"], duration_ms)


# --- life ------------------------------------------------------------------------------------


def start_session(
    wallet: OpenWallet,
    catalogue: Catalogue,
    profile: Profile,
    member_id: str,
    server_name: str,
    start_key: str,
    *,
    hub: str,
    image: str | None = None,
    gpu: str | None = None,
    max_run_ms: int | None = None,
    hub_started: str | None = None,
    session_id: str | None = None,
) -> Row:
    """Open a session in the wallet at the catalogue's present rate, which it keeps to its end."""
    policy = catalogue.policy
    session = {
        "session_id": session_id or new_id(),
        "wallet_id": wallet.wallet_id,
        "member_id": member_id,
        "hub": hub,
        "server_name": server_name,
        "start_key": start_key,
        "hub_started": hub_started,
        "profile": profile.name,
        "image": image,
        "gpu_model": gpu,
        "gpus": profile.gpus,
        "rate_mtok_h": profile.rate_mtok_h,
        "minimum_run_ms": policy.minimum_run_ms,
        "grace_ms": policy.grace_ms,
        "stop_time_ms": policy.stop_time_ms,
        "max_run_ms": max_run_ms,
        "age": max((s["age"] for s in wallet.sessions.values()), default=0) + 1,
        "admitted_ms": wallet.now_ms,
        "ready_ms": None,
        "alive_to_ms": None,
        "ended_ms": None,
        "end_reason": None,
        "stop_by_ms": None,
        "stop_by_reason": None,
        "cut_ms": None,
        "noticed_ms": None,
        "stop_reason": None,
        "idle_stop_ms": profile.idle.stop_after_ms if profile.idle else None,
        "idle_warn_ms": list(profile.idle.warn_before_ms) if profile.idle else None,
        "idle_warned_ms": None,
        "idle_noticed_ms": None,
        "hub_active_ms": None,
        "files": profile.files,
        "settled": False,
        "charged_grains": 0,
        "refunded_grains": 0,
    }
    wallet.sessions[session["session_id"]] = session
    return session


def mark_ready(wallet: OpenWallet, session_id: str, ready_ms: int, alive_ms: int | None) -> None:
    """Start metering from when the hub first saw the server ready.

    Not before it was last seen starting (an adopted server: not before it was first seen); the
    wallet is settled no further than that, see `OpenWallet.provable_to_ms`.
    """
    session = wallet.sessions.get(session_id)
    if session is None or session["ready_ms"] is not None or session["ended_ms"] is not None:
        return
    earliest_ms = max(session["alive_to_ms"] or 0, wallet.row["settled_to_ms"])
    # Never before what is settled, even if this clock is behind the one that settled it.
    ready_ms = max(min(ready_ms, wallet.now_ms), earliest_ms)
    session["ready_ms"] = ready_ms
    session["alive_to_ms"] = max(ready_ms, alive_ms or 0)
    set_end(session, session["stop_by_ms"], session["stop_by_reason"])


def end_session(wallet: OpenWallet, session: Row, ended_ms: int, reason: str) -> None:
    """End a session at `ended_ms`, clamped between what is known and now.

    A session that was never ready costs nothing. If more was booked than it lived, the
    difference is returned to the grants that paid.
    """
    if session["ended_ms"] is not None:
        return
    earliest_ms = session["ready_ms"] or session["admitted_ms"]
    ended_ms = max(earliest_ms, min(ended_ms, wallet.now_ms))
    session["ended_ms"] = ended_ms
    # A server that we ordered to stop ended for our reason, however the hub words it.
    session["end_reason"] = session["stop_reason"] or reason
    if session["stop_reason"] is not None:
        _note_stop(wallet, session)
        close_stop_order(wallet, session, "ended")
    give_back_after(wallet, session, ended_ms, wallet.row["settled_to_ms"])


def give_back_after(wallet: OpenWallet, session: Row, ended_ms: int, booked_to_ms: int) -> None:
    """Return what a session was charged after its end, booked up to `booked_to_ms`."""
    overbooked_ms = booked_to_ms - max(ended_ms, session["ready_ms"] or 0)
    if session["ready_ms"] is not None and overbooked_ms > 0 and session["rate_mtok_h"]:
        amount = session["rate_mtok_h"] * overbooked_ms
        # What a refund gave back already is not given back twice: it was the return.
        refunded = max(0, amount - session["charged_grains"])
        session["refunded_grains"] -= refunded
        if amount > refunded:
            reason = "the server had ended earlier than was known"
            return_charge(wallet, session, amount - refunded, reason)


def _note_stop(wallet: OpenWallet, session: Row) -> None:
    """Note how long it took to stop a session's server since that was ordered."""
    asked = {"session_id": session["session_id"]}
    issued_ms = wallet.connection.execute(_ORDERED, asked).scalar()
    if issued_ms is not None:
        took_ms = max(0, session["ended_ms"] - issued_ms)
        late_ms = max(0, took_ms - session["stop_time_ms"])
        ended = StopEnded(session["session_id"], session["stop_reason"], took_ms, late_ms)
        wallet.batch.stops_ended.append(ended)


def bury(connection: Connection, now_ms: int, start_key: str) -> None:
    """Leave a tombstone that refuses the delayed admission of a cancelled start."""
    tombstones = schema.tombstones
    query = select(tombstones).where(tombstones.c.start_key == start_key)
    if connection.execute(query).first() is None:
        connection.execute(insert(tombstones), {"start_key": start_key, "cancelled_ms": now_ms})
