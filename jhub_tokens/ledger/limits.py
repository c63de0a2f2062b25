"""Limits beside the balance: what one member may spend in a day, a week, or of a team's period.

What was spent is rate × time of the member's sessions on the wallet, exact and independent of
when it was booked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from jhub_tokens import burndown
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.periods import day_start_ms, week_start_ms
from jhub_tokens.units import GRAINS_PER_MILLITOKEN

__all__ = ["Limit", "LimitReason", "limits_of", "reached_ms", "spent_grains", "tightest"]

LimitReason = Literal["day_limit", "week_limit", "team_cap"]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount_grains` within [`since_ms`, `until_ms`)."""

    reason: LimitReason
    amount_grains: int
    since_ms: int
    until_ms: int


def limits_of(wallet: OpenWallet, member_id: str) -> list[Limit]:
    """Return the limits that hold now for what a member spends from a wallet."""
    plan, terms, now_ms = wallet.terms.plan, wallet.terms, wallet.now_ms
    limits = []
    if plan.spend_per_day_mtok is not None:
        span = (day_start_ms(now_ms, terms.zone), day_start_ms(now_ms, terms.zone, 1))
        limits.append(Limit("day_limit", plan.spend_per_day_mtok * GRAINS_PER_MILLITOKEN, *span))
    if plan.spend_per_week_mtok is not None:
        span = (week_start_ms(now_ms, terms.zone), week_start_ms(now_ms, terms.zone, 1))
        limits.append(Limit("week_limit", plan.spend_per_week_mtok * GRAINS_PER_MILLITOKEN, *span))
    cap_grains = terms.member_caps.get(member_id, terms.member_cap_grains)
    if cap_grains is not None:
        span = _period(wallet)
        limits.append(Limit("team_cap", cap_grains, *span))
    return limits


def _period(wallet: OpenWallet) -> tuple[int, int]:
    """Return the period that holds now, also where its renewal waits to be booked."""
    span = (wallet.row["period_start_ms"], wallet.row["period_end_ms"])
    for renewal in wallet.renewals:
        if renewal.at_ms <= wallet.now_ms:
            span = (renewal.at_ms, renewal.expires_ms)
    return span


def spent_grains(wallet: OpenWallet, member_id: str, since_ms: int) -> int:
    """Return what a member's sessions consumed from `since_ms` to now, as if all still ran."""
    sessions: Iterable[Row] = (*wallet.past, *wallet.sessions.values())
    spent = 0
    for session in sessions:
        if session["member_id"] == member_id and session["ready_ms"] is not None:
            ended_ms = session["ended_ms"]
            to_ms = wallet.now_ms if ended_ms is None else ended_ms
            lasted_ms = to_ms - max(session["ready_ms"], since_ms)
            spent += session["rate_mtok_h"] * max(0, lasted_ms)
    return spent


def reached_ms(
    wallet: OpenWallet, member_id: str, limit: Limit, more: Sequence[burndown.Meter] = ()
) -> int | None:
    """Return the first millisecond that a limit does not allow, None if not before its end.

    It is what the member's running sessions come to, together with those of `more`.
    """
    mine = (s for s in wallet.running_sessions() if s["member_id"] == member_id)
    rate = sum(s["rate_mtok_h"] for s in mine) + sum(meter.rate_mtok_h for meter in more)
    if not rate:
        return None
    left = max(0, limit.amount_grains - spent_grains(wallet, member_id, limit.since_ms))
    at_ms = wallet.now_ms + left // rate
    return at_ms if at_ms < limit.until_ms else None


def tightest(
    wallet: OpenWallet, member_id: str, needs: Sequence[burndown.Need]
) -> tuple[Limit, int] | None:
    """Return the limit that a member's `needs` exceed and by how much, in grains, if any does."""
    wanted = sum(need.rate_mtok_h * need.duration_ms for need in needs)
    exceeded = [
        (limit, missing)
        for limit in limits_of(wallet, member_id)
        if (
            missing := spent_grains(wallet, member_id, limit.since_ms)
            + wanted
            - limit.amount_grains
        )
        > 0
    ]
    # The one that holds longest: the others reset before it does.
    return max(exceeded, key=lambda item: item[0].until_ms, default=None)
