"""Closed months, money that moved, cost centres, and erasures of members' data."""

import sqlalchemy as sa
from alembic import op

from jhub_tokens.ledger.migrate import FINANCE_TABLES, install_guards
from jhub_tokens.ledger.posting import install_posting

revision = "0007"
down_revision = "0006"


def _text(name: str, length: int, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False, server_default=default)


def _instant(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    """Add to what is there; the previous release goes on working beside it."""
    # Plain additions: a copy of `transactions` on SQLite would lose its triggers.
    op.add_column("subscriptions", sa.Column("cost_centre", sa.String(length=64), nullable=True))
    op.add_column("transactions", sa.Column("plan", sa.String(length=200), nullable=True))
    op.add_column("transactions", sa.Column("cost_centre", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_transactions_at_ms"), "transactions", ["at_ms"])
    op.add_column("invoices", sa.Column("voided_ms", sa.BigInteger(), nullable=True))
    _months()
    _moves()
    op.create_table(
        "erasures",
        _text("erasure_id", 64),
        _text("member_id", 64),
        _instant("erased_ms"),
        _text("actor", 255),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_erasures_member_id")
        ),
        sa.PrimaryKeyConstraint("erasure_id", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_member_id"), "erasures", ["member_id"], unique=True)
    install_guards(op.get_bind(), FINANCE_TABLES)
    install_posting(op.get_bind())


def _months() -> None:
    op.create_table(
        "closed_months",
        _text("month", 7),
        _text("zone", 64),
        _instant("start_ms"),
        _instant("end_ms"),
        _instant("closed_ms"),
        _text("actor", 255),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_closed_months")),
    )
    op.create_table(
        "late_postings",
        _text("item_id", 64),
        _text("month", 7),
        _instant("posted_ms"),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_late_postings")),
    )
    op.create_index(op.f("ix_late_postings_posted_ms"), "late_postings", ["posted_ms"])
    op.create_table(
        "closed_figures",
        _text("month", 7),
        sa.Column("line", sa.Integer(), nullable=False),
        _text("section", 16),
        _text("plan", 200),
        _text("cost_centre", 64),
        _text("team", 200),
        _text("profile", 200),
        _text("source", 16),
        _text("kind", 16),
        _text("account", 32),
        _text("currency", 3),
        _text("amount", 40),
        sa.ForeignKeyConstraint(
            ["month"], ["closed_months.month"], name=op.f("fk_closed_figures_month")
        ),
        sa.PrimaryKeyConstraint("month", "line", name=op.f("pk_closed_figures")),
    )
    op.create_table(
        "closed_reports",
        _text("month", 7),
        sa.Column("lines", sa.Integer(), nullable=False),
        _text("digest", 64),
        _instant("written_ms"),
        sa.ForeignKeyConstraint(
            ["month"], ["closed_months.month"], name=op.f("fk_closed_reports_month")
        ),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_closed_reports")),
    )


def _moves() -> None:
    op.create_table(
        "money_moves",
        _text("move_id", 64),
        _text("kind", 16),
        _text("provider", 16),
        _text("member_id", 64),
        sa.Column("invoice_id", sa.String(length=64), nullable=True),
        _text("plan", 200, default=""),
        _text("cost_centre", 64, default=""),
        _instant("amount_minor"),
        _text("currency", 3),
        _instant("at_ms"),
        _instant("booked_ms"),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_money_moves_member_id")
        ),
        sa.PrimaryKeyConstraint("move_id", name=op.f("pk_money_moves")),
    )
    op.create_index(op.f("ix_money_moves_at_ms"), "money_moves", ["at_ms"])
    op.create_index(op.f("ix_money_moves_invoice_id"), "money_moves", ["invoice_id"])
