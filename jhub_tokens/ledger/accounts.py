"""Opening an account: a subscription and its wallet, with the first period's tokens in it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert

from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.loading import load_wallets
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.periods import day_start_ms, period_at

__all__ = ["open_account"]


def open_account(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    plan: Plan,
    *,
    member_id: str | None = None,
    team_id: str | None = None,
    cost_centre: str | None = None,
) -> None:
    """Subscribe a member or a team to `plan`, from the beginning of this day on."""
    owner: dict[str, Any] = {"member_id": member_id, "team_id": team_id}
    anchor_ms = day_start_ms(now_ms, catalogue.zone)
    _, start_ms, _ = period_at(anchor_ms, now_ms, catalogue.zone, plan.period)
    subscription = {
        "subscription_id": new_id(),
        **owner,
        "plan": plan.name,
        "terms": plan.model_dump(mode="json"),
        "anchor_ms": anchor_ms,
        "zone": catalogue.zone,
        "cost_centre": cost_centre,
    }
    connection.execute(insert(schema.subscriptions), subscription)
    wallet = {
        "wallet_id": new_id(),
        "kind": "team" if member_id is None else "member",
        **owner,
        # Just before the first period, so that its renewal grants the first allotment.
        "settled_to_ms": start_ms - 1,
        "period_n": -1,
        "period_start_ms": start_ms,
        "period_end_ms": start_ms,
        "next_deadline_ms": start_ms,
    }
    connection.execute(insert(schema.wallets), wallet)
    (opened,) = load_wallets(connection, catalogue, now_ms, [wallet["wallet_id"]])
    opened.advance()
    close_wallet(opened, catalogue)
