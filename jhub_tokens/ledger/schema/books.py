"""The books' own tables, as the code uses them; the migrations make them.

Transactions and entries are the truth and are only ever appended to (triggers enforce it).
Grants, wallets and a session's charge are projections of them that the audit recomputes.
Amounts are grains in int64, instants are milliseconds since the epoch.
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
    UniqueConstraint,
    false,
    true,
)

from jhub_tokens.ledger.schema.base import grains as grains_column
from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = [
    "entries",
    "grants",
    "hubs",
    "idempotency",
    "members",
    "notices",
    "remarks",
    "sessions",
    "stop_orders",
    "subscriptions",
    "tombstones",
    "transactions",
    "wallets",
]

# A member is (hub user id, created): stable across renames, distinct after delete-and-recreate.
members = Table(
    "members",
    metadata,
    identifier("member_id", primary_key=True),
    Column("hub_user_id", BigInteger, nullable=False),
    Column("hub_created", String(64), nullable=False),
    Column("name", String(255), nullable=False),
    # Whether the hub's user of this name is this member: a name passes on, books do not.
    Column("holds_name", Boolean, nullable=False, server_default=true()),
    Column("state", String(16), nullable=False, server_default="active"),
    instant("created_ms", nullable=False),
    instant("last_used_ms"),
    UniqueConstraint("hub_user_id", "hub_created"),
    Index(None, "name"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    identifier("subscription_id", primary_key=True),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False, unique=True),
    Column("plan", String(200), nullable=False),
    Column("next_plan", String(200)),  # from the next period on
    # The plan's terms when they last held, for a plan that has left the catalogue.
    Column("terms", JSON, nullable=False),
    instant("anchor_ms", nullable=False),
    Column("zone", String(64), nullable=False),
)

wallets = Table(
    "wallets",
    metadata,
    identifier("wallet_id", primary_key=True),
    Column("kind", String(16), nullable=False),
    identifier("member_id", ForeignKey("members.member_id"), unique=True),
    instant("settled_to_ms", nullable=False),
    Column("period_n", Integer, nullable=False),
    instant("period_start_ms", nullable=False),
    instant("period_end_ms", nullable=False),
    grains_column("allotment_grains"),
    grains_column("debt_grains"),
    Column("transactions_count", Integer, nullable=False, server_default="0"),
    Column("head_hash", String(64), nullable=False, server_default=""),
    Column("open_sessions", Integer, nullable=False, server_default="0"),
    instant("next_deadline_ms", nullable=False),
    instant("dry_ms"),
    # The smallest time-left threshold noticed since the last credit or first start.
    instant("time_noticed_ms"),
    # The largest percentage noticed in this period.
    Column("percent_noticed", Integer, nullable=False, server_default="0"),
    Index(None, "next_deadline_ms"),
)

grants = Table(
    "grants",
    metadata,
    identifier("grant_id", primary_key=True),
    identifier("wallet_id", ForeignKey("wallets.wallet_id"), nullable=False),
    Column("source", String(16), nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("age", Integer, nullable=False),
    grains_column("granted_grains"),
    grains_column("remaining_grains"),
    instant("starts_ms", nullable=False),
    instant("expires_ms"),
    Column("rolls", Boolean, nullable=False, server_default=false()),
    Column("spent", Boolean, nullable=False, server_default=false()),  # nothing left, for ever
    Index(None, "wallet_id", "spent"),
)

sessions = Table(
    "sessions",
    metadata,
    identifier("session_id", primary_key=True),
    identifier("wallet_id", ForeignKey("wallets.wallet_id"), nullable=False),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),
    Column("hub", String(255), nullable=False, server_default="hub"),
    Column("server_name", String(255), nullable=False),
    Column("start_key", String(200), nullable=False, unique=True),
    Column("hub_started", String(64)),
    Column("profile", String(200), nullable=False),
    Column("image", String(200)),
    Column("gpu_model", String(200)),
    Column("rate_mtok_h", BigInteger, nullable=False),
    Column("minimum_run_ms", BigInteger, nullable=False),
    Column("grace_ms", BigInteger, nullable=False),
    Column("stop_time_ms", BigInteger, nullable=False),
    Column("age", Integer, nullable=False),  # session order within the wallet
    instant("admitted_ms", nullable=False),
    instant("ready_ms"),
    instant("alive_to_ms"),
    instant("ended_ms"),
    Column("end_reason", String(64)),
    # Ended and booked to the end: no longer part of the wallet's walk.
    Column("settled", Boolean, nullable=False, server_default=false()),
    grains_column("charged_grains"),
    Index(None, "wallet_id", "settled"),
    Index("ix_sessions_unsettled", "settled", "hub"),
    Index(None, "member_id", "admitted_ms"),
)

# A cancelled start refuses its own delayed admission.
tombstones = Table(
    "tombstones",
    metadata,
    Column("start_key", String(200), primary_key=True),
    instant("cancelled_ms", nullable=False),
)

transactions = Table(
    "transactions",
    metadata,
    identifier("transaction_id", primary_key=True),
    identifier("wallet_id", ForeignKey("wallets.wallet_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    instant("at_ms", nullable=False),  # the instant it is about
    instant("booked_ms", nullable=False),  # the instant it was written
    grains_column("change_grains"),  # what it did to the wallet's balance
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("wallet_id", "number"),
    Index(None, "wallet_id", "at_ms"),
)

entries = Table(
    "entries",
    metadata,
    identifier("transaction_id", ForeignKey("transactions.transaction_id"), primary_key=True),
    Column("line", Integer, primary_key=True),
    # grant, consumed, expired, or issued:<source>; the entries of a transaction sum to zero.
    Column("account", String(32), nullable=False),
    Column("amount_grains", BigInteger, nullable=False),
    identifier("grant_id"),
    identifier("session_id"),
    instant("from_ms"),
    instant("to_ms"),
    Index(None, "session_id"),
    Index(None, "grant_id"),
)

# Names and free text stand apart from the chain, so that erasing them leaves it whole.
remarks = Table(
    "remarks",
    metadata,
    identifier("transaction_id", ForeignKey("transactions.transaction_id"), primary_key=True),
    Column("actor", String(255), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", String(255), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("answer", JSON, nullable=False),
    instant("created_ms", nullable=False),
)

stop_orders = Table(
    "stop_orders",
    metadata,
    identifier("order_id", primary_key=True),
    identifier("session_id", ForeignKey("sessions.session_id"), nullable=False),
    Column("reason", String(32), nullable=False),  # dry, frozen
    instant("issued_ms", nullable=False),
    instant("closed_ms"),
    Column("outcome", String(32)),  # ended, revoked
    Column("detail", String(500)),  # the last failure to carry it out
    Index(None, "closed_ms", "issued_ms"),
    Index(None, "session_id"),
)

notices = Table(
    "notices",
    metadata,
    identifier("notice_id", primary_key=True),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("params", JSON, nullable=False),
    instant("created_ms", nullable=False),
    instant("seen_ms"),
    Index(None, "member_id", "created_ms"),
)

# What each hub last told: a snapshot that arrives late or twice must not rewrite history.
hubs = Table(
    "hubs",
    metadata,
    Column("hub", String(255), primary_key=True),
    Column("epoch", String(200), nullable=False),
    Column("past_epochs", JSON, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    instant("observed_ms", nullable=False),
)
