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
from jhub_tokens.ledger.schema.money import (
    admin_months,
    invoices,
    payment_accounts,
    payment_bills,
    payment_disputes,
    payment_events,
    payment_refunds,
    voucher_batches,
    voucher_tries,
    vouchers,
)
from jhub_tokens.ledger.schema.outbox import deliveries, member_settings
from jhub_tokens.ledger.schema.plans import plan_changes, team_members, teams, wallet_periods
from jhub_tokens.ledger.schema.servers import server_reports

__all__ = [
    "admin_months",
    "deliveries",
    "entries",
    "grants",
    "hubs",
    "idempotency",
    "member_settings",
    "invoices",
    "members",
    "metadata",
    "notices",
    "payment_accounts",
    "payment_bills",
    "payment_disputes",
    "payment_events",
    "payment_refunds",
    "remarks",
    "server_reports",
    "sessions",
    "stop_orders",
    "subscriptions",
    "plan_changes",
    "team_members",
    "teams",
    "wallet_periods",
    "tombstones",
    "transactions",
    "voucher_batches",
    "voucher_tries",
    "vouchers",
    "wallets",
]
