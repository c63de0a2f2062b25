"""Auditing a wallet's chain: numbers, hashes, sums, names, and the heads that were sealed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from jhub_tokens.ledger.audit.findings import Finding
from jhub_tokens.ledger.audit.sealed import Sealed
from jhub_tokens.ledger.chain import VERSION, Entry, Naming, remark_hash, transaction_hash

__all__ = ["ChainAudit"]

#: What only people do (or providers in their name): such a transaction has a remark.
_BY_PEOPLE = ("topup", "adjustment", "refund", "voucher", "trial", "upgrade", "reversal")


class ChainAudit:
    """One wallet's transactions, taken in order; single use."""

    def __init__(self, wallet: Any, sealed: Sequence[Sealed]) -> None:
        self._wallet = wallet
        self._where = f"wallet {wallet['wallet_id']}"
        self._sealed = list(sealed)
        self._at = 0  # of the sealed heads
        self._agreed = 0  # the last number at which a sealed head agreed
        self._rewritten = False
        self._number = 0
        self._hash = ""

    def take(self, lines: Sequence[Any]) -> Iterator[Finding]:
        """Check the next transaction, given as the rows of its entries."""
        row = lines[0]
        where = f"{self._where}, transaction {row.number} ({row.transaction_id})"
        if row.number != self._number + 1:
            yield Finding(where, f"number {self._number + 1} is missing before it")
        self._number = row.number
        yield from self._hashes(where, row, lines)
        yield from _names(where, row)
        yield from self._compare_sealed()

    def close(self) -> Iterator[Finding]:
        """Check the end of the chain."""
        known = (self._wallet["transactions_count"], self._wallet["head_hash"])
        if known != (self._number, self._hash):
            yield Finding(
                self._where,
                f"knows {known[0]} transactions, the chain holds {self._number} or ends "
                "otherwise: its tail was cut or changed",
            )
        if self._at < len(self._sealed):
            count, _, seal = self._sealed[-1]
            yield Finding(
                f"{self._where}, transactions {self._number + 1} to {count}",
                f"the tail was cut: {seal} holds {count} transactions",
            )

    def _hashes(self, where: str, row: Any, lines: Sequence[Any]) -> Iterator[Finding]:
        entries = [
            Entry(e.account, e.amount_grains, e.grant_id, e.session_id, e.from_ms, e.to_ms)
            for e in lines
            if e.account is not None
        ]
        if not entries:
            yield Finding(where, "has no entries")
        if sum(entry.amount for entry in entries):
            yield Finding(where, "its entries do not sum to zero")
        change = sum(entry.amount for entry in entries if entry.account == "grant")
        if change != row.change_grains:
            yield Finding(where, f"says it changed {row.change_grains}, entries say {change}")
        naming = None
        if row.version != 1:
            naming = Naming(row.actor, row.reason, row.remark_hash)
        digest = transaction_hash(
            self._hash,
            row.transaction_id,
            row.wallet_id,
            row.number,
            row.kind,
            row.at_ms,
            row.booked_ms,
            entries,
            naming,
        )
        fits = row.previous_hash == self._hash and row.hash == digest
        if not fits or row.version not in (1, VERSION):
            yield Finding(where, "its hash does not fit: it was changed after it was written")
        self._hash = row.hash

    def _compare_sealed(self) -> Iterator[Finding]:
        """Compare with all that was sealed at this number: seals can be forged as well."""
        here: list[Sealed] = []
        while self._at < len(self._sealed) and self._sealed[self._at][0] <= self._number:
            here.append(self._sealed[self._at])
            self._at += 1
        # A number that is missing is told already.
        here = [head for head in here if head[0] == self._number]
        wrong = next((seal for _, digest, seal in here if digest != self._hash), None)
        if here and wrong is None and not self._rewritten:
            self._agreed = self._number
        elif wrong is not None and not self._rewritten:
            self._rewritten = True
            yield Finding(
                f"{self._where}, transactions {self._agreed + 1} to {self._number}",
                f"were written anew: their hash is not what {wrong} holds",
            )


def _names(where: str, row: Any) -> Iterator[Finding]:
    """Check that a transaction names who and why, and that what a person said was kept."""
    if row.erased_ms is not None:
        return  # somebody's data, erased: that there was a remark stands in the transaction
    if row.remarked is None and (row.remark_hash or row.kind in _BY_PEOPLE):
        yield Finding(where, "its remark is missing: it does not say who did it and why")
        return
    if row.remark_hash and remark_hash(row.salt, row.said_by, row.said) != row.remark_hash:
        yield Finding(where, "its remark was changed after it was written")
    if not ((row.said_by or "").strip() or row.actor.strip()):
        yield Finding(where, "names no actor")
    if not ((row.said or "").strip() or row.reason.strip()):
        yield Finding(where, "names no reason")
