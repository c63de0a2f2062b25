"""Teams, changes of plan, limits of a run, and the balance that each period begins with."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_BURNING = sa.text("open_sessions > 0")


def upgrade() -> None:
    """Add to what is there; the previous release goes on working beside it."""
    op.create_table(
        "teams",
        sa.Column("team_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_teams")),
        sa.UniqueConstraint("name", name=op.f("uq_teams_name")),
    )
    op.create_table(
        "team_members",
        sa.Column("team_id", sa.String(length=64), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("joined_ms", sa.BigInteger(), nullable=False),
        sa.Column("left_ms", sa.BigInteger(), nullable=True),
        sa.Column("cap_grains", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_team_members_member_id")
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name=op.f("fk_team_members_team_id")
        ),
        sa.PrimaryKeyConstraint("team_id", "member_id", name=op.f("pk_team_members")),
    )
    op.create_index(op.f("ix_team_members_member_id"), "team_members", ["member_id"])
    # SQLite can lift NOT NULL only by copying the table, which has neither triggers nor
    # references to it.
    with op.batch_alter_table("subscriptions") as table:
        table.alter_column("member_id", existing_type=sa.String(length=64), nullable=True)
        table.add_column(sa.Column("team_id", sa.String(length=64), nullable=True))
        table.add_column(
            sa.Column("pinned", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        table.add_column(sa.Column("trial_plan", sa.String(length=200), nullable=True))
        table.add_column(sa.Column("trial_until_ms", sa.BigInteger(), nullable=True))
        table.create_foreign_key(
            op.f("fk_subscriptions_team_id"), "teams", ["team_id"], ["team_id"]
        )
    op.create_index(op.f("ix_subscriptions_team_id"), "subscriptions", ["team_id"], unique=True)
    op.create_table(
        "plan_changes",
        sa.Column("change_id", sa.String(length=64), nullable=False),
        sa.Column("subscription_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("plan", sa.String(length=200), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("applied_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.String(length=255), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscriptions.subscription_id"],
            name=op.f("fk_plan_changes_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_plan_changes")),
    )
    op.create_index(
        op.f("ix_plan_changes_subscription_id_at_ms"), "plan_changes", ["subscription_id", "at_ms"]
    )
    _carry_over_next_plans()
    # Not by copying: other tables refer to this one, and SQLite would miss their rows.
    op.execute(
        "ALTER TABLE wallets ADD COLUMN team_id VARCHAR(64)"
        " CONSTRAINT fk_wallets_team_id REFERENCES teams (team_id)"
    )
    op.add_column("wallets", sa.Column("expiry_noticed_ms", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_wallets_team_id"), "wallets", ["team_id"], unique=True)
    op.create_index(
        "ix_wallets_burning",
        "wallets",
        ["next_deadline_ms"],
        sqlite_where=_BURNING,
        postgresql_where=_BURNING,
    )
    op.create_table(
        "wallet_periods",
        sa.Column("wallet_id", sa.String(length=64), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("plan", sa.String(length=200), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("allotment_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("opening_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["wallets.wallet_id"], name=op.f("fk_wallet_periods_wallet_id")
        ),
        sa.PrimaryKeyConstraint("wallet_id", "n", name=op.f("pk_wallet_periods")),
    )
    op.create_index(op.f("ix_wallet_periods_start_ms"), "wallet_periods", ["start_ms"])
    op.add_column("grants", sa.Column("rolls_left", sa.Integer(), nullable=True))
    for column in (
        sa.Column("gpus", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_run_ms", sa.BigInteger(), nullable=True),
        sa.Column("stop_by_ms", sa.BigInteger(), nullable=True),
        sa.Column("stop_by_reason", sa.String(length=32), nullable=True),
        sa.Column("cut_ms", sa.BigInteger(), nullable=True),
        sa.Column("noticed_ms", sa.BigInteger(), nullable=True),
        sa.Column("stop_reason", sa.String(length=32), nullable=True),
    ):
        op.add_column("sessions", column)
    op.create_index(op.f("ix_sessions_wallet_id_ended_ms"), "sessions", ["wallet_id", "ended_ms"])
    _carry_over_warnings()


def _carry_over_next_plans() -> None:
    """Show each change that waits for the next period among the scheduled changes of plan."""
    op.execute(
        "INSERT INTO plan_changes (change_id, subscription_id, kind, plan, at_ms, created_ms)"
        " SELECT subscriptions.subscription_id, subscriptions.subscription_id, 'rule',"
        " subscriptions.next_plan, wallets.period_end_ms, wallets.period_start_ms"
        " FROM subscriptions JOIN wallets ON wallets.member_id = subscriptions.member_id"
        " WHERE subscriptions.next_plan IS NOT NULL"
    )


def _carry_over_warnings() -> None:
    """Nobody is warned or stopped twice for what was said before the upgrade."""
    op.execute(
        "UPDATE sessions SET noticed_ms = (SELECT wallets.time_noticed_ms FROM wallets"
        " WHERE wallets.wallet_id = sessions.wallet_id) WHERE ended_ms IS NULL"
    )
    op.execute(
        "UPDATE sessions SET stop_reason = (SELECT max(stop_orders.reason) FROM stop_orders"
        " WHERE stop_orders.session_id = sessions.session_id AND stop_orders.closed_ms IS NULL)"
        " WHERE ended_ms IS NULL"
    )
