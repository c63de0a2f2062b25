"""The audit: every projection derived again from the entries, and compared.

It trusts nothing but transactions and entries, and checks those against their hash chains, and
the chains against their seals. Wallets are read in batches and their entries as a stream: what
it needs of memory grows with the grants and sessions of a few wallets, not with the books.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from jhub_tokens.ledger.audit.closed import check_closed
from jhub_tokens.ledger.audit.findings import Finding
from jhub_tokens.ledger.audit.records import check_records
from jhub_tokens.ledger.audit.sealed import check_seals
from jhub_tokens.ledger.audit.wallets import check_strays, check_wallets
from jhub_tokens.ledger.exported_seals import ExportedSeals

__all__ = ["Finding", "audit"]


def audit(
    connection: Connection, now_ms: int, exported: ExportedSeals | None = None
) -> Iterator[Finding]:
    """Check everything and yield what does not agree; nothing found: the books are clean."""
    yield from check_seals(connection, exported)
    yield from check_wallets(connection, now_ms, exported)
    yield from check_strays(connection)
    yield from check_records(connection)
    yield from check_closed(connection)
