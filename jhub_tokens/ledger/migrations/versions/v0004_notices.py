"""Members' choices of language and channels, and the outbox of notices."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_UNROUTED = sa.text("routed_ms IS NULL")
_WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    """Add to what is there; the previous release goes on working beside it."""
    op.add_column("notices", sa.Column("routed_ms", sa.BigInteger(), nullable=True))
    # What was said before there were channels is not sent anew.
    op.execute("UPDATE notices SET routed_ms = created_ms")
    op.create_index(
        "ix_notices_unrouted",
        "notices",
        ["created_ms"],
        sqlite_where=_UNROUTED,
        postgresql_where=_UNROUTED,
    )
    op.create_table(
        "member_settings",
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=True),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("urgency", sa.String(length=16), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=True),
        sa.Column("email_confirmed_ms", sa.BigInteger(), nullable=True),
        sa.Column("email_asked", sa.String(length=320), nullable=True),
        sa.Column("email_asked_ms", sa.BigInteger(), nullable=True),
        sa.Column("email_asks", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_member_settings_member_id")
        ),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_member_settings")),
    )
    op.create_table(
        "deliveries",
        sa.Column("notice_id", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_try_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["notice_id"], ["notices.notice_id"], name=op.f("fk_deliveries_notice_id")
        ),
        sa.PrimaryKeyConstraint("notice_id", "channel", name=op.f("pk_deliveries")),
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["next_try_ms"],
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
