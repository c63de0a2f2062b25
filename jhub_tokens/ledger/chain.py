"""The hash chain of a wallet's transactions: an edit, a deletion and a gap become visible.

Each transaction's hash covers its own facts, its entries and the hash before it. The chain is
per wallet, since one for all wallets would make every writer wait for every other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["VERSION", "Entry", "Naming", "remark_hash", "transaction_hash"]

#: What the hashes of this release cover.
VERSION = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a transaction, in grains; the lines of a transaction sum to zero."""

    account: str
    amount: int
    grant_id: str | None = None
    session_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Naming:
    """Who made a transaction and why; covered by hashes of version 2."""

    actor: str
    reason: str
    remark_hash: str = ""


def remark_hash(salt: str, actor: str, reason: str) -> str:
    """Return the commitment to a remark; without the salt nobody can guess what was erased."""
    canonical = json.dumps([salt, actor, reason], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def transaction_hash(
    previous_hash: str,
    transaction_id: str,
    wallet_id: str,
    number: int,
    kind: str,
    at_ms: int,
    booked_ms: int,
    entries: Sequence[Entry],
    naming: Naming | None = None,
) -> str:
    """Return the SHA-256 of a transaction and everything before it, in hexadecimal.

    Without `naming` it is of version 1, as the previous release writes it.
    """
    facts = [previous_hash, transaction_id, wallet_id, number, kind, at_ms, booked_ms]
    if naming is not None:
        facts += [VERSION, naming.actor, naming.reason, naming.remark_hash]
    lines = [[e.account, e.amount, e.grant_id, e.session_id, e.from_ms, e.to_ms] for e in entries]
    canonical = json.dumps([*facts, lines], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
