"""Tables of money in and back: what administrators moved, vouchers, invoices and payments.

What a payment provider tells is kept as facts that only ever grow (paid, refunded so far,
disputed), so that deliveries may come twice, late and in any order.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from jhub_tokens.ledger.schema.base import grains, identifier, instant, metadata

__all__ = [
    "admin_months",
    "invoices",
    "payment_accounts",
    "payment_bills",
    "payment_disputes",
    "payment_events",
    "payment_refunds",
    "voucher_batches",
    "voucher_tries",
    "vouchers",
]

# What one caller has moved in a month of the billing zone: a fixed row, so that it can be locked.
admin_months = Table(
    "admin_months",
    metadata,
    Column("caller", String(255), primary_key=True),
    Column("month", String(7), primary_key=True),  # 2026-11
    Column("moved_mtok", BigInteger, nullable=False, server_default="0"),
)

voucher_batches = Table(
    "voucher_batches",
    metadata,
    identifier("batch_id", primary_key=True),
    Column("vouchers", Integer, nullable=False),
    grains("amount_grains"),  # of each
    Column("note", Text, nullable=False, server_default=""),
    Column("actor", String(255), nullable=False),
    instant("made_ms", nullable=False),
    instant("expires_ms"),
    # How long the tokens last once redeemed; missing: they do not expire.
    Column("tokens_last_ms", BigInteger),
    instant("revoked_ms"),
    Column("revoked_by", String(255)),
    Index(None, "made_ms"),
)

# A code itself is nowhere: whoever reads the database cannot redeem.
vouchers = Table(
    "vouchers",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    identifier("batch_id", ForeignKey("voucher_batches.batch_id"), nullable=False),
    identifier("member_id", ForeignKey("members.member_id")),
    instant("redeemed_ms"),
    identifier("transaction_id"),
    grains("balance_grains", nullable=True),  # the answer that was given
    Index(None, "batch_id"),
)

# Wrong tries, for the limit; those that no longer count are deleted.
voucher_tries = Table(
    "voucher_tries",
    metadata,
    identifier("try_id", primary_key=True),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),
    instant("at_ms", nullable=False),
    Index(None, "member_id", "at_ms"),
)

# An order of tokens for money.
invoices = Table(
    "invoices",
    metadata,
    identifier("invoice_id", primary_key=True),
    Column("provider", String(16), nullable=False),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),
    grains("amount_grains"),
    Column("price_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    instant("created_ms", nullable=False),
    Column("actor", String(255), nullable=False),
    Column("checkout_url", Text, nullable=False, server_default=""),
    instant("paid_ms"),
    Column("paid_by", String(255), nullable=False, server_default=""),
    Column("payment_ref", String(255)),  # the provider's name of the payment
    identifier("transaction_id"),
    identifier("grant_id"),
    # Of what a refund or a dispute asks back: what was there to take, and what was spent already.
    grains("taken_grains"),
    grains("missing_grains"),
    instant("voided_ms"),  # nobody is to pay it any more
    Index(None, "member_id", "created_ms"),
    UniqueConstraint("provider", "payment_ref"),
)

payment_events = Table(
    "payment_events",
    metadata,
    Column("provider", String(16), primary_key=True),
    Column("event_id", String(255), primary_key=True),
    Column("kind", String(64), nullable=False),
    instant("occurred_ms", nullable=False),
    instant("received_ms", nullable=False),
)

payment_refunds = Table(
    "payment_refunds",
    metadata,
    Column("provider", String(16), primary_key=True),
    Column("payment_ref", String(255), primary_key=True),
    Column("refunded_minor", BigInteger, nullable=False),  # in all, so the largest told holds
)

payment_disputes = Table(
    "payment_disputes",
    metadata,
    Column("provider", String(16), primary_key=True),
    Column("dispute_id", String(255), primary_key=True),
    Column("payment_ref", String(255), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("won", Boolean, nullable=False, server_default=false()),
    Index(None, "provider", "payment_ref"),
)

# Who pays a plan's fee through which of the provider's subscriptions.
payment_accounts = Table(
    "payment_accounts",
    metadata,
    Column("provider", String(16), primary_key=True),
    Column("subscription_ref", String(255), primary_key=True),
    # Missing until an event says whose it is and what for.
    identifier("member_id", ForeignKey("members.member_id")),
    Column("plan", String(200), nullable=False, server_default=""),
    instant("ended_ms"),
    # When the plan was given for the first fee.
    instant("started_ms"),
    instant("past_due_ms"),  # since when a fee is missing
    instant("frozen_ms"),  # when the membership was frozen for it
    # Whether payment ends the freeze: not where an administrator had frozen before.
    Column("thaws", Boolean, nullable=False, server_default=false()),
    instant("cancelled_ms"),  # when the plan was let end, after the subscription had
    Index(None, "member_id"),
    Index(None, "past_due_ms"),
)

# A fee asked for by the provider: it failed since, was paid, or both.
payment_bills = Table(
    "payment_bills",
    metadata,
    Column("provider", String(16), primary_key=True),
    Column("bill_ref", String(255), primary_key=True),
    Column("subscription_ref", String(255), nullable=False),
    instant("failed_ms"),  # the first failure
    instant("paid_ms"),
    Index(None, "provider", "subscription_ref"),
)
