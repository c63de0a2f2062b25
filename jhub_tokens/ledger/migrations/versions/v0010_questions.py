"""Members' questions about a charge, and their answers."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add two tables; the previous release does not look at them."""
    op.create_table(
        "questions",
        sa.Column("question_id", sa.String(length=64), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("period_start_ms", sa.BigInteger(), nullable=False),
        sa.Column("category", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name=op.f("fk_questions_member_id")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_questions_session_id")
        ),
        sa.PrimaryKeyConstraint("question_id", name=op.f("pk_questions")),
        sa.UniqueConstraint(
            "session_id", "period_start_ms", name=op.f("uq_questions_session_id_period_start_ms")
        ),
    )
    op.create_index(op.f("ix_questions_member_id_asked_ms"), "questions", ["member_id", "asked_ms"])
    op.create_index(op.f("ix_questions_asked_ms"), "questions", ["asked_ms"])
    op.create_table(
        "question_answers",
        sa.Column("question_id", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=False),
        sa.Column("refunded_grains", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["question_id"], ["questions.question_id"], name=op.f("fk_question_answers_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["transactions.transaction_id"],
            name=op.f("fk_question_answers_transaction_id"),
        ),
        sa.PrimaryKeyConstraint("question_id", name=op.f("pk_question_answers")),
    )
