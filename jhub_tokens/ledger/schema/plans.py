"""Tables of teams, scheduled changes of plan, and the periods that wallets have lived through."""

from __future__ import annotations

from sqlalchemy import (
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
)

from jhub_tokens.ledger.schema.base import grains, identifier, instant, metadata

__all__ = ["plan_changes", "team_invitations", "team_members", "teams", "wallet_periods"]

# A team is an entry of the catalogue; its wallet outlives the entry.
teams = Table(
    "teams",
    metadata,
    identifier("team_id", primary_key=True),
    Column("name", String(200), nullable=False),
    instant("created_ms", nullable=False),
    UniqueConstraint("name"),
)

team_members = Table(
    "team_members",
    metadata,
    identifier("team_id", ForeignKey("teams.team_id"), primary_key=True),
    identifier("member_id", ForeignKey("members.member_id"), primary_key=True),
    instant("joined_ms", nullable=False),
    instant("left_ms"),
    # What this member may spend of the team's wallet in a period; missing: the catalogue's cap.
    grains("cap_grains", nullable=True),
    # In it by an owner's invitation, whatever the hub's groups say.
    Column("invited", Boolean, nullable=False, server_default=false()),
    Index(None, "member_id"),
)

team_invitations = Table(
    "team_invitations",
    metadata,
    identifier("invitation_id", primary_key=True),
    identifier("team_id", ForeignKey("teams.team_id"), nullable=False),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),  # who is invited
    identifier("invited_by", ForeignKey("members.member_id"), nullable=False),
    instant("invited_ms", nullable=False),
    instant("answered_ms"),
    Column("answer", String(16), nullable=False, server_default=""),  # see `invitations.Answer`
    Index(None, "member_id"),
    Index(None, "team_id"),
)

plan_changes = Table(
    "plan_changes",
    metadata,
    identifier("change_id", primary_key=True),
    identifier("subscription_id", ForeignKey("subscriptions.subscription_id"), nullable=False),
    Column("kind", String(16), nullable=False),  # see `records.ChangeKind`
    Column("plan", String(200), nullable=False),
    instant("at_ms", nullable=False),
    instant("created_ms", nullable=False),
    instant("applied_ms"),
    instant("revoked_ms"),
    Column("actor", String(255), nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Index(None, "subscription_id", "at_ms"),
    Index(None, "created_ms"),
)

# Written when a period begins: which plan held, at what price, and the balance brought forward,
# so that a statement need not add up a wallet's whole history.
wallet_periods = Table(
    "wallet_periods",
    metadata,
    identifier("wallet_id", ForeignKey("wallets.wallet_id"), primary_key=True),
    Column("n", Integer, primary_key=True),
    instant("start_ms", nullable=False),
    instant("end_ms", nullable=False),
    Column("plan", String(200), nullable=False),
    Column("price_minor", BigInteger),  # in the currency's smallest unit
    Column("currency", String(3)),
    grains("allotment_grains"),
    grains("opening_grains"),
    Index(None, "start_ms"),
)
