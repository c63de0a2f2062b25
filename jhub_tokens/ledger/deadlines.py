"""What is due at a wallet and when: warnings, stop orders and the instant to look again.

Everything here is derived from the pure core's `dry_at` and `low_at` on the wallet as it
stands, so a warning, a stop and the "runs out at" of a page come from one computation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update

from jhub_tokens import burndown
from jhub_tokens.catalogue import Policy
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.records import NoticeKind
from jhub_tokens.ledger.wallet import STOP_SAID, OpenWallet, new_id

__all__ = [
    "Deadlines",
    "close_stop_orders",
    "notify",
    "order_stops",
    "reschedule",
    "stop_ms",
]

PROOF_WAIT_MS = 5_000
LADDER: tuple[NoticeKind, ...] = ("time_left", "last_warning", "stopped_dry", "would_stop")


class Deadlines:
    """What one call of `reschedule` put in motion."""

    def __init__(self) -> None:
        self.notices = 0
        self.stops = 0


def reschedule(wallet: OpenWallet, policy: Policy, *, enforce: bool) -> Deadlines:
    """Give the notices and stop orders that are due and set the wallet's next deadline.

    Call it at the end of every operation, after `OpenWallet.advance`. Thresholds are noticed
    once each: the time-left ones once since the last credit or first start, the percentages
    once a period.
    """
    done = Deadlines()
    now_ms = wallet.now_ms
    row = wallet.row
    walk = wallet.projected()
    horizon_ms = wallet.renewals[-1].expires_ms if wallet.renewals else row["period_end_ms"]
    dry_ms = row["dry_ms"] = burndown.dry_at(walk, horizon_ms)
    upcoming = [row["period_end_ms"]]
    due_ms = None if dry_ms is None else stop_ms(wallet, dry_ms)
    running = bool(wallet.running_sessions())
    if row["time_noticed_ms"] == STOP_SAID and not (running and due_ms and due_ms <= now_ms):
        # A top-up came in between, or another server's end: the rest may run on.
        close_stop_orders(wallet, wallet.open_sessions(), "revoked", only_reason="dry")
        row["time_noticed_ms"] = None
    if not running:
        row["time_noticed_ms"] = None  # warnings belong to a run
    else:
        upcoming += _percent_notices(wallet, walk, policy, horizon_ms, done)
        if dry_ms is not None and due_ms is not None:
            if due_ms > now_ms:
                upcoming += [*_time_notices(wallet, policy, dry_ms, done), due_ms]
            else:
                _stop_dry(wallet, dry_ms, enforce, done)
    later = [instant for instant in upcoming if instant > now_ms]
    if row["period_end_ms"] <= now_ms:
        later.append(now_ms + PROOF_WAIT_MS)  # the renewal waits for proof of life: look soon
    row["next_deadline_ms"] = min(later)
    return done


def stop_ms(wallet: OpenWallet, dry_ms: int) -> int:
    """Return when to stop the servers of a wallet that runs dry at `dry_ms`."""
    return dry_ms - max((s["stop_time_ms"] for s in wallet.open_sessions()), default=0)


def _percent_notices(
    wallet: OpenWallet,
    walk: burndown.Wallet,
    policy: Policy,
    horizon_ms: int,
    done: Deadlines,
) -> list[int]:
    """Notice the largest percentage reached; return the instant of the next, if any."""
    allotment = wallet.row["allotment_grains"]
    if not allotment:
        return []
    balance = walk.balance()
    reached = [
        percent
        for percent in policy.warn_used_percent
        if balance * 100 <= allotment * (100 - percent) and percent > wallet.row["percent_noticed"]
    ]
    if reached:
        wallet.row["percent_noticed"] = max(reached)
        notify(wallet, "used_percent", {"percent": max(reached), "balance": str(balance)})
        done.notices += 1
    for percent in sorted(policy.warn_used_percent):
        if percent > wallet.row["percent_noticed"]:
            low_ms = burndown.low_at(walk, allotment * (100 - percent) // 100, horizon_ms)
            return [] if low_ms is None else [low_ms]
    return []


def _time_notices(wallet: OpenWallet, policy: Policy, dry_ms: int, done: Deadlines) -> list[int]:
    """Notice the smallest time-left threshold reached; return the instants of those to come."""
    running = wallet.running_sessions()
    last_ms = max(s["grace_ms"] + s["stop_time_ms"] for s in running)
    thresholds = {t for t in policy.warn_before_ms if t > last_ms} | {last_ms}
    noticed_ms = wallet.row["time_noticed_ms"]
    ahead = {t for t in thresholds if noticed_ms is None or t < noticed_ms}
    reached = {t for t in ahead if dry_ms - t <= wallet.now_ms}
    if reached:
        # Several at once (a short balance at the start): only the most urgent is worth saying.
        threshold_ms = min(reached)
        wallet.row["time_noticed_ms"] = threshold_ms
        kind: NoticeKind = "last_warning" if threshold_ms == last_ms else "time_left"
        params = {
            "threshold_ms": threshold_ms,
            "dry_at_ms": dry_ms,
            "stop_at_ms": stop_ms(wallet, dry_ms),
            "servers": [_server(s) for s in running],
        }
        notify(wallet, kind, params)
        done.notices += 1
        ahead = {t for t in ahead if t < threshold_ms}
    return [dry_ms - t for t in ahead]


def _stop_dry(wallet: OpenWallet, dry_ms: int, enforce: bool, done: Deadlines) -> None:
    """Order all servers of a dry wallet to stop, and say so once; in shadow mode only say so."""
    sessions = wallet.open_sessions()
    if wallet.row["time_noticed_ms"] != STOP_SAID:
        wallet.row["time_noticed_ms"] = STOP_SAID
        params = {
            "dry_at_ms": dry_ms,
            "servers": [_server(s) for s in sessions],
            "renews_at_ms": wallet.row["period_end_ms"],
        }
        notify(wallet, "stopped_dry" if enforce else "would_stop", params)
        done.notices += 1
    if enforce:
        done.stops += order_stops(wallet, sessions, "dry")


def order_stops(wallet: OpenWallet, sessions: list[dict[str, Any]], reason: str) -> int:
    """Order servers to stop and return how many orders are new; each stands until the end."""
    if reason == "frozen":  # it outlasts a top-up, which would revoke a dry wallet's order
        close_stop_orders(wallet, sessions, "superseded", only_reason="dry")
    standing = wallet.effects_on(schema.stop_orders, "session_id") | set(
        wallet.connection.execute(
            select(schema.stop_orders.c.session_id).where(
                schema.stop_orders.c.closed_ms.is_(None),
                schema.stop_orders.c.session_id.in_([s["session_id"] for s in sessions]),
            )
        ).scalars()
    )
    fresh = [s for s in sessions if s["session_id"] not in standing]
    for session in fresh:
        order = {
            "order_id": new_id(),
            "session_id": session["session_id"],
            "reason": reason,
            "issued_ms": wallet.now_ms,
        }
        wallet.effect(schema.stop_orders, order)
    return len(fresh)


def close_stop_orders(
    wallet: OpenWallet,
    sessions: list[dict[str, Any]],
    outcome: str,
    only_reason: str | None = None,
) -> None:
    """Close the standing stop orders of `sessions`: they ended, or there is no cause any more."""
    orders = schema.stop_orders
    closing = update(orders).where(
        orders.c.closed_ms.is_(None),
        orders.c.session_id.in_([s["session_id"] for s in sessions]),
    )
    if only_reason is not None:
        closing = closing.where(orders.c.reason == only_reason)
    wallet.connection.execute(closing.values(closed_ms=wallet.now_ms, outcome=outcome))


def notify(wallet: OpenWallet, kind: NoticeKind, params: Mapping[str, object]) -> None:
    """Write a notice for the wallet's member, in the same transaction as its cause.

    A step of the ladder from the first warning to the stop takes the place of the steps before:
    whoever comes back to a stopped server need not read how it came to that.
    """
    if kind in LADDER:
        notices = schema.notices
        earlier = update(notices).where(
            notices.c.member_id == wallet.row["member_id"],
            notices.c.kind.in_(LADDER),
            notices.c.seen_ms.is_(None),
        )
        wallet.connection.execute(earlier.values(seen_ms=wallet.now_ms))
    notice = {
        "notice_id": new_id(),
        "member_id": wallet.row["member_id"],
        "kind": kind,
        "params": dict(params),
        "created_ms": wallet.now_ms,
    }
    wallet.effect(schema.notices, notice)


def _server(session: dict[str, Any]) -> dict[str, object]:
    return {"server_name": session["server_name"], "profile": session["profile"]}
