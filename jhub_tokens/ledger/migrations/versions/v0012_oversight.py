"""Administrators' acts, acts on many members at once, and what lists are sorted by."""

import sqlalchemy as sa
from alembic import op

from jhub_tokens.ledger.migrate import install_guards

revision = "0012"
down_revision = "0011"


def _text(name: str, length: int, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False, server_default=default)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    """Add to what is there; the previous release goes on working beside it."""
    _acts()
    _bulk()
    _lists()
    install_guards(op.get_bind(), ("admin_acts",))


def _acts() -> None:
    op.create_table(
        "admin_acts",
        _text("act_id", 64),
        _instant("at_ms"),
        _text("actor", 255),
        _text("kind", 32),
        sa.Column("member_id", sa.String(length=64), nullable=True),
        _text("subject", 200, default=""),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_admin_acts_member_id")
        ),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_admin_acts")),
    )
    op.create_index(op.f("ix_admin_acts_at_ms"), "admin_acts", ["at_ms"])
    op.create_index(op.f("ix_admin_acts_member_id_at_ms"), "admin_acts", ["member_id", "at_ms"])
    op.create_index(op.f("ix_admin_acts_actor_at_ms"), "admin_acts", ["actor", "at_ms"])
    op.create_table(
        "admin_act_remarks",
        _text("act_id", 64),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["act_id"], ["admin_acts.act_id"], name=op.f("fk_admin_act_remarks_act_id")
        ),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_admin_act_remarks")),
    )


def _bulk() -> None:
    op.create_table(
        "bulk_acts",
        _text("act_id", 64),
        _text("caller", 255),
        _text("key", 200),
        _text("request_hash", 64),
        _text("actor", 255),
        _text("action", 16),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("members", sa.Integer(), nullable=False),
        _instant("made_ms"),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_bulk_acts")),
        sa.UniqueConstraint("caller", "key", name=op.f("uq_bulk_acts_caller_key")),
    )
    op.create_index(op.f("ix_bulk_acts_made_ms"), "bulk_acts", ["made_ms"])
    op.create_table(
        "bulk_items",
        _text("act_id", 64),
        sa.Column("line", sa.Integer(), nullable=False),
        _text("member_id", 64),
        _instant("amount_grains", nullable=True),
        sa.Column("plan", sa.String(length=200), nullable=True),
        sa.Column("starts", sa.String(length=8), nullable=True),
        _instant("from_ms", nullable=True),
        _instant("to_ms", nullable=True),
        _text("state", 8, default="waiting"),
        _text("code", 32, default=""),
        sa.Column("message", sa.Text(), nullable=False, server_default=""),
        sa.Column("done", sa.BigInteger(), nullable=True),
        _instant("moved_grains", nullable=True),
        _instant("balance_grains", nullable=True),
        _instant("done_ms", nullable=True),
        sa.ForeignKeyConstraint(
            ["act_id"], ["bulk_acts.act_id"], name=op.f("fk_bulk_items_act_id")
        ),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_bulk_items_member_id")
        ),
        sa.PrimaryKeyConstraint("act_id", "line", name=op.f("pk_bulk_items")),
    )
    op.create_index(op.f("ix_bulk_items_member_id"), "bulk_items", ["member_id"])
    op.create_index(op.f("ix_bulk_items_act_id_state"), "bulk_items", ["act_id", "state"])


def _lists() -> None:
    # Plain additions: a copy of a table on SQLite would lose its triggers.
    for column in (
        sa.Column("balance_grains", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("balance_count", sa.Integer(), nullable=False, server_default="0"),
    ):
        op.add_column("wallets", column)
    op.execute(
        "UPDATE wallets SET balance_count = transactions_count, balance_grains = COALESCE("
        "(SELECT SUM(remaining_grains) FROM grants WHERE grants.wallet_id = wallets.wallet_id "
        "AND NOT grants.spent), 0)"
    )
    burning = sa.text("open_sessions > 0")
    op.create_index(
        "ix_wallets_dry", "wallets", ["dry_ms"], sqlite_where=burning, postgresql_where=burning
    )
    listed = ["kind", "balance_grains", "wallet_id", "allotment_grains"]
    op.create_index("ix_wallets_balance", "wallets", listed)
    op.create_index(op.f("ix_members_state_name"), "members", ["state", "name"])
    op.create_index(op.f("ix_subscriptions_plan"), "subscriptions", ["plan"])
    op.create_index(op.f("ix_plan_changes_created_ms"), "plan_changes", ["created_ms"])
    by_people = sa.text("kind IN ('topup', 'adjustment', 'refund')")
    op.create_index(
        "ix_transactions_by_people",
        "transactions",
        ["booked_ms"],
        sqlite_where=by_people,
        postgresql_where=by_people,
    )
