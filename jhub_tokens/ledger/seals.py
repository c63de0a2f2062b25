"""Seals: the heads of all chains, bound into one chain that can be kept outside the database.

A wallet's chain finds what was changed within it, but whoever writes to the database can also
make the chain anew. A seal holds the heads as they were; once it is kept elsewhere, nothing
before it can be changed unseen. Each seal holds only the heads that changed since the seals
before it and its hash covers the seal before it, so that the last seal covers every wallet.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, exists, func, insert, select, text

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.runner import Runner

__all__ = ["Head", "Seal", "SealBooks", "seal_facts", "seal_hash", "seal_mac"]

#: The heads of one seal at most, so that no seal is large or written for long; what is left
#: over goes into the next one.
HEADS_MAX = 10_000
#: Serialises sealing by several replicas on PostgreSQL.
_SEAL_LOCK = 0x6A75
_w, _s, _h = schema.wallets.c, schema.seals.c, schema.seal_heads.c

_LAST = select(schema.seals).order_by(_s.number.desc()).limit(1)
_CHANGED = (
    select(_w.wallet_id, _w.transactions_count, _w.head_hash)
    .where(
        _w.transactions_count > 0,
        ~exists().where(
            _h.wallet_id == _w.wallet_id,
            _h.transactions_count == _w.transactions_count,
            _h.head_hash == _w.head_hash,
        ),
    )
    .order_by(_w.wallet_id)
    .limit(bindparam("heads_max"))
)


class Head(NamedTuple):
    """The last transaction of a wallet's chain at the time of a seal."""

    wallet_id: str
    transactions_count: int
    head_hash: str


class Seal(NamedTuple):
    """A seal with its heads; without them, as short as it can be kept in a log."""

    number: int
    sealed_ms: int
    previous_hash: str
    hash: str
    heads_count: int
    heads: tuple[Head, ...] | None = None


def seal_hash(previous_hash: str, number: int, sealed_ms: int, heads: Sequence[Head]) -> str:
    """Return the SHA-256 of a seal and all seals before it, in hexadecimal."""
    canonical = json.dumps(
        [previous_hash, number, sealed_ms, [list(head) for head in heads]],
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def seal_mac(key: str, digest: str) -> str:
    """Return the HMAC of a seal's hash under the operator's key."""
    return hmac.new(key.encode(), digest.encode("ascii"), hashlib.sha256).hexdigest()


def seal_facts(seal: Seal, key: str = "") -> dict[str, Any]:
    """Return a seal as it is kept outside: its facts, signed if there is a key, and its heads."""
    told: dict[str, Any] = {
        "seal": seal.number,
        "sealed_ms": seal.sealed_ms,
        "previous_hash": seal.previous_hash,
        "hash": seal.hash,
        "heads_count": seal.heads_count,
    }
    if key:
        told["mac"] = seal_mac(key, seal.hash)
    if seal.heads is not None:
        told["heads"] = [list(head) for head in seal.heads]
    return told


class SealBooks:
    """The operations on seals."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def make(self, *, every_ms: int = 0, heads_max: int = HEADS_MAX) -> list[Seal]:
        """Seal all heads that changed; return the new seals, without their heads.

        Several replicas may ask at once: nothing is sealed twice, and nothing if the last seal
        is younger than `every_ms`. No wallet is locked.
        """
        last = self.last()
        if last is not None and self._runner.clock.now_ms() - last.sealed_ms < every_ms:
            return []
        made: list[Seal] = []
        while True:
            seal = self._runner.write(_make, heads_max)
            if seal is None:
                return made
            made.append(seal)
            if seal.heads_count < heads_max:
                return made

    def last(self) -> Seal | None:
        """Return the last seal without its heads, None if nothing was sealed yet."""
        return self._runner.read(_last)

    def after(self, number: int) -> Iterator[Seal]:
        """Yield the seals after seal `number` with their heads, from the oldest on."""
        while True:
            seal = self._runner.read(_next, number)
            if seal is None:
                return
            yield seal
            number = seal.number

    def hash_of(self, number: int) -> str | None:
        """Return the hash of seal `number`, None if there is no such seal."""
        return self._runner.read(_hash_of, number)


def _make(connection: Connection, catalogue: Catalogue, now_ms: int, heads_max: int) -> Seal | None:
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_SEAL_LOCK})"))
    heads = [Head(*row) for row in connection.execute(_CHANGED, {"heads_max": heads_max})]
    if not heads:
        return None
    last = connection.execute(_LAST).first()
    number, previous_hash = (1, "") if last is None else (last.number + 1, last.hash)
    digest = seal_hash(previous_hash, number, now_ms, heads)
    connection.execute(
        insert(schema.seals),
        {
            "number": number,
            "sealed_ms": now_ms,
            "heads": len(heads),
            "previous_hash": previous_hash,
            "hash": digest,
        },
    )
    rows = [{"number": number, "line": line, **head._asdict()} for line, head in enumerate(heads)]
    connection.execute(insert(schema.seal_heads), rows)
    return Seal(number, now_ms, previous_hash, digest, len(heads))


def _last(connection: Connection, catalogue: Catalogue, now_ms: int) -> Seal | None:
    row = connection.execute(_LAST).first()
    return None if row is None else _record(row)


def _next(connection: Connection, catalogue: Catalogue, now_ms: int, after: int) -> Seal | None:
    query = select(schema.seals).where(_s.number > after).order_by(_s.number).limit(1)
    row = connection.execute(query).first()
    if row is None:
        return None
    of_seal = select(_h.wallet_id, _h.transactions_count, _h.head_hash).where(
        _h.number == row.number
    )
    heads = connection.execute(of_seal.order_by(_h.line))
    return _record(row)._replace(heads=tuple(Head(*head) for head in heads))


def _hash_of(connection: Connection, catalogue: Catalogue, now_ms: int, number: int) -> str | None:
    query = select(func.max(_s.hash)).where(_s.number == number)
    found: str | None = connection.execute(query).scalar()
    return found


def _record(row: Any) -> Seal:
    return Seal(row.number, row.sealed_ms, row.previous_hash, row.hash, row.heads)
