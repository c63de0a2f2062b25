"""Charging a time that is settled already, for a run that is learned of afterwards."""

from __future__ import annotations

from dataclasses import replace

from jhub_tokens import burndown
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["charge_late"]


def charge_late(wallet: OpenWallet, session: Row, from_ms: int, to_ms: int) -> None:
    """Charge what a session consumed in [`from_ms`, `to_ms`), which the wallet has settled.

    The grants pay that the wallet holds now, in their usual order; what they cannot pay is
    overrun like any other. It is booked as of now: the statement of a period that has been
    closed stays what it was.
    """
    assert to_ms <= wallet.row["settled_to_ms"], "what is not settled is charged by advancing"
    pure = wallet.pure()
    alone = replace(
        pure,
        settled_to_ms=from_ms,
        grants=tuple(replace(g, starts_ms=min(g.starts_ms, from_ms)) for g in pure.grants),
        meters=(burndown.Meter(session["session_id"], session["rate_mtok_h"], from_ms, to_ms),),
        renewals=(),
    )
    events = burndown.advance(alone, to_ms).events
    charges = [event for event in events if isinstance(event, burndown.Charge)]
    wallet.post_charges(charges, late_at_ms=max(wallet.at_ms, wallet.row["period_start_ms"] + 1))
