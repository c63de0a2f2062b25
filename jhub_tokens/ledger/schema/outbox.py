"""Tables of how members want to be told, and of what is on its way to them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
)

from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = ["deliveries", "member_settings"]

# A member without a row has the defaults; see `member_settings.MemberSettings`.
member_settings = Table(
    "member_settings",
    metadata,
    identifier("member_id", ForeignKey("members.member_id"), primary_key=True),
    Column("language", String(8), nullable=False),
    # Whether pages are in the language of the browser; what is sent is in `language` all the same.
    Column("follows_browser", Boolean, nullable=False, server_default=false()),
    Column("zone", String(64)),  # to show instants in; missing: the billing zone
    Column("channels", JSON, nullable=False),  # beside the console
    Column("urgency", String(16), nullable=False),  # the least that is sent by these channels
    Column("email", String(320)),
    instant("email_confirmed_ms"),
    # An address that waits to be confirmed, when the last mail went to one, and how many did.
    Column("email_asked", String(320)),
    instant("email_asked_ms"),
    Column("email_asks", Integer, nullable=False, server_default="0"),
)

# A notice on its way by one channel. Nothing but the outbox writes here.
deliveries = Table(
    "deliveries",
    metadata,
    identifier("notice_id", ForeignKey("notices.notice_id"), primary_key=True),
    Column("channel", String(64), primary_key=True),
    Column("state", String(16), nullable=False),  # waiting, sent, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    instant("next_try_ms", nullable=False),  # whoever looks from then on may take it
    instant("lease_until_ms"),  # who has taken it sends before this instant
    instant("done_ms"),
    Column("last_error", Text),
)
Index(
    "ix_deliveries_waiting",
    deliveries.c.next_try_ms,
    sqlite_where=deliveries.c.state == "waiting",
    postgresql_where=deliveries.c.state == "waiting",
)
