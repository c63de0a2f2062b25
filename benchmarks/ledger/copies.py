"""Filling a database with copies of a model member, in SQL, so that millions of rows take minutes.

A copy's ids are the model's with other digits at their end; everything else about it is the
same, and its transactions hang together in a chain of their own, so that the audit finds copies
as clean as the model.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Boolean, Table

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.databases import Site
from jhub_tokens.ledger import schema

__all__ = ["DIGITS", "FIRST_SUFFIX", "IDENTIFIER", "Model", "copied", "populate", "suffix"]

#: An identifier wherever it stands; a copy has other last digits.
IDENTIFIER = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
DIGITS = 8
FIRST_SUFFIX = 10_000_000

#: From so many copies on, making the indexes anew is faster than keeping them up.
_MANY = 5_000

_Part = str | None  # a literal text, or None where the copy's digits go


@dataclass(frozen=True, slots=True)
class Model:
    """A member's rows in all tables, and what the hashes of its chain were made from."""

    rows: dict[str, list[dict[str, Any]]]
    hashed: dict[str, str]  # digest → text
    now_ms: int

    def only(self, table: str) -> dict[str, Any]:
        """Return the only row of a table."""
        (row,) = self.rows[table]
        return row


def suffix(number: int) -> str:
    """Return the last digits of every id of copy `number`."""
    return str(FIRST_SUFFIX + number)


def copied(value: str, digits: str) -> str:
    """Return what a model's text is in the copy that has these digits."""
    return IDENTIFIER.sub(lambda found: found[0][:-DIGITS] + digits, value)


def populate(site: Site, name: str, model: Model, count: int, *, first: int = 0) -> None:
    """Add `count` copies of a model, from number `first` on, to a database.

    All members' first rows of a table are inserted before the second ones, and so on, so that
    the rows of one member lie as far apart as those of a member who joined long ago.
    """
    connection = site.bulk(name)
    try:
        filling = _Filling(connection, site.kind == "sqlite", model)
        indexes = filling.drop_indexes() if count >= _MANY else []
        filling.run(first, count)
        for index in indexes:
            filling.execute(index)
    finally:
        connection.close()


class _Filling:
    """One call of `populate`; single use."""

    def __init__(self, connection: Any, is_sqlite: bool, model: Model) -> None:
        self.connection = connection
        self.is_sqlite = is_sqlite
        self.model = model
        self.sha256 = "sha256_hex" if is_sqlite else "pg_temp.sha256_hex"

    def run(self, first: int, count: int) -> None:
        self._prepare(first, count)
        for table in schema.metadata.sorted_tables:
            rows = self.model.rows[table.name]
            if table is schema.transactions:
                rows = sorted(rows, key=lambda row: row["number"])
            for row in rows:
                self._row(table, row)
        wallet_id = self._text(self.model.only("wallets")["wallet_id"])
        self.execute(
            "UPDATE wallets SET head_hash = (SELECT t.hash FROM transactions t WHERE"
            " t.wallet_id = wallets.wallet_id AND t.number = wallets.transactions_count)"
            f" WHERE transactions_count > 0 AND wallet_id IN (SELECT {wallet_id} FROM series s)"
        )
        self.execute("DROP TABLE series")

    def drop_indexes(self) -> list[str]:
        """Drop the indexes that no constraint needs; return the statements that make them."""
        if self.is_sqlite:
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        else:
            query = (
                "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
                " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
            )
        found = self.connection.execute(query).fetchall()
        for name, _ in found:
            self.execute(f"DROP INDEX {name}")
        return [str(definition) for _, definition in found]

    def execute(self, text: str) -> None:
        """Run a statement without parameters."""
        if self.is_sqlite:
            self.connection.execute(text)
        else:
            self.connection.execute(text.encode())

    def _prepare(self, first: int, count: int) -> None:
        last = first + count - 1
        if self.is_sqlite:
            self.connection.create_function("sha256_hex", 1, _sha256_hex, deterministic=True)
            source = (
                f"WITH RECURSIVE g(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM g"
                f" WHERE n < {last}) SELECT n, CAST({FIRST_SUFFIX} + n AS TEXT) AS digits"
                " FROM g"
            )
        else:
            self.execute(
                "CREATE FUNCTION pg_temp.sha256_hex(text) RETURNS text LANGUAGE sql IMMUTABLE AS"
                " $$ SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex') $$"
            )
            source = (
                f"SELECT n, CAST({FIRST_SUFFIX} + n AS TEXT) AS digits"
                f" FROM generate_series({first}::bigint, {last}) AS g(n)"
            )
        self.execute(f"CREATE TEMPORARY TABLE series AS {source}")
        if not self.is_sqlite:
            self.execute("ANALYZE series")

    def _row(self, table: Table, row: dict[str, Any]) -> None:
        """Insert the copies of one row; one without an id in its key is everybody's."""
        keys = [str(row[column.name]) for column in table.primary_key]
        shared = not any(IDENTIFIER.search(key) for key in keys)
        source = "(SELECT 0 AS n, '' AS digits) AS s" if shared else "series s"
        chain: dict[str, str] = {}
        if table is schema.transactions:
            chain = self._chain(row)
            if row["previous_hash"]:
                previous = self._previous(row)
                source += f" JOIN transactions p ON p.transaction_id = {self._text(previous)}"
        columns = ", ".join(column.name for column in table.columns)
        values = ", ".join(
            chain.get(column.name) or self._value(column, row[column.name], shared)
            for column in table.columns
        )
        where = " WHERE true ON CONFLICT DO NOTHING" if shared else ""
        self.execute(f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM {source}{where}")

    def _previous(self, row: dict[str, Any]) -> str:
        for other in self.model.rows["transactions"]:
            if other["hash"] == row["previous_hash"]:
                return str(other["transaction_id"])
        raise BenchmarkError("a model's chain has a gap")

    def _chain(self, row: dict[str, Any]) -> dict[str, str]:
        """Return what a transaction's hashes are, computed anew for each copy."""
        text = self.model.hashed.get(row["hash"])
        if text is None:
            raise BenchmarkError(
                "the chain no longer hashes with hashlib.sha256: adapt benchmarks/ledger/worlds.py"
            )
        previous = row["previous_hash"]
        if not previous:
            return {"hash": f"{self.sha256}({self._text(text)})"}
        parts = (self._text(part) for part in text.split(previous))
        return {"hash": f"{self.sha256}({' || p.hash || '.join(parts)})", "previous_hash": "p.hash"}

    def _value(self, column: Any, value: Any, shared: bool) -> str:
        if value is None:
            return "NULL"
        if isinstance(column.type, JSON):
            text = json.dumps(value) if shared else self._text(json.dumps(value))
            quoted = _quoted(text) if shared else text
            return quoted if self.is_sqlite else f"CAST({quoted} AS JSON)"
        if isinstance(column.type, Boolean):
            return str(int(value)) if self.is_sqlite else str(bool(value)).lower()
        if column.name == "hub_user_id":
            return f"{value} + s.n"
        if isinstance(value, int):
            return str(value)
        return _quoted(str(value)) if shared else self._text(str(value))

    def _text(self, value: str) -> str:
        """Return SQL for a text in which the ids are the copy's."""
        return (
            "("
            + " || ".join("s.digits" if part is None else _quoted(part) for part in _parts(value))
            + ")"
        )


def _parts(value: str) -> Iterator[_Part]:
    at = 0
    for found in IDENTIFIER.finditer(value):
        yield value[at : found.end() - DIGITS]
        yield None
        at = found.end()
    if at < len(value) or not value:
        yield value[at:]


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _sha256_hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
