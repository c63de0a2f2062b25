"""The audit: every balance and every charge derived again from the entries, and compared.

It trusts nothing but transactions and entries, and checks those against their hash chain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.chain import Entry, transaction_hash

__all__ = ["Finding", "audit"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not agree; `where` names the row."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def audit(connection: Connection) -> tuple[Finding, ...]:
    """Check all wallets and return what does not agree; nothing found: the books are clean."""
    findings: list[Finding] = []
    wallets = connection.execute(select(schema.wallets).order_by(schema.wallets.c.wallet_id))
    for row in wallets.mappings().all():
        findings.extend(_WalletAudit(connection, row).run())
    findings.extend(_strays(connection))
    return tuple(findings)


def _strays(connection: Connection) -> Iterator[Finding]:
    """Find transactions without a wallet and entries without a transaction."""
    t, e, w = schema.transactions, schema.entries, schema.wallets
    orphan_transactions = select(t.c.transaction_id).where(
        t.c.wallet_id.not_in(select(w.c.wallet_id))
    )
    orphan_entries = select(e.c.transaction_id).where(
        e.c.transaction_id.not_in(select(t.c.transaction_id))
    )
    for transaction_id in connection.execute(orphan_transactions).scalars():
        yield Finding(f"transaction {transaction_id}", "belongs to no wallet")
    for transaction_id in connection.execute(orphan_entries).scalars():
        yield Finding(f"entries of {transaction_id}", "belong to no transaction")


class _WalletAudit:
    """One wallet; single use."""

    def __init__(self, connection: Connection, wallet: Any) -> None:
        self.connection = connection
        self.wallet = wallet
        self.where = f"wallet {wallet['wallet_id']}"
        self.grants: dict[str, int] = defaultdict(int)
        self.consumed: dict[str, int] = defaultdict(int)
        self.refunded: dict[str, int] = defaultdict(int)

    def run(self) -> Iterator[Finding]:
        yield from self._transactions()
        yield from self._grants()
        yield from self._sessions()

    def _select(self, table: Any) -> Any:
        query = select(table).where(table.c.wallet_id == self.wallet["wallet_id"])
        return self.connection.execute(query).mappings()

    def _transactions(self) -> Iterator[Finding]:
        t, e = schema.transactions, schema.entries
        lines: dict[str, list[Any]] = defaultdict(list)
        query = (
            select(e)
            .join(t)
            .where(t.c.wallet_id == self.wallet["wallet_id"])
            .order_by(e.c.transaction_id, e.c.line)
        )
        for row in self.connection.execute(query).mappings():
            lines[row["transaction_id"]].append(row)
        previous_hash, number = "", 0
        for row in sorted(self._select(t), key=lambda r: r["number"]):
            number += 1
            where = f"{self.where}, transaction {row['number']} ({row['transaction_id']})"
            if row["number"] != number:
                yield Finding(where, f"number {number} is missing before it")
                number = row["number"]
            yield from self._transaction(where, row, lines[row["transaction_id"]], previous_hash)
            previous_hash = row["hash"]
        if (self.wallet["transactions_count"], self.wallet["head_hash"]) != (
            number,
            previous_hash,
        ):
            yield Finding(
                self.where,
                f"knows {self.wallet['transactions_count']} transactions, the chain holds "
                f"{number} or ends otherwise: its tail was cut or changed",
            )

    def _transaction(
        self, where: str, row: Any, lines: list[Any], previous_hash: str
    ) -> Iterator[Finding]:
        entries = [
            Entry(
                line["account"],
                line["amount_grains"],
                line["grant_id"],
                line["session_id"],
                line["from_ms"],
                line["to_ms"],
            )
            for line in lines
        ]
        if sum(entry.amount for entry in entries):
            yield Finding(where, "its entries do not sum to zero")
        digest = transaction_hash(
            previous_hash,
            row["transaction_id"],
            row["wallet_id"],
            row["number"],
            row["kind"],
            row["at_ms"],
            row["booked_ms"],
            entries,
        )
        if row["previous_hash"] != previous_hash or row["hash"] != digest:
            yield Finding(where, "its hash does not fit: it was changed after it was written")
        change = 0
        for entry in entries:
            if entry.account == "grant":
                self.grants[str(entry.grant_id)] += entry.amount
                change += entry.amount
                if self.grants[str(entry.grant_id)] < 0:
                    yield Finding(where, f"it burns grant {entry.grant_id} below nothing")
            elif entry.account == "consumed":
                self.consumed[str(entry.session_id)] += entry.amount
                if row["kind"] == "refund":
                    self.refunded[str(entry.session_id)] -= entry.amount
        if change != row["change_grains"]:
            yield Finding(where, f"says it changed {row['change_grains']}, entries say {change}")

    def _grants(self) -> Iterator[Finding]:
        rows = {row["grant_id"]: row for row in self._select(schema.grants)}
        for grant_id in sorted(set(rows) | set(self.grants)):
            where = f"{self.where}, grant {grant_id}"
            if grant_id not in rows:
                yield Finding(where, "has entries but no row")
                continue
            row = rows[grant_id]
            if row["remaining_grains"] != self.grants[grant_id]:
                yield Finding(
                    where,
                    f"has {row['remaining_grains']} left, its entries say {self.grants[grant_id]}",
                )
            if row["spent"] and row["remaining_grains"]:
                yield Finding(where, "counts as spent but is not")
            expires_ms = row["expires_ms"]
            if (
                row["remaining_grains"]
                and expires_ms is not None
                and expires_ms <= self.wallet["settled_to_ms"]
            ):
                yield Finding(where, "has expired but was not lapsed")

    def _sessions(self) -> Iterator[Finding]:
        settled_to_ms = self.wallet["settled_to_ms"]
        open_sessions = 0
        known = set()
        for row in self._select(schema.sessions):
            known.add(row["session_id"])
            where = f"{self.where}, session {row['session_id']}"
            charged = row["charged_grains"]
            if charged != self.consumed[row["session_id"]]:
                yield Finding(
                    where,
                    f"was charged {charged}, its entries say {self.consumed[row['session_id']]}",
                )
            open_sessions += row["ended_ms"] is None
            if row["ready_ms"] is None:
                expected = 0
            else:
                end_ms = settled_to_ms
                if row["ended_ms"] is not None:
                    end_ms = min(end_ms, row["ended_ms"])
                # The closed form: rate × time, exact.
                expected = row["rate_mtok_h"] * max(0, end_ms - row["ready_ms"])
            refunded = row["refunded_grains"]
            if charged != expected - refunded:
                yield Finding(
                    where,
                    f"was charged {charged}, rate × time is {expected}, refunded {refunded}",
                )
            # An end learned late may turn a part of a refund into the return that was due.
            if not 0 <= refunded <= self.refunded[row["session_id"]]:
                yield Finding(
                    where,
                    f"counts {refunded} as refunded, its entries say "
                    f"{self.refunded[row['session_id']]}",
                )
            if (
                row["ended_ms"] is not None
                and not row["settled"]
                and (row["ended_ms"] <= settled_to_ms)
            ):
                yield Finding(where, "has ended and is booked, but does not count as settled")
        for session_id in set(self.consumed) - known:
            yield Finding(f"{self.where}, session {session_id}", "was charged but has no row")
        if open_sessions != self.wallet["open_sessions"]:
            yield Finding(
                self.where,
                f"counts {self.wallet['open_sessions']} open sessions, there are {open_sessions}",
            )
