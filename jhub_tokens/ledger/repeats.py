"""Idempotency: a caller's key and a hash of the request; told twice, it is done once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.records import LedgerError

__all__ = ["Repeat"]


class Repeat:
    """One request by its key; look for its answer under the lock that the request needs."""

    def __init__(
        self, connection: Connection, caller: str, key: str, request: Sequence[object]
    ) -> None:
        self._connection = connection
        self._caller = caller
        self._key = key
        self._digest = hashlib.sha256(json.dumps(list(request)).encode()).hexdigest()

    def answer(self) -> dict[str, Any] | None:
        """Return what was answered before, None if the key is new.

        Raises
        ------
        LedgerError
            If the key was used for another request (code ``idempotency_conflict``).
        """
        table = schema.idempotency
        query = select(table).where(table.c.caller == self._caller, table.c.key == self._key)
        row = self._connection.execute(query).mappings().first()
        if row is None:
            return None
        if row["request_hash"] != self._digest:
            raise LedgerError(
                "idempotency_conflict",
                _("This key was used for another request; make a new key for each."),
                "key",
            )
        answer: dict[str, Any] = row["answer"]
        return answer

    def keep(self, answer: Mapping[str, Any], now_ms: int) -> None:
        """Keep the answer for the next time."""
        row = {
            "caller": self._caller,
            "key": self._key,
            "request_hash": self._digest,
            "answer": dict(answer),
            "created_ms": now_ms,
        }
        self._connection.execute(insert(schema.idempotency), row)
