"""What a sign-in provider said last of each member, cut down to what rules ask for."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Table, false

from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = ["member_facts"]

member_facts = Table(
    "member_facts",
    metadata,
    identifier("member_id", ForeignKey("members.member_id"), primary_key=True),
    Column("facts", JSON, nullable=False),
    instant("told_ms", nullable=False),
    # Whether the membership is frozen for it, so that the account's return ends that. Not where
    # an administrator or a fee had frozen before, or an administrator has since.
    Column("froze", Boolean, nullable=False, server_default=false()),
)
