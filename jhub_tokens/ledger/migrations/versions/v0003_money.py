"""Refunds of sessions, limits of administrators, vouchers, invoices and payments."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add to what is there; the previous release goes on working beside it."""
    op.add_column(
        "sessions",
        sa.Column("refunded_grains", sa.BigInteger(), server_default="0", nullable=False),
    )
    op.create_table(
        "admin_months",
        sa.Column("caller", sa.String(length=255), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("moved_mtok", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("caller", "month", name=op.f("pk_admin_months")),
    )
    _vouchers()
    _payments()


def _vouchers() -> None:
    op.create_table(
        "voucher_batches",
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("vouchers", sa.Integer(), nullable=False),
        sa.Column("amount_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("tokens_last_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_voucher_batches")),
    )
    op.create_index(op.f("ix_voucher_batches_made_ms"), "voucher_batches", ["made_ms"])
    op.create_table(
        "vouchers",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=True),
        sa.Column("redeemed_ms", sa.BigInteger(), nullable=True),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("balance_grains", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["voucher_batches.batch_id"], name=op.f("fk_vouchers_batch_id")
        ),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_vouchers_member_id")
        ),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_vouchers")),
    )
    op.create_index(op.f("ix_vouchers_batch_id"), "vouchers", ["batch_id"])
    op.create_table(
        "voucher_tries",
        sa.Column("try_id", sa.String(length=64), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_voucher_tries_member_id")
        ),
        sa.PrimaryKeyConstraint("try_id", name=op.f("pk_voucher_tries")),
    )
    op.create_index(
        op.f("ix_voucher_tries_member_id_at_ms"), "voucher_tries", ["member_id", "at_ms"]
    )


def _payments() -> None:
    op.create_table(
        "invoices",
        sa.Column("invoice_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("amount_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("checkout_url", sa.Text(), server_default="", nullable=False),
        sa.Column("paid_ms", sa.BigInteger(), nullable=True),
        sa.Column("paid_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("payment_ref", sa.String(length=255), nullable=True),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("grant_id", sa.String(length=64), nullable=True),
        sa.Column("taken_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("missing_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_invoices_member_id")
        ),
        sa.PrimaryKeyConstraint("invoice_id", name=op.f("pk_invoices")),
        sa.UniqueConstraint(
            "provider", "payment_ref", name=op.f("uq_invoices_provider_payment_ref")
        ),
    )
    op.create_index(
        op.f("ix_invoices_member_id_created_ms"), "invoices", ["member_id", "created_ms"]
    )
    op.create_table(
        "payment_events",
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("occurred_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "event_id", name=op.f("pk_payment_events")),
    )
    op.create_table(
        "payment_refunds",
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("payment_ref", sa.String(length=255), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "payment_ref", name=op.f("pk_payment_refunds")),
    )
    op.create_table(
        "payment_disputes",
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("dispute_id", sa.String(length=255), nullable=False),
        sa.Column("payment_ref", sa.String(length=255), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("won", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "dispute_id", name=op.f("pk_payment_disputes")),
    )
    op.create_index(
        op.f("ix_payment_disputes_provider_payment_ref"),
        "payment_disputes",
        ["provider", "payment_ref"],
    )
    op.create_table(
        "payment_accounts",
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("subscription_ref", sa.String(length=255), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=True),
        sa.Column("plan", sa.String(length=200), server_default="", nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("past_due_ms", sa.BigInteger(), nullable=True),
        sa.Column("frozen_ms", sa.BigInteger(), nullable=True),
        sa.Column("thaws", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("cancelled_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_payment_accounts_member_id")
        ),
        sa.PrimaryKeyConstraint("provider", "subscription_ref", name=op.f("pk_payment_accounts")),
    )
    op.create_index(op.f("ix_payment_accounts_member_id"), "payment_accounts", ["member_id"])
    op.create_index(op.f("ix_payment_accounts_past_due_ms"), "payment_accounts", ["past_due_ms"])
    op.create_table(
        "payment_bills",
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("bill_ref", sa.String(length=255), nullable=False),
        sa.Column("subscription_ref", sa.String(length=255), nullable=False),
        sa.Column("failed_ms", sa.BigInteger(), nullable=True),
        sa.Column("paid_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("provider", "bill_ref", name=op.f("pk_payment_bills")),
    )
    op.create_index(
        op.f("ix_payment_bills_provider_subscription_ref"),
        "payment_bills",
        ["provider", "subscription_ref"],
    )
