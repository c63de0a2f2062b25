"""SSH public keys, invitations to teams, and pages in the language of the browser."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add to what is there; the previous release goes on working beside it."""
    no = sa.false()
    op.add_column(
        "member_settings",
        sa.Column("follows_browser", sa.Boolean(), server_default=no, nullable=False),
    )
    op.add_column(
        "team_members", sa.Column("invited", sa.Boolean(), server_default=no, nullable=False)
    )
    _invitations()
    _keys()


def _invitations() -> None:
    op.create_table(
        "team_invitations",
        sa.Column("invitation_id", sa.String(length=64), nullable=False),
        sa.Column("team_id", sa.String(length=64), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("invited_by", sa.String(length=64), nullable=False),
        sa.Column("invited_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("answer", sa.String(length=16), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name=op.f("fk_team_invitations_team_id")
        ),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_team_invitations_member_id")
        ),
        sa.ForeignKeyConstraint(
            ["invited_by"], ["members.member_id"], name=op.f("fk_team_invitations_invited_by")
        ),
        sa.PrimaryKeyConstraint("invitation_id", name=op.f("pk_team_invitations")),
    )
    op.create_index(op.f("ix_team_invitations_member_id"), "team_invitations", ["member_id"])
    op.create_index(op.f("ix_team_invitations_team_id"), "team_invitations", ["team_id"])


def _keys() -> None:
    op.create_table(
        "ssh_keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sa.Column("removed_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_ssh_keys_member_id")
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_ssh_keys")),
    )
    held = sa.text("removed_ms IS NULL")
    op.create_index(
        "uq_ssh_keys_held",
        "ssh_keys",
        ["member_id", "fingerprint"],
        unique=True,
        sqlite_where=held,
        postgresql_where=held,
    )
    op.create_index("ix_ssh_keys_member_id_added_ms", "ssh_keys", ["member_id", "added_ms"])
