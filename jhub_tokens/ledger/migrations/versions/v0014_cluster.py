"""The ends of sessions as the cluster saw them."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add a table; the previous release does not look at it."""
    op.create_table(
        "cluster_ends",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("exact", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("node", sa.String(length=255), nullable=True),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.Column("booked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_cluster_ends_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_cluster_ends")),
    )
    op.create_index(op.f("ix_cluster_ends_booked_ms"), "cluster_ends", ["booked_ms"])
