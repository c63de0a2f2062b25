"""What the cluster itself says of servers, beside what the hub says."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table

from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = ["cluster_ends"]

# The end of a session as the cluster saw it; the first word stands. It is kept as it was told,
# whatever the books made of it.
cluster_ends = Table(
    "cluster_ends",
    metadata,
    identifier("session_id", ForeignKey("sessions.session_id"), primary_key=True),
    instant("ended_ms", nullable=False),
    Column("exact", Boolean, nullable=False),  # the container's own finish time, or the like
    Column("reason", String(64), nullable=False),
    Column("exit_code", Integer),
    Column("node", String(255)),
    instant("told_ms", nullable=False),
    # Missing: it waits until the hub has told whether the session was ever ready.
    instant("booked_ms"),
    Index(None, "booked_ms"),
)
