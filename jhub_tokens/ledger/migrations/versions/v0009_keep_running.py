"""What servers report of themselves, and until when members want them to run."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add a table; the previous release does not look at it."""
    op.create_table(
        "server_reports",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("keep_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("busy", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("active_ms", sa.BigInteger(), nullable=True),
        sa.Column("reported_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_server_reports_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_server_reports")),
    )
