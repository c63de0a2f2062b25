"""What is due at a wallet and when: warnings, stop orders and the instant to look again.

Everything here is derived from the wallet as it stands: `cuts` tells when each server will be
cut off and why, so a warning, a stop and the "runs out at" of a page come from one computation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jhub_tokens import burndown
from jhub_tokens.catalogue import Policy
from jhub_tokens.ledger.cuts import Cut, cuts_of, dry_at, horizon_ms
from jhub_tokens.ledger.idle import LOOK_AGAIN_MS, Idle, idle_of, is_waited_for
from jhub_tokens.ledger.records import NoticeKind
from jhub_tokens.ledger.rows import Row, new_id
from jhub_tokens.ledger.saving import LADDER
from jhub_tokens.ledger.wallet import STOP_SAID, OpenWallet

__all__ = ["Deadlines", "close_stop_order", "notify", "reschedule", "set_end"]

PROOF_WAIT_MS = 5_000
#: Ends that somebody has set, who says so at once: their stop needs no notice of its own.
TOLD_ELSEWHERE = ("frozen", "asked")
#: An end that somebody has asked for holds whether or not the rules are enforced.
ALWAYS_ENFORCED = ("asked", "ordered")


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
    row, now_ms = wallet.row, wallet.now_ms
    walk = wallet.projected()
    dry_ms = row["dry_ms"] = dry_at(wallet, walk)
    upcoming = [row["period_end_ms"]]
    if wallet.renewed and row["period_n"] > 0:
        _say_renewed(wallet, done)
    upcoming += _expiry_notice(wallet, walk, policy, done)
    if wallet.running_sessions():
        upcoming += _percent_notices(wallet, walk, policy, done)
    upcoming += _cut(wallet, dry_ms, policy, enforce, done)
    trial_until_ms = wallet.subscription["trial_until_ms"]
    if trial_until_ms is not None:
        upcoming.append(trial_until_ms)
    later = [instant for instant in upcoming if instant > now_ms]
    if row["period_end_ms"] <= now_ms:
        later.append(now_ms + PROOF_WAIT_MS)  # the renewal waits for proof of life: look soon
    row["next_deadline_ms"] = min(later)
    return done


def set_end(session: Row, at_ms: int | None, reason: str | None) -> None:
    """Set an end for a session whatever the balance; None: only its longest run bounds it.

    Of two ends, the earlier one holds.
    """
    own_ms = None
    if session["ready_ms"] is not None and session["max_run_ms"] is not None:
        own_ms = session["ready_ms"] + session["max_run_ms"]
    if at_ms is None or (own_ms is not None and own_ms < at_ms):
        at_ms, reason = own_ms, None if own_ms is None else "max_run"
    session["stop_by_ms"], session["stop_by_reason"] = at_ms, reason


# --- the wallet as a whole ---------------------------------------------------------------------


def _say_renewed(wallet: OpenWallet, done: Deadlines) -> None:
    row = wallet.row
    params = {
        "grains": str(row["allotment_grains"]),
        "plan": wallet.terms.coming.name,
        "period_end_ms": row["period_end_ms"],
    }
    done.notices += notify(wallet, "renewed", params)


def _expiry_notice(
    wallet: OpenWallet, walk: burndown.Wallet, policy: Policy, done: Deadlines
) -> list[int]:
    """Announce what will lapse soon, once for each expiry; return when the next is announced."""
    if policy.warn_expiry_ms is None:
        return []
    after_ms = max(wallet.now_ms, wallet.row["expiry_noticed_ms"] or 0)
    to_come = {grant.expires_ms or 0 for grant in walk.grants if grant.remaining}
    for expires_ms in sorted(instant for instant in to_come if instant > after_ms):
        if expires_ms - policy.warn_expiry_ms > wallet.now_ms:
            return [expires_ms - policy.warn_expiry_ms]
        wallet.row["expiry_noticed_ms"] = expires_ms
        lapsing = sum(
            event.amount
            for event in burndown.advance(walk, expires_ms).events
            if isinstance(event, burndown.Lapse)
        )
        if lapsing:
            params = {"grains": str(lapsing), "expires_at_ms": expires_ms}
            done.notices += notify(wallet, "expiring", params)
    return []


def _percent_notices(
    wallet: OpenWallet, walk: burndown.Wallet, policy: Policy, done: Deadlines
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
        params = {"percent": max(reached), "balance": str(balance)}
        done.notices += notify(wallet, "used_percent", params)
    noticed = wallet.row["percent_noticed"]
    booked = sum(grant["remaining_grains"] for grant in wallet.grants.values())
    upcoming = []
    if noticed and balance * 100 <= allotment * (100 - noticed) < booked * 100:
        # Said as time goes, booked as proof comes: until then the list of members says otherwise.
        upcoming.append(wallet.now_ms + LOOK_AGAIN_MS)
    for percent in sorted(policy.warn_used_percent):
        if percent > noticed:
            level = allotment * (100 - percent) // 100
            low_ms = burndown.low_at(walk, level, horizon_ms(wallet))
            return upcoming if low_ms is None else [*upcoming, low_ms]
    return upcoming


# --- its servers -------------------------------------------------------------------------------


def _cut(
    wallet: OpenWallet, dry_ms: int | None, policy: Policy, enforce: bool, done: Deadlines
) -> list[int]:
    """Warn of each session's cut, order the stops that are due, take back those that are not.

    Returns the instants at which more of it will be due.
    """
    cuts, upcoming = cuts_of(wallet, dry_ms)
    warned: dict[tuple[str, Cut], list[Row]] = defaultdict(list)
    stopped: dict[tuple[str, Cut], list[Row]] = defaultdict(list)
    for session in wallet.open_sessions():
        mine = cuts[session["session_id"]]
        running = session["ready_ms"] is not None
        session["cut_ms"] = mine[0].at_ms if mine and running else None
        due = [cut for cut in mine if cut.due_ms <= wallet.now_ms]
        upcoming += [cut.due_ms for cut in mine]
        upcoming += _idle(wallet, session, due, done)
        _take_back(wallet, session, {cut.reason for cut in due})
        if due:
            first = next((cut for cut in due if cut.reason in ALWAYS_ENFORCED), due[0])
            stopped[session["member_id"], first].append(session)
        elif mine and running:
            warned[session["member_id"], mine[0]].append(session)
    for (member_id, cut), sessions in stopped.items():
        _stop(wallet, member_id, cut, sessions, enforce, done)
    for (member_id, cut), sessions in warned.items():
        upcoming += _time_notices(wallet, member_id, cut, sessions, policy, done)
    return upcoming


def _idle(wallet: OpenWallet, session: Row, due: list[Cut], done: Deadlines) -> list[int]:
    """Warn of a server that nothing uses; add its stop to what is `due` if it is.

    Apart from other cuts: use puts this one off without a word, and until then nobody should
    miss a warning of another. Returns the instants at which more of it will be due.
    """
    idle, now_ms = idle_of(wallet, session), wallet.now_ms
    if idle is None:
        return [now_ms + LOOK_AGAIN_MS] if is_waited_for(wallet, session) else []
    warned_ms = session["idle_warned_ms"]
    if warned_ms is not None and warned_ms <= idle.since_ms:
        session["idle_warned_ms"] = session["idle_noticed_ms"] = None  # it was used again
    if idle.cut.due_ms <= now_ms:
        due.append(idle.cut)
        return []
    return [idle.cut.due_ms, *_idle_notices(wallet, session, idle, done)]


def _idle_notices(wallet: OpenWallet, session: Row, idle: Idle, done: Deadlines) -> list[int]:
    """Notice the smallest threshold reached; return the instants of those to come."""
    now_ms, noticed_ms = wallet.now_ms, session["idle_noticed_ms"]
    ahead = {t for t in idle.warn_before_ms if noticed_ms is None or t < noticed_ms}
    reached = {t for t in ahead if idle.cut.at_ms - t <= now_ms}
    if reached:
        noticed_ms = min(reached)
        kind: NoticeKind = "last_warning"
        if noticed_ms > min(idle.warn_before_ms):
            kind = "time_left"
        _warn(wallet, kind, idle.cut, noticed_ms, session["member_id"], [session], done)
        session["idle_noticed_ms"] = noticed_ms
        if session["idle_warned_ms"] is None:
            session["idle_warned_ms"] = now_ms
    return [idle.cut.at_ms - t for t in ahead - reached]


def _take_back(wallet: OpenWallet, session: Row, reasons: set[str]) -> None:
    """Take a stop back that has no cause any more: a top-up came, or another server's end."""
    if session["noticed_ms"] == STOP_SAID and not reasons:
        session["noticed_ms"] = None
    if session["stop_reason"] is not None and session["stop_reason"] not in reasons:
        close_stop_order(wallet, session, "superseded" if reasons else "revoked")


def _stop(
    wallet: OpenWallet,
    member_id: str,
    cut: Cut,
    sessions: Sequence[Row],
    enforce: bool,
    done: Deadlines,
) -> None:
    """Order a member's servers to stop, and say so once; in shadow mode only say so."""
    if any(s["noticed_ms"] != STOP_SAID for s in sessions) and cut.reason not in TOLD_ELSEWHERE:
        kind: NoticeKind = "stopped_dry" if cut.reason == "dry" else "stopped"
        params = {
            "reason": cut.reason,
            "dry_at_ms": cut.at_ms,
            "servers": [_server(s) for s in sessions],
            "renews_at_ms": wallet.row["period_end_ms"],
        }
        told = kind if enforce or cut.reason in ALWAYS_ENFORCED else "would_stop"
        notify(wallet, told, params, [member_id])
        done.notices += 1
    for session in sessions:
        session["noticed_ms"] = STOP_SAID
        if cut.reason == "idle":
            session["idle_noticed_ms"] = STOP_SAID
        if (enforce or cut.reason in ALWAYS_ENFORCED) and session["stop_reason"] is None:
            _order_stop(wallet, session, cut.reason)
            done.stops += 1


def _time_notices(
    wallet: OpenWallet,
    member_id: str,
    cut: Cut,
    sessions: Sequence[Row],
    policy: Policy,
    done: Deadlines,
) -> list[int]:
    """Notice the smallest time-left threshold reached; return the instants of those to come."""
    last_ms = max(s["grace_ms"] + s["stop_time_ms"] for s in sessions)
    thresholds = {t for t in policy.warn_before_ms if t > last_ms} | {last_ms}
    noticed_ms = min(
        (s["noticed_ms"] for s in sessions if s["noticed_ms"] is not None), default=None
    )
    ahead = {t for t in thresholds if noticed_ms is None or t < noticed_ms}
    reached = {t for t in ahead if cut.at_ms - t <= wallet.now_ms}
    if reached:
        # Several at once (a short balance at the start): only the most urgent is worth saying.
        noticed_ms = min(reached)
        kind: NoticeKind = "last_warning" if noticed_ms == last_ms else "time_left"
        _warn(wallet, kind, cut, noticed_ms, member_id, sessions, done)
        ahead = {t for t in ahead if t < noticed_ms}
    for session in sessions:
        session["noticed_ms"] = noticed_ms
    return [cut.at_ms - t for t in ahead]


def _warn(
    wallet: OpenWallet,
    kind: NoticeKind,
    cut: Cut,
    threshold_ms: int,
    member_id: str,
    sessions: Sequence[Row],
    done: Deadlines,
) -> None:
    """Tell a member that servers are going to be stopped."""
    params = {
        "reason": cut.reason,
        "threshold_ms": threshold_ms,
        "dry_at_ms": cut.at_ms,
        "stop_at_ms": cut.due_ms,
        "servers": [_server(s) for s in sessions],
    }
    notify(wallet, kind, params, [member_id])
    done.notices += 1


def _order_stop(wallet: OpenWallet, session: Row, reason: str) -> None:
    session["stop_reason"] = reason
    wallet.batch.stop_orders.append(
        {
            "order_id": new_id(),
            "session_id": session["session_id"],
            "reason": reason,
            "issued_ms": wallet.now_ms,
        }
    )


def close_stop_order(wallet: OpenWallet, session: Row, outcome: str) -> None:
    """Close a session's standing stop order: it ended, or there is no cause any more."""
    session["stop_reason"] = None
    wallet.batch.closed_orders.append((session["session_id"], outcome))


def notify(
    wallet: OpenWallet,
    kind: NoticeKind,
    params: Mapping[str, object],
    member_ids: Iterable[str] | None = None,
) -> int:
    """Write a notice in the same transaction as its cause; return how many are told.

    Without `member_ids` it is for those whom the whole wallet concerns: its member, or a team's
    owners. Of a team's wallet it names the team: whoever reads it has a balance of their own. A
    step of the ladder from the first warning to the stop takes the place of the steps before:
    whoever comes back to a stopped server need not read how it came to that.
    """
    told = tuple(wallet.terms.watchers if member_ids is None else member_ids)
    if wallet.terms.team is not None:
        params = {**params, "team": wallet.terms.team}
    for member_id in told:
        if kind in LADDER:
            wallet.batch.superseded.add(member_id)
        wallet.batch.notices.append(
            {
                "notice_id": new_id(),
                "member_id": member_id,
                "kind": kind,
                "params": dict(params),
                "created_ms": wallet.now_ms,
            }
        )
    return len(told)


def _server(session: Row) -> dict[str, Any]:
    return {"server_name": session["server_name"], "profile": session["profile"]}
