"""Tables of what administrators do: acts that move no tokens, and acts on many members at once.

What moves tokens is told by transactions and their remarks, changes of plan by `plan_changes`,
and so on: nothing is written down twice. `admin_acts` holds what no other table tells.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = ["admin_act_remarks", "admin_acts", "bulk_acts", "bulk_items"]

# Looks at a member's pages, freezes, stops, caps and the like; append-only.
admin_acts = Table(
    "admin_acts",
    metadata,
    identifier("act_id", primary_key=True),
    instant("at_ms", nullable=False),
    Column("actor", String(255), nullable=False),
    Column("kind", String(32), nullable=False),  # see `oversight_records.ActKind`
    identifier("member_id", ForeignKey("members.member_id")),
    Column("subject", String(200), nullable=False, server_default=""),  # an id or a catalogue name
    Index(None, "at_ms"),
    Index(None, "member_id", "at_ms"),
    Index(None, "actor", "at_ms"),
)
# What was said of them stands apart, because erasing a member empties it.
admin_act_remarks = Table(
    "admin_act_remarks",
    metadata,
    identifier("act_id", ForeignKey("admin_acts.act_id"), primary_key=True),
    Column("reason", Text, nullable=False),
)
# One act on many members: written down whole before the first of them is touched.
bulk_acts = Table(
    "bulk_acts",
    metadata,
    identifier("act_id", primary_key=True),
    Column("caller", String(255), nullable=False),
    Column("key", String(200), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(16), nullable=False),  # see `oversight_records.Action`
    Column("reason", Text, nullable=False, server_default=""),
    Column("members", Integer, nullable=False),
    instant("made_ms", nullable=False),
    UniqueConstraint("caller", "key"),
    Index(None, "made_ms"),
)
bulk_items = Table(
    "bulk_items",
    metadata,
    identifier("act_id", ForeignKey("bulk_acts.act_id"), primary_key=True),
    Column("line", Integer, primary_key=True),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),
    Column("amount_grains", BigInteger),
    Column("plan", String(200)),
    Column("starts", String(8)),  # now, next; missing: as the catalogue says
    instant("from_ms"),  # of refunds: what was used between two instants
    instant("to_ms"),
    Column("state", String(8), nullable=False, server_default="waiting"),  # done, refused
    Column("code", String(32), nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    Column("done", BigInteger),  # servers stopped, sessions refunded
    Column("moved_grains", BigInteger),
    Column("balance_grains", BigInteger),
    instant("done_ms"),
    Index(None, "member_id"),
    Index(None, "act_id", "state"),
)
