"""The books' tables, as the code uses them; the migrations make them.

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
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

__all__ = [
    "entries",
    "grants",
    "hubs",
    "idempotency",
    "members",
    "metadata",
    "notices",
    "remarks",
    "sessions",
    "stop_orders",
    "subscriptions",
    "tombstones",
    "transactions",
    "wallets",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id(name: str, *args: object, **options: object) -> Column[str]:
    return Column(name, String(64), *args, **options)  # type: ignore[arg-type]


def _grains(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _instant(name: str, *, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


# A member is (hub user id, created): stable across renames, distinct after delete-and-recreate.
members = Table(
    "members",
    metadata,
    _id("member_id", primary_key=True),
    Column("hub_user_id", BigInteger, nullable=False),
    Column("hub_created", String(64), nullable=False),
    Column("name", String(255), nullable=False),
    # Whether the hub's user of this name is this member: a name passes on, books do not.
    Column("holds_name", Boolean, nullable=False, server_default=true()),
    Column("state", String(16), nullable=False, server_default="active"),
    _instant("created_ms", nullable=False),
    _instant("last_used_ms"),
    UniqueConstraint("hub_user_id", "hub_created"),
    Index(None, "name"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    _id("subscription_id", primary_key=True),
    _id("member_id", ForeignKey("members.member_id"), nullable=False, unique=True),
    Column("plan", String(200), nullable=False),
    Column("next_plan", String(200)),  # from the next period on
    # The plan's terms when they last held, for a plan that has left the catalogue.
    Column("terms", JSON, nullable=False),
    _instant("anchor_ms", nullable=False),
    Column("zone", String(64), nullable=False),
)

wallets = Table(
    "wallets",
    metadata,
    _id("wallet_id", primary_key=True),
    Column("kind", String(16), nullable=False),
    _id("member_id", ForeignKey("members.member_id"), unique=True),
    _instant("settled_to_ms", nullable=False),
    Column("period_n", Integer, nullable=False),
    _instant("period_start_ms", nullable=False),
    _instant("period_end_ms", nullable=False),
    _grains("allotment_grains"),
    _grains("debt_grains"),
    Column("transactions_count", Integer, nullable=False, server_default="0"),
    Column("head_hash", String(64), nullable=False, server_default=""),
    Column("open_sessions", Integer, nullable=False, server_default="0"),
    _instant("next_deadline_ms", nullable=False),
    _instant("dry_ms"),
    # The smallest time-left threshold noticed since the last credit or first start.
    _instant("time_noticed_ms"),
    # The largest percentage noticed in this period.
    Column("percent_noticed", Integer, nullable=False, server_default="0"),
    Index(None, "next_deadline_ms"),
)

grants = Table(
    "grants",
    metadata,
    _id("grant_id", primary_key=True),
    _id("wallet_id", ForeignKey("wallets.wallet_id"), nullable=False),
    Column("source", String(16), nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("age", Integer, nullable=False),
    _grains("granted_grains"),
    _grains("remaining_grains"),
    _instant("starts_ms", nullable=False),
    _instant("expires_ms"),
    Column("rolls", Boolean, nullable=False, server_default=false()),
    Column("spent", Boolean, nullable=False, server_default=false()),  # nothing left, for ever
    Index(None, "wallet_id", "spent"),
)

sessions = Table(
    "sessions",
    metadata,
    _id("session_id", primary_key=True),
    _id("wallet_id", ForeignKey("wallets.wallet_id"), nullable=False),
    _id("member_id", ForeignKey("members.member_id"), nullable=False),
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
    _instant("admitted_ms", nullable=False),
    _instant("ready_ms"),
    _instant("alive_to_ms"),
    _instant("ended_ms"),
    Column("end_reason", String(64)),
    # Ended and booked to the end: no longer part of the wallet's walk.
    Column("settled", Boolean, nullable=False, server_default=false()),
    _grains("charged_grains"),
    Index(None, "wallet_id", "settled"),
    Index("ix_sessions_unsettled", "settled", "hub"),
    Index(None, "member_id", "admitted_ms"),
)

# A cancelled start refuses its own delayed admission.
tombstones = Table(
    "tombstones",
    metadata,
    Column("start_key", String(200), primary_key=True),
    _instant("cancelled_ms", nullable=False),
)

transactions = Table(
    "transactions",
    metadata,
    _id("transaction_id", primary_key=True),
    _id("wallet_id", ForeignKey("wallets.wallet_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    _instant("at_ms", nullable=False),  # the instant it is about
    _instant("booked_ms", nullable=False),  # the instant it was written
    _grains("change_grains"),  # what it did to the wallet's balance
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("wallet_id", "number"),
    Index(None, "wallet_id", "at_ms"),
)

entries = Table(
    "entries",
    metadata,
    _id("transaction_id", ForeignKey("transactions.transaction_id"), primary_key=True),
    Column("line", Integer, primary_key=True),
    # grant, consumed, expired, or issued:<source>; the entries of a transaction sum to zero.
    Column("account", String(32), nullable=False),
    Column("amount_grains", BigInteger, nullable=False),
    _id("grant_id"),
    _id("session_id"),
    _instant("from_ms"),
    _instant("to_ms"),
    Index(None, "session_id"),
    Index(None, "grant_id"),
)

# Names and free text stand apart from the chain, so that erasing them leaves it whole.
remarks = Table(
    "remarks",
    metadata,
    _id("transaction_id", ForeignKey("transactions.transaction_id"), primary_key=True),
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
    _instant("created_ms", nullable=False),
)

stop_orders = Table(
    "stop_orders",
    metadata,
    _id("order_id", primary_key=True),
    _id("session_id", ForeignKey("sessions.session_id"), nullable=False),
    Column("reason", String(32), nullable=False),  # dry, frozen
    _instant("issued_ms", nullable=False),
    _instant("closed_ms"),
    Column("outcome", String(32)),  # ended, revoked
    Column("detail", String(500)),  # the last failure to carry it out
    Index(None, "closed_ms", "issued_ms"),
    Index(None, "session_id"),
)

notices = Table(
    "notices",
    metadata,
    _id("notice_id", primary_key=True),
    _id("member_id", ForeignKey("members.member_id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("params", JSON, nullable=False),
    _instant("created_ms", nullable=False),
    _instant("seen_ms"),
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
    _instant("observed_ms", nullable=False),
)
