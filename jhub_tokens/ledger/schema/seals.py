"""Tables of seals: what the head of every wallet's chain was, from time to time."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table

from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = ["seal_heads", "seals"]

# Each seal's hash covers its heads and the seal before it. Only ever appended to.
seals = Table(
    "seals",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    instant("sealed_ms", nullable=False),
    Column("heads", Integer, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

# The heads that had changed since the seals before: never more rows than transactions. They
# refer to no wallet, for a reference would wait for the wallet's lock.
seal_heads = Table(
    "seal_heads",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    identifier("wallet_id", nullable=False),
    Column("transactions_count", Integer, nullable=False),
    Column("head_hash", String(64), nullable=False),
    Index(None, "wallet_id", "transactions_count"),
)
