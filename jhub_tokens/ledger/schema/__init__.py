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
from jhub_tokens.ledger.schema.break_glass import (
    break_glass_acts,
    break_glass_ends,
    break_glass_starts,
)
from jhub_tokens.ledger.schema.cluster import cluster_ends
from jhub_tokens.ledger.schema.finance import (
    closed_figures,
    closed_months,
    closed_reports,
    erasures,
    late_postings,
    money_moves,
)
from jhub_tokens.ledger.schema.identity import member_facts
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
from jhub_tokens.ledger.schema.oversight import (
    admin_act_remarks,
    admin_acts,
    bulk_acts,
    bulk_items,
)
from jhub_tokens.ledger.schema.plans import (
    plan_changes,
    team_invitations,
    team_members,
    teams,
    wallet_periods,
)
from jhub_tokens.ledger.schema.questions import question_answers, questions
from jhub_tokens.ledger.schema.seals import seal_heads, seals
from jhub_tokens.ledger.schema.servers import server_reports
from jhub_tokens.ledger.schema.ssh_keys import ssh_keys

__all__ = [
    "admin_act_remarks",
    "admin_acts",
    "admin_months",
    "break_glass_acts",
    "break_glass_ends",
    "break_glass_starts",
    "bulk_acts",
    "bulk_items",
    "closed_figures",
    "closed_months",
    "closed_reports",
    "cluster_ends",
    "deliveries",
    "entries",
    "erasures",
    "grants",
    "hubs",
    "idempotency",
    "member_facts",
    "member_settings",
    "invoices",
    "late_postings",
    "members",
    "metadata",
    "money_moves",
    "notices",
    "payment_accounts",
    "payment_bills",
    "payment_disputes",
    "payment_events",
    "payment_refunds",
    "remarks",
    "seal_heads",
    "seals",
    "server_reports",
    "sessions",
    "ssh_keys",
    "stop_orders",
    "subscriptions",
    "plan_changes",
    "team_invitations",
    "question_answers",
    "questions",
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
