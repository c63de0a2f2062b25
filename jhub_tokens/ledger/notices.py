"""What members are told on their pages. How it reaches them elsewhere is the outbox's matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, insert, select, update

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.records import NoticeKind, NoticeRecord
from jhub_tokens.ledger.rows import new_id

__all__ = ["mark_seen", "notice_record", "notices_of", "tell"]

_notices, _settings = schema.notices, schema.member_settings


def tell(
    connection: Connection,
    now_ms: int,
    member_id: str,
    kind: NoticeKind,
    params: Mapping[str, object],
) -> None:
    """Tell a member something that concerns no wallet, in the transaction of its cause."""
    row = {
        "notice_id": new_id(),
        "member_id": member_id,
        "kind": kind,
        "params": dict(params),
        "created_ms": now_ms,
    }
    connection.execute(insert(schema.notices), row)


def notices_of(
    connection: Connection, member_id: str, *, unseen_only: bool, limit: int
) -> tuple[NoticeRecord, ...]:
    """Return a member's notices, newest first; see `Ledger.notices`."""
    query = (
        select(_notices, _settings.c.language, _settings.c.zone)
        .outerjoin(_settings, _settings.c.member_id == _notices.c.member_id)
        .where(_notices.c.member_id == member_id)
    )
    if unseen_only:
        query = query.where(_notices.c.seen_ms.is_(None))
    query = query.order_by(_notices.c.created_ms.desc(), _notices.c.notice_id).limit(limit)
    return tuple(notice_record(row) for row in connection.execute(query).mappings())


def mark_seen(
    connection: Connection, now_ms: int, member_id: str, notice_ids: Iterable[str]
) -> None:
    """Note that a member has seen these notices; those seen before keep their instant."""
    seen = update(_notices).where(
        _notices.c.member_id == member_id,
        _notices.c.notice_id.in_(list(notice_ids)),
        _notices.c.seen_ms.is_(None),
    )
    connection.execute(seen.values(seen_ms=now_ms))


def notice_record(row: Any) -> NoticeRecord:
    """Return the record of a row with a notice's columns and its member's language and zone."""
    return NoticeRecord(
        row["notice_id"],
        row["member_id"],
        row["kind"],
        row["params"],
        row["created_ms"],
        row["language"] or "en",
        row["zone"],
    )
