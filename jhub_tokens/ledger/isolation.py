"""One wallet's trouble is not everybody's: operations on many wallets fail one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, update

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.records import LedgerError

__all__ = ["isolated"]

log = logging.getLogger(__name__)

T = TypeVar("T")

#: A wallet that could not be advanced is looked at again after this time.
TROUBLE_WAIT_MS = 60_000


def isolated(
    connection: Connection, now_ms: int, member_id: str, operation: Callable[[], T]
) -> T | None:
    """Run an operation on one wallet of several; undo and log it if the wallet is at fault.

    Returns None then. A failing database is everybody's trouble and is raised.
    """
    try:
        with connection.begin_nested():
            return operation()
    except (LedgerError, AssertionError, KeyError, ValueError):
        log.exception("The wallet of member %s cannot be advanced", member_id)
        wallets = schema.wallets
        connection.execute(
            update(wallets)
            .where(wallets.c.member_id == member_id)
            .values(next_deadline_ms=now_ms + TROUBLE_WAIT_MS)
        )
        return None
