"""Break-glass: acts of operators, their early ends, and the starts that went through."""

import sqlalchemy as sa
from alembic import op

from jhub_tokens.ledger.migrate import install_guards

revision = "0006"
down_revision = "0005"

_GUARDED = ("break_glass_acts", "break_glass_ends", "break_glass_starts")


def upgrade() -> None:
    """Add to what is there; the previous release goes on working beside it."""
    op.create_table(
        "break_glass_acts",
        sa.Column("act_id", sa.String(length=200), nullable=False),
        sa.Column("hub", sa.String(length=255), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("how", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("profiles", sa.JSON(), nullable=True),
        sa.Column("servers_max", sa.Integer(), nullable=True),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_break_glass_acts")),
    )
    op.create_index(op.f("ix_break_glass_acts_opened_ms"), "break_glass_acts", ["opened_ms"])
    op.create_table(
        "break_glass_ends",
        sa.Column("act_id", sa.String(length=200), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["act_id"], ["break_glass_acts.act_id"], name=op.f("fk_break_glass_ends_act_id")
        ),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_break_glass_ends")),
    )
    op.create_table(
        "break_glass_starts",
        sa.Column("start_key", sa.String(length=200), nullable=False),
        sa.Column("act_id", sa.String(length=200), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("rate_mtok_h", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.Boolean(), nullable=False),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_break_glass_starts_session_id")
        ),
        sa.PrimaryKeyConstraint("start_key", name=op.f("pk_break_glass_starts")),
    )
    op.create_index(op.f("ix_break_glass_starts_act_id"), "break_glass_starts", ["act_id"])
    op.create_index(op.f("ix_break_glass_starts_session_id"), "break_glass_starts", ["session_id"])
    install_guards(op.get_bind(), _GUARDED)
