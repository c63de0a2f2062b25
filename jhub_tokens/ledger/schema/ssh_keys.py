"""SSH public keys that open members' servers."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text

from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = ["ssh_keys"]

# A removed key keeps its row: whoever asks later which key let somebody in finds it.
ssh_keys = Table(
    "ssh_keys",
    metadata,
    identifier("key_id", primary_key=True),
    identifier("member_id", ForeignKey("members.member_id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("key", Text, nullable=False),  # "type base64", as in authorized_keys
    Column("kind", String(32), nullable=False),  # "ED25519", "RSA 4096"
    Column("fingerprint", String(64), nullable=False),  # "SHA256:…"
    instant("added_ms", nullable=False),
    instant("removed_ms"),
)
Index(
    "uq_ssh_keys_held",
    ssh_keys.c.member_id,
    ssh_keys.c.fingerprint,
    unique=True,
    sqlite_where=ssh_keys.c.removed_ms.is_(None),
    postgresql_where=ssh_keys.c.removed_ms.is_(None),
)
# A gateway is shown a key before it knows whose it is.
Index("ix_ssh_keys_fingerprint", ssh_keys.c.fingerprint)
Index("ix_ssh_keys_member_id_added_ms", ssh_keys.c.member_id, ssh_keys.c.added_ms)
