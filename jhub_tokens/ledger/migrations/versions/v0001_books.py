"""The books: members, subscriptions, wallets, grants, sessions, transactions and effects."""

import sqlalchemy as sa
from alembic import op

from jhub_tokens.ledger.migrate import install_guards

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables and the guards that make entries append-only."""
    op.create_table(
        "hubs",
        sa.Column("hub", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.String(length=200), nullable=False),
        sa.Column("past_epochs", sa.JSON(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("observed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hub", name=op.f("pk_hubs")),
    )
    op.create_table(
        "idempotency",
        sa.Column("caller", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "members",
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("hub_user_id", sa.BigInteger(), nullable=False),
        sa.Column("hub_created", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("holds_name", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="active", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_members")),
        sa.UniqueConstraint(
            "hub_user_id", "hub_created", name=op.f("uq_members_hub_user_id_hub_created")
        ),
    )
    op.create_index(op.f("ix_members_name"), "members", ["name"], unique=False)
    op.create_table(
        "tombstones",
        sa.Column("start_key", sa.String(length=200), nullable=False),
        sa.Column("cancelled_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("start_key", name=op.f("pk_tombstones")),
    )
    op.create_table(
        "notices",
        sa.Column("notice_id", sa.String(length=64), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_notices_member_id")
        ),
        sa.PrimaryKeyConstraint("notice_id", name=op.f("pk_notices")),
    )
    op.create_index(
        op.f("ix_notices_member_id_created_ms"),
        "notices",
        ["member_id", "created_ms"],
        unique=False,
    )
    op.create_table(
        "subscriptions",
        sa.Column("subscription_id", sa.String(length=64), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.String(length=200), nullable=False),
        sa.Column("next_plan", sa.String(length=200), nullable=True),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("anchor_ms", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_subscriptions_member_id")
        ),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("member_id", name=op.f("uq_subscriptions_member_id")),
    )
    op.create_table(
        "wallets",
        sa.Column("wallet_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=True),
        sa.Column("settled_to_ms", sa.BigInteger(), nullable=False),
        sa.Column("period_n", sa.Integer(), nullable=False),
        sa.Column("period_start_ms", sa.BigInteger(), nullable=False),
        sa.Column("period_end_ms", sa.BigInteger(), nullable=False),
        sa.Column("allotment_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("debt_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("transactions_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("head_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("open_sessions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_deadline_ms", sa.BigInteger(), nullable=False),
        sa.Column("dry_ms", sa.BigInteger(), nullable=True),
        sa.Column("time_noticed_ms", sa.BigInteger(), nullable=True),
        sa.Column("percent_noticed", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_wallets_member_id")
        ),
        sa.PrimaryKeyConstraint("wallet_id", name=op.f("pk_wallets")),
        sa.UniqueConstraint("member_id", name=op.f("uq_wallets_member_id")),
    )
    op.create_index(
        op.f("ix_wallets_next_deadline_ms"), "wallets", ["next_deadline_ms"], unique=False
    )
    op.create_table(
        "grants",
        sa.Column("grant_id", sa.String(length=64), nullable=False),
        sa.Column("wallet_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("age", sa.Integer(), nullable=False),
        sa.Column("granted_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("remaining_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("starts_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("rolls", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("spent", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["wallets.wallet_id"], name=op.f("fk_grants_wallet_id")
        ),
        sa.PrimaryKeyConstraint("grant_id", name=op.f("pk_grants")),
    )
    op.create_index(
        op.f("ix_grants_wallet_id_spent"), "grants", ["wallet_id", "spent"], unique=False
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("wallet_id", sa.String(length=64), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("hub", sa.String(length=255), server_default="hub", nullable=False),
        sa.Column("server_name", sa.String(length=255), nullable=False),
        sa.Column("start_key", sa.String(length=200), nullable=False),
        sa.Column("hub_started", sa.String(length=64), nullable=True),
        sa.Column("profile", sa.String(length=200), nullable=False),
        sa.Column("image", sa.String(length=200), nullable=True),
        sa.Column("gpu_model", sa.String(length=200), nullable=True),
        sa.Column("rate_mtok_h", sa.BigInteger(), nullable=False),
        sa.Column("minimum_run_ms", sa.BigInteger(), nullable=False),
        sa.Column("grace_ms", sa.BigInteger(), nullable=False),
        sa.Column("stop_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("age", sa.Integer(), nullable=False),
        sa.Column("admitted_ms", sa.BigInteger(), nullable=False),
        sa.Column("ready_ms", sa.BigInteger(), nullable=True),
        sa.Column("alive_to_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("end_reason", sa.String(length=64), nullable=True),
        sa.Column("settled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("charged_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_sessions_member_id")
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["wallets.wallet_id"], name=op.f("fk_sessions_wallet_id")
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("start_key", name=op.f("uq_sessions_start_key")),
    )
    op.create_index(
        op.f("ix_sessions_member_id_admitted_ms"),
        "sessions",
        ["member_id", "admitted_ms"],
        unique=False,
    )
    op.create_index("ix_sessions_unsettled", "sessions", ["settled", "hub"], unique=False)
    op.create_index(
        op.f("ix_sessions_wallet_id_settled"), "sessions", ["wallet_id", "settled"], unique=False
    )
    op.create_table(
        "transactions",
        sa.Column("transaction_id", sa.String(length=64), nullable=False),
        sa.Column("wallet_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("booked_ms", sa.BigInteger(), nullable=False),
        sa.Column("change_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["wallets.wallet_id"], name=op.f("fk_transactions_wallet_id")
        ),
        sa.PrimaryKeyConstraint("transaction_id", name=op.f("pk_transactions")),
        sa.UniqueConstraint("wallet_id", "number", name=op.f("uq_transactions_wallet_id_number")),
    )
    op.create_index(
        op.f("ix_transactions_wallet_id_at_ms"),
        "transactions",
        ["wallet_id", "at_ms"],
        unique=False,
    )
    op.create_table(
        "remarks",
        sa.Column("transaction_id", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["transactions.transaction_id"],
            name=op.f("fk_remarks_transaction_id"),
        ),
        sa.PrimaryKeyConstraint("transaction_id", name=op.f("pk_remarks")),
    )
    op.create_table(
        "entries",
        sa.Column("transaction_id", sa.String(length=64), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(length=32), nullable=False),
        sa.Column("amount_grains", sa.BigInteger(), nullable=False),
        sa.Column("grant_id", sa.String(length=64), nullable=True),
        sa.Column("session_id", sa.String(length=64), nullable=True),
        sa.Column("from_ms", sa.BigInteger(), nullable=True),
        sa.Column("to_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["transactions.transaction_id"],
            name=op.f("fk_entries_transaction_id"),
        ),
        sa.PrimaryKeyConstraint("transaction_id", "line", name=op.f("pk_entries")),
    )
    op.create_index(op.f("ix_entries_grant_id"), "entries", ["grant_id"], unique=False)
    op.create_index(op.f("ix_entries_session_id"), "entries", ["session_id"], unique=False)
    op.create_table(
        "stop_orders",
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("closed_ms", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("detail", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_stop_orders_session_id")
        ),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_stop_orders")),
    )
    op.create_index(
        op.f("ix_stop_orders_closed_ms_issued_ms"),
        "stop_orders",
        ["closed_ms", "issued_ms"],
        unique=False,
    )
    op.create_index(op.f("ix_stop_orders_session_id"), "stop_orders", ["session_id"], unique=False)
    install_guards(op.get_bind())
