"""Auditing seals: their own chain, what was kept of them elsewhere, and wallets that are gone."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.audit.findings import Finding
from jhub_tokens.ledger.exported_seals import ExportedSeals
from jhub_tokens.ledger.seals import Head, seal_hash

__all__ = ["Sealed", "check_seals", "sealed_heads"]

#: Count and hash of a head, and what sealed it.
Sealed = tuple[int, str, str]
_s, _h, _w = schema.seals.c, schema.seal_heads.c, schema.wallets.c
_HEADS = select(_h.wallet_id, _h.transactions_count, _h.head_hash).order_by(_h.line)


def check_seals(connection: Connection, exported: ExportedSeals | None) -> Iterator[Finding]:
    """Check the seals themselves; `sealed_heads` has what they say of wallets."""
    yield from _chain(connection)
    yield from _strays(connection)
    gone = (
        select(_h.wallet_id, func.max(_h.transactions_count), func.max(_h.number))
        .where(~select(_w.wallet_id).where(_w.wallet_id == _h.wallet_id).exists())
        .group_by(_h.wallet_id)
    )
    lost = {row[0] for row in connection.execute(gone)}
    for wallet_id, count, number in connection.execute(gone):
        yield _gone(wallet_id, count, f"seal {number}")
    if exported is None:
        return
    for where, message in exported.troubles:
        yield Finding(where, message)
    for number, digest in exported.seals():
        kept = connection.execute(select(_s.hash).where(_s.number == number)).scalar()
        if kept is None:
            yield Finding(f"seal {number}", "was kept outside and is gone from the books")
        elif kept != digest:
            yield Finding(f"seal {number}", "is not the one that was kept outside")
    for wallet_id, count, number in exported.wallets():
        there = connection.execute(select(_w.wallet_id).where(_w.wallet_id == wallet_id)).first()
        if there is None and wallet_id not in lost:
            yield _gone(wallet_id, count, f"the seal {number} that was kept outside")


def _gone(wallet_id: str, count: int, seal: str) -> Finding:
    return Finding(
        f"wallet {wallet_id}, transactions 1 to {count}",
        f"the whole wallet is gone; {seal} holds it",
    )


def _chain(connection: Connection) -> Iterator[Finding]:
    previous_hash, number = "", 0
    query = select(schema.seals).order_by(_s.number).execution_options(yield_per=1000)
    for row in connection.execute(query):
        where = f"seal {row.number}"
        if row.number != number + 1:
            yield Finding(where, f"seal {number + 1} is missing before it")
        heads = [Head(*head) for head in connection.execute(_HEADS.where(_h.number == row.number))]
        digest = seal_hash(row.previous_hash, row.number, row.sealed_ms, heads)
        if row.previous_hash != previous_hash:
            yield Finding(where, "does not follow from the seal before it")
        if row.hash != digest or row.heads != len(heads):
            yield Finding(where, "its hash does not fit: it was changed after it was written")
        previous_hash, number = row.hash, row.number


def _strays(connection: Connection) -> Iterator[Finding]:
    numbers = select(_s.number).where(_s.number == _h.number).exists()
    for number in connection.execute(select(_h.number).where(~numbers).distinct()).scalars():
        yield Finding(f"seal {number}", "has heads but is gone")


def sealed_heads(
    connection: Connection, wallet_ids: list[str], exported: ExportedSeals | None
) -> dict[str, list[Sealed]]:
    """Return the sealed heads of wallets in the order of their counts."""
    found: dict[str, list[Sealed]] = {wallet_id: [] for wallet_id in wallet_ids}
    query = select(schema.seal_heads).where(_h.wallet_id.in_(wallet_ids))
    for row in connection.execute(query):
        seal = f"seal {row.number}"
        found[row.wallet_id].append((row.transactions_count, row.head_hash, seal))
    if exported is not None:
        for wallet_id, heads in exported.heads_of(wallet_ids).items():
            for count, digest, number in heads:
                seal = f"the seal {number} that was kept outside"
                found[wallet_id].append((count, digest, seal))
    return {wallet_id: sorted(heads) for wallet_id, heads in found.items()}
