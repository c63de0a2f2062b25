"""Tables of members' questions about a charge, and of what administrators answered.

Both are only ever added to, but for what erasing a person empties: a question is open as long as
it has no answer.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text, UniqueConstraint

from jhub_tokens.ledger.schema.base import grains, identifier, instant, metadata

__all__ = ["question_answers", "questions"]

# A line of a statement is a session within a period; of each one may be asked once.
questions = Table(
    "questions",
    metadata,
    identifier("question_id", primary_key=True),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),
    identifier("session_id", ForeignKey("sessions.session_id"), nullable=False),
    instant("period_start_ms", nullable=False),
    Column("category", String(16), nullable=False),
    Column("text", Text, nullable=False),
    instant("asked_ms", nullable=False),
    UniqueConstraint("session_id", "period_start_ms"),
    Index(None, "member_id", "asked_ms"),
    Index(None, "asked_ms"),
)

question_answers = Table(
    "question_answers",
    metadata,
    identifier("question_id", ForeignKey("questions.question_id"), primary_key=True),
    Column("outcome", String(16), nullable=False),  # answered, refunded
    Column("text", Text, nullable=False),
    Column("actor", String(255), nullable=False),
    instant("answered_ms", nullable=False),
    grains("refunded_grains"),
    identifier("transaction_id", ForeignKey("transactions.transaction_id")),  # the refund's
)
