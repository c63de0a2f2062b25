"""The hash chain of a wallet's transactions: an edit, a deletion and a gap become visible.

Each transaction's hash covers its own facts, its entries and the hash before it. The chain is
per wallet, since one for all wallets would make every writer wait for every other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Entry", "transaction_hash"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a transaction, in grains; the lines of a transaction sum to zero."""

    account: str
    amount: int
    grant_id: str | None = None
    session_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None


def transaction_hash(
    previous_hash: str,
    transaction_id: str,
    wallet_id: str,
    number: int,
    kind: str,
    at_ms: int,
    booked_ms: int,
    entries: Sequence[Entry],
) -> str:
    """Return the SHA-256 of a transaction and everything before it, in hexadecimal."""
    facts = [previous_hash, transaction_id, wallet_id, number, kind, at_ms, booked_ms]
    lines = [[e.account, e.amount, e.grant_id, e.session_id, e.from_ms, e.to_ms] for e in entries]
    canonical = json.dumps([*facts, lines], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
