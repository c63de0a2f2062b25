"""The tables of the books, by subject; `metadata` knows all of them."""

from jhub_tokens.ledger.schema.base import metadata
from jhub_tokens.ledger.schema.books import (
    entries,
    grants,
    hubs,
    idempotency,
    members,
    notices,
    remarks,
    sessions,
    stop_orders,
    subscriptions,
    tombstones,
    transactions,
    wallets,
)
from jhub_tokens.ledger.schema.outbox import deliveries, member_settings
from jhub_tokens.ledger.schema.plans import plan_changes, team_members, teams, wallet_periods

__all__ = [
    "deliveries",
    "entries",
    "grants",
    "hubs",
    "idempotency",
    "member_settings",
    "members",
    "metadata",
    "notices",
    "remarks",
    "sessions",
    "stop_orders",
    "subscriptions",
    "plan_changes",
    "team_members",
    "teams",
    "wallet_periods",
    "tombstones",
    "transactions",
    "wallets",
]
