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
    Index(None, "state", "name"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    identifier("subscription_id", primary_key=True),
    # A member's or a team's, never both.
    identifier("member_id", ForeignKey("members.member_id"), unique=True),
    identifier("team_id", ForeignKey("teams.team_id")),
    Column("plan", String(200), nullable=False),
    Column("next_plan", String(200)),  # from the next period on; see `plan_changes` for who and why
    # Chosen by somebody: the catalogue's rules do not change it.
    Column("pinned", Boolean, nullable=False, server_default=false()),
    # A trial lends a plan's profiles and limits for a while; renewals stay the own plan's.
    Column("trial_plan", String(200)),
    instant("trial_until_ms"),
    # The plan's terms when they last held, for a plan that has left the catalogue.
    Column("terms", JSON, nullable=False),
    instant("anchor_ms", nullable=False),
    Column("zone", String(64), nullable=False),
    # A member's, by the catalogue's rules when last seen; missing: the plan's.
    Column("cost_centre", String(64)),
    Index(None, "team_id", unique=True),
    Index(None, "plan"),
)

wallets = Table(
    "wallets",
    metadata,
    identifier("wallet_id", primary_key=True),
    Column("kind", String(16), nullable=False),
    identifier("member_id", ForeignKey("members.member_id"), unique=True),
    identifier("team_id", ForeignKey("teams.team_id")),
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
    instant("time_noticed_ms"),  # of release 0.1; see `sessions.noticed_ms`
    # The largest percentage noticed in this period.
    Column("percent_noticed", Integer, nullable=False, server_default="0"),
    instant("expiry_noticed_ms"),  # the last instant of expiry that was announced
    # What is left of the grants as booked, for lists; true if it is as of the last transaction:
    # the release before does not keep it.
    grains_column("balance_grains"),
    Column("balance_count", Integer, nullable=False, server_default="0"),
    Index(None, "next_deadline_ms"),
    Index(None, "team_id", unique=True),
)

# Wallets that burn come first, whatever else is due: they have an index of their own.
Index(
    "ix_wallets_burning",
    wallets.c.next_deadline_ms,
    sqlite_where=wallets.c.open_sessions > 0,
    postgresql_where=wallets.c.open_sessions > 0,
)

# For lists of a hundred thousand: by balance, and what will run dry soon.
Index(
    "ix_wallets_balance",
    wallets.c.kind,
    wallets.c.balance_grains,
    wallets.c.wallet_id,
    wallets.c.allotment_grains,  # so that what is low is counted from the index alone
)
Index(
    "ix_wallets_dry",
    wallets.c.dry_ms,
    sqlite_where=wallets.c.open_sessions > 0,
    postgresql_where=wallets.c.open_sessions > 0,
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
    # How many renewals what is left may survive; missing: see `rolls` (release 0.1).
    Column("rolls_left", Integer),
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
    Column("gpus", Integer, nullable=False, server_default="0"),
    Column("rate_mtok_h", BigInteger, nullable=False),
    Column("minimum_run_ms", BigInteger, nullable=False),
    Column("grace_ms", BigInteger, nullable=False),
    Column("stop_time_ms", BigInteger, nullable=False),
    Column("max_run_ms", BigInteger),  # from ready on
    Column("age", Integer, nullable=False),  # session order within the wallet
    instant("admitted_ms", nullable=False),
    instant("ready_ms"),
    instant("alive_to_ms"),
    instant("ended_ms"),
    Column("end_reason", String(64)),
    # An end that is set whatever the balance: the longest run, a freeze, a team that was left.
    instant("stop_by_ms"),
    Column("stop_by_reason", String(32)),
    # When it will be cut off as things stand, the smallest threshold at which that was said,
    # and the reason of the stop order that stands.
    instant("cut_ms"),
    instant("noticed_ms"),
    Column("stop_reason", String(32)),
    # Stop it when nothing has used it for so long, warning so long before; missing: never. When
    # its present idleness was first warned of, and the smallest threshold at which it was.
    Column("idle_stop_ms", BigInteger),
    Column("idle_warn_ms", JSON),
    instant("idle_warned_ms"),
    Column("idle_noticed_ms", BigInteger),
    instant("hub_active_ms"),  # when it last was in use, as far as the hub can see
    # Opens files only: free, beside all limits, and no part of what a dry wallet stops.
    Column("files", Boolean, nullable=False, server_default=false()),
    # Ended and booked to the end: no longer part of the wallet's walk.
    Column("settled", Boolean, nullable=False, server_default=false()),
    # What it costs less what was given back of it.
    grains_column("charged_grains"),
    grains_column("refunded_grains"),
    Index(None, "wallet_id", "settled"),
    Index("ix_sessions_unsettled", "settled", "hub"),
    Index(None, "wallet_id", "ended_ms"),
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
    # What the hash covers; 1: not the next three columns (the previous release).
    Column("version", Integer, nullable=False, server_default="1"),
    # Who did it and why, if it was not a person: see `remarks` for what people did.
    Column("actor", String(320), nullable=False, server_default="system"),
    Column("reason", String(200), nullable=False, server_default="see its kind"),
    Column("remark_hash", String(64), nullable=False, server_default=""),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    # As they were when it was booked, for reports; missing where release 0.1 has booked.
    Column("plan", String(200)),
    Column("cost_centre", String(64)),
    UniqueConstraint("wallet_id", "number"),
    Index(None, "wallet_id", "at_ms"),
    Index(None, "at_ms"),
)
# What people did stands among a thousand times as much that servers used.
_BY_PEOPLE = transactions.c.kind.in_(("topup", "adjustment", "refund"))
Index(
    "ix_transactions_by_people",
    transactions.c.booked_ms,
    sqlite_where=_BY_PEOPLE,
    postgresql_where=_BY_PEOPLE,
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

# Names and free text stand apart from the chain, so that erasing them leaves it whole. The
# transaction holds a salted hash of them; erasing empties text and salt and sets `erased_ms`.
remarks = Table(
    "remarks",
    metadata,
    identifier("transaction_id", ForeignKey("transactions.transaction_id"), primary_key=True),
    Column("actor", String(255), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("salt", String(64), nullable=False, server_default=""),
    instant("erased_ms"),
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
    Column("reason", String(32), nullable=False),  # see `records.StopReason`
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
    instant("routed_ms"),  # when the outbox decided by which channels it goes
    Index(None, "member_id", "created_ms"),
)
Index(
    "ix_notices_unrouted",
    notices.c.created_ms,
    sqlite_where=notices.c.routed_ms.is_(None),
    postgresql_where=notices.c.routed_ms.is_(None),
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
