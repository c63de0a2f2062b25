"""Seals of all chains' heads; actor and reason of every transaction."""

import sqlalchemy as sa
from alembic import op

from jhub_tokens.ledger.migrate import install_guards

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add to what is there; the previous release goes on working beside it."""
    # What the previous release writes is of version 1: its hash does not cover these columns.
    op.add_column(
        "transactions", sa.Column("version", sa.Integer(), server_default="1", nullable=False)
    )
    op.add_column(
        "transactions",
        sa.Column("actor", sa.String(length=320), server_default="system", nullable=False),
    )
    op.add_column(
        "transactions",
        sa.Column("reason", sa.String(length=200), server_default="see its kind", nullable=False),
    )
    op.add_column(
        "transactions",
        sa.Column("remark_hash", sa.String(length=64), server_default="", nullable=False),
    )
    op.add_column(
        "remarks", sa.Column("salt", sa.String(length=64), server_default="", nullable=False)
    )
    op.add_column("remarks", sa.Column("erased_ms", sa.BigInteger(), nullable=True))
    op.create_table(
        "seals",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed_ms", sa.BigInteger(), nullable=False),
        sa.Column("heads", sa.Integer(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_seals")),
    )
    op.create_table(
        "seal_heads",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("wallet_id", sa.String(length=64), nullable=False),
        sa.Column("transactions_count", sa.Integer(), nullable=False),
        sa.Column("head_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", "line", name=op.f("pk_seal_heads")),
    )
    op.create_index(
        op.f("ix_seal_heads_wallet_id_transactions_count"),
        "seal_heads",
        ["wallet_id", "transactions_count"],
    )
    install_guards(op.get_bind(), ("seals", "seal_heads"))
