"""Idle policies of running servers, the hub's word on their use, and servers for files only."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add columns that may be missing: what the previous release admits is never idle."""
    for column in (
        sa.Column("idle_stop_ms", sa.BigInteger(), nullable=True),
        sa.Column("idle_warn_ms", sa.JSON(), nullable=True),
        sa.Column("idle_warned_ms", sa.BigInteger(), nullable=True),
        sa.Column("idle_noticed_ms", sa.BigInteger(), nullable=True),
        sa.Column("hub_active_ms", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.Boolean(), server_default=sa.false(), nullable=False),
    ):
        op.add_column("sessions", column)
