"""Tables of closed months, money that moved, and erasures; all of them are append-only.

Nothing in them is personal but the names of the administrators who closed and erased, which are
kept because the books must say who did it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = [
    "closed_figures",
    "closed_months",
    "closed_reports",
    "erasures",
    "late_postings",
    "money_moves",
]

# The months that nothing is posted to any more, one after the other without a gap.
closed_months = Table(
    "closed_months",
    metadata,
    Column("month", String(7), primary_key=True),  # 2026-11
    Column("zone", String(64), nullable=False),
    instant("start_ms", nullable=False),
    instant("end_ms", nullable=False),
    instant("closed_ms", nullable=False),
    Column("actor", String(255), nullable=False),
    Column("reason", Text, nullable=False),
)

# What is about a closed month and was written after its close belongs to the first open instant.
# A trigger writes these rows, so that no writer of any release can forget it.
late_postings = Table(
    "late_postings",
    metadata,
    identifier("item_id", primary_key=True),  # a transaction or a move of money
    Column("month", String(7), nullable=False),  # the closed month that it is about
    instant("posted_ms", nullable=False),
    Index(None, "posted_ms"),
)

# The figures of a closed month, as fine as reports ask for them.
closed_figures = Table(
    "closed_figures",
    metadata,
    Column("month", String(7), ForeignKey("closed_months.month"), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("section", String(16), nullable=False),  # see `figures.Section`
    Column("plan", String(200), nullable=False),
    Column("cost_centre", String(64), nullable=False),
    Column("team", String(200), nullable=False),
    Column("profile", String(200), nullable=False),
    Column("source", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("account", String(32), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount", String(40), nullable=False),  # a whole number; sums may exceed int64
)

# Written after a month's figures: they are complete, and this is their SHA-256.
closed_reports = Table(
    "closed_reports",
    metadata,
    Column("month", String(7), ForeignKey("closed_months.month"), primary_key=True),
    Column("lines", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    instant("written_ms", nullable=False),
)

# Money in and out, each move once: what invoices, fees, refunds and disputes come to.
money_moves = Table(
    "money_moves",
    metadata,
    identifier("move_id", primary_key=True),  # derived from what moved, so that it is told once
    Column("kind", String(16), nullable=False),  # topup, fee, refund, dispute, dispute_won
    Column("provider", String(16), nullable=False),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),
    identifier("invoice_id"),
    Column("plan", String(200), nullable=False, server_default=""),
    Column("cost_centre", String(64), nullable=False, server_default=""),
    Column("amount_minor", BigInteger, nullable=False),  # signed: money in is positive
    Column("currency", String(3), nullable=False),
    instant("at_ms", nullable=False),
    instant("booked_ms", nullable=False),
    Index(None, "at_ms"),
    Index(None, "invoice_id"),
)

# Who had whose personal data erased, when and why.
erasures = Table(
    "erasures",
    metadata,
    identifier("erasure_id", primary_key=True),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),
    instant("erased_ms", nullable=False),
    Column("actor", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "member_id", unique=True),
)
