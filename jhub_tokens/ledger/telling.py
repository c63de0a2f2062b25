"""Telling one member something that concerns no wallet."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.records import NoticeKind
from jhub_tokens.ledger.rows import new_id

__all__ = ["tell"]


def tell(
    connection: Connection,
    now_ms: int,
    member_id: str,
    kind: NoticeKind,
    params: Mapping[str, object],
) -> None:
    """Write a notice in the same transaction as its cause."""
    row = {
        "notice_id": new_id(),
        "member_id": member_id,
        "kind": kind,
        "params": dict(params),
        "created_ms": now_ms,
    }
    connection.execute(insert(schema.notices), row)
