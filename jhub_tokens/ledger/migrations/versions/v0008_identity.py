"""What a sign-in provider said last of each member."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add to what is there; the previous release goes on working beside it."""
    op.create_table(
        "member_facts",
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.Column("froze", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_member_facts_member_id")
        ),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_member_facts")),
    )
