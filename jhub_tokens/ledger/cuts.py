"""When each running server will be cut off, and why: a dry wallet, a limit, an end that is set.

Admission, warnings, stop orders and the fail-safe that the hub is told all read the same cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from jhub_tokens import burndown
from jhub_tokens.ledger.limits import limits_of, reached_ms
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["Cut", "cuts_of", "dry_at", "horizon_ms", "stop_lead_ms"]


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of what a session may run: at `at_ms`, with the stop order at `due_ms`."""

    at_ms: int
    due_ms: int
    reason: str


def horizon_ms(wallet: OpenWallet) -> int:
    """Return the end of what is foreseen: the end of the period after this one."""
    ends_ms: list[int] = [wallet.row["period_end_ms"], *(r.expires_ms for r in wallet.renewals)]
    return max(ends_ms)


def dry_at(wallet: OpenWallet, walk: burndown.Wallet) -> int | None:
    """Return when the wallet runs dry, given `walk`, the wallet projected to now.

    A session with an end that is set burns no longer than to there.
    """
    ends_ms = {
        key: session["stop_by_ms"]
        for key, session in wallet.sessions.items()
        if session["stop_by_ms"] is not None and session["stop_by_ms"] > wallet.now_ms
    }
    if ends_ms:
        meters = tuple(
            replace(meter, to_ms=ends_ms[meter.session_id])
            if meter.to_ms is None and meter.session_id in ends_ms
            else meter
            for meter in walk.meters
        )
        walk = replace(walk, meters=meters)
    return burndown.dry_at(walk, horizon_ms(wallet))


def stop_lead_ms(wallet: OpenWallet) -> int:
    """Return how long before it is dry a wallet's servers are told to stop, all together."""
    return max((s["stop_time_ms"] for s in wallet.open_sessions()), default=0)


def cuts_of(wallet: OpenWallet, dry_ms: int | None) -> tuple[dict[str, list[Cut]], list[int]]:
    """Return each open session's cuts, the earliest first, and when limits begin anew.

    A session that is not ready yet burns nothing, but stops with the others of a dry wallet. One
    that opens files only is there for when it is dry. That nothing uses a server is another
    matter: see `idle`.
    """
    open_sessions = wallet.open_sessions()
    running = any(s["ready_ms"] is not None for s in open_sessions)
    common: list[Cut] = []
    if dry_ms is not None and running:
        common.append(Cut(dry_ms, dry_ms - stop_lead_ms(wallet), "dry"))
    limits, resets_ms = _member_cuts(wallet, {s["member_id"] for s in open_sessions})
    found = {}
    for session in open_sessions:
        cuts = [] if session["files"] else [*common]
        if session["ready_ms"] is not None and not session["files"]:
            cuts += [_before(at_ms, session, why) for at_ms, why in limits[session["member_id"]]]
        if session["stop_by_ms"] is not None:
            cuts.append(_before(session["stop_by_ms"], session, session["stop_by_reason"]))
        found[session["session_id"]] = sorted(cuts, key=lambda cut: cut.at_ms)
    return found, resets_ms


def _before(at_ms: int, session: Row, reason: str) -> Cut:
    return Cut(at_ms, at_ms - session["stop_time_ms"], reason)


def _member_cuts(
    wallet: OpenWallet, member_ids: Iterable[str]
) -> tuple[dict[str, list[tuple[int, str]]], list[int]]:
    cuts: dict[str, list[tuple[int, str]]] = {}
    resets_ms = []
    for member_id in member_ids:
        cuts[member_id] = []
        for limit in limits_of(wallet, member_id):
            resets_ms.append(limit.until_ms)
            at_ms = reached_ms(wallet, member_id, limit)
            if at_ms is not None:
                cuts[member_id].append((at_ms, limit.reason))
    return cuts, resets_ms
