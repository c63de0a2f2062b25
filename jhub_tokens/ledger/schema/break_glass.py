"""What went on while the service was away: acts of operators, their early ends, and starts.

All three are only ever appended to; triggers enforce it, as for entries.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = ["break_glass_acts", "break_glass_ends", "break_glass_starts"]

break_glass_acts = Table(
    "break_glass_acts",
    metadata,
    Column("act_id", String(200), primary_key=True),
    Column("hub", String(255), nullable=False),
    instant("opened_ms", nullable=False),
    instant("until_ms", nullable=False),
    Column("actor", String(255), nullable=False),
    Column("how", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("profiles", JSON(none_as_null=True)),  # missing: those of the default plan
    Column("servers_max", Integer),
    instant("told_ms", nullable=False),
    Index(None, "opened_ms"),
)

break_glass_ends = Table(
    "break_glass_ends",
    metadata,
    Column("act_id", String(200), ForeignKey("break_glass_acts.act_id"), primary_key=True),
    instant("ended_ms", nullable=False),
    Column("actor", String(255), nullable=False),
    instant("told_ms", nullable=False),
)

break_glass_starts = Table(
    "break_glass_starts",
    metadata,
    Column("start_key", String(200), primary_key=True),
    # No reference: a start is booked even if the record of its act was lost with the hub's disk.
    Column("act_id", String(200), nullable=False),
    identifier("session_id", ForeignKey("sessions.session_id"), nullable=False),
    Column("rate_mtok_h", BigInteger, nullable=False),
    Column("charged", Boolean, nullable=False),
    instant("told_ms", nullable=False),
    Index(None, "act_id"),
    Index(None, "session_id"),
)
