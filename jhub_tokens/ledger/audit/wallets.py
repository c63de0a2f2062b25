"""Auditing wallets: read in batches, their transactions and entries as one stream."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Table, or_, select

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.audit.chains import ChainAudit
from jhub_tokens.ledger.audit.findings import Finding
from jhub_tokens.ledger.audit.projections import ProjectionAudit
from jhub_tokens.ledger.audit.sealed import sealed_heads
from jhub_tokens.ledger.exported_seals import ExportedSeals

__all__ = ["check_strays", "check_wallets"]

_BATCH = 200
_STREAMED = 2000
_t, _e, _r, _w = (
    schema.transactions.c,
    schema.entries.c,
    schema.remarks.c,
    schema.wallets.c,
)
_LINES = (
    select(
        _t.wallet_id, _t.transaction_id, _t.number, _t.kind, _t.at_ms, _t.booked_ms,
        _t.change_grains, _t.version, _t.actor, _t.reason, _t.remark_hash, _t.previous_hash,
        _t.hash, _e.account, _e.amount_grains, _e.grant_id, _e.session_id, _e.from_ms, _e.to_ms,
        _r.transaction_id.label("remarked"), _r.actor.label("said_by"), _r.reason.label("said"),
        _r.salt, _r.erased_ms,
    )
    .outerjoin_from(
        schema.transactions, schema.entries, _e.transaction_id == _t.transaction_id
    )
    .outerjoin(schema.remarks, _r.transaction_id == _t.transaction_id)
    .order_by(_t.wallet_id, _t.number, _e.line)
)  # fmt: skip


def check_wallets(
    connection: Connection, now_ms: int, exported: ExportedSeals | None
) -> Iterator[Finding]:
    """Check every wallet, and that everything together sums to zero."""
    total = 0
    last = ""
    while True:
        query = select(schema.wallets).where(_w.wallet_id > last).order_by(_w.wallet_id)
        batch = connection.execute(query.limit(_BATCH)).mappings().all()
        if not batch:
            break
        last = batch[-1]["wallet_id"]
        total += yield from _batch(connection, now_ms, batch, exported)
    if total:
        # Python's integers: the sum of all wallets may pass what a database can hold.
        yield Finding("all wallets", f"everything together sums to {total} grains, not to zero")


def _batch(
    connection: Connection, now_ms: int, batch: Any, exported: ExportedSeals | None
) -> Generator[Finding, None, int]:
    wallet_ids = [row["wallet_id"] for row in batch]
    heads = sealed_heads(connection, wallet_ids, exported)
    grants = _rows(connection, schema.grants, wallet_ids)
    sessions = _rows(connection, schema.sessions, wallet_ids)
    periods = _rows(connection, schema.wallet_periods, wallet_ids)
    subscriptions = _subscriptions(connection, batch)
    audits = {row["wallet_id"]: ChainAudit(row, heads[row["wallet_id"]]) for row in batch}
    tallies = {
        row["wallet_id"]: ProjectionAudit(
            row,
            subscriptions.get(row["member_id"] or row["team_id"]),
            grants[row["wallet_id"]],
            sessions[row["wallet_id"]],
            sorted(periods[row["wallet_id"]], key=lambda period: period["n"]),
        )
        for row in batch
    }
    total = 0
    stream = _LINES.where(_t.wallet_id.in_(wallet_ids)).execution_options(yield_per=_STREAMED)
    for _, lines in groupby(connection.execute(stream), key=lambda line: line.transaction_id):
        transaction = list(lines)
        wallet_id = transaction[0].wallet_id
        yield from audits[wallet_id].take(transaction)
        yield from tallies[wallet_id].take(transaction)
        total += sum(line.amount_grains or 0 for line in transaction)
    for wallet_id in wallet_ids:
        yield from audits[wallet_id].close()
        yield from tallies[wallet_id].close(now_ms)
    return total


def _rows(connection: Connection, table: Table, wallet_ids: list[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    query = select(table).where(table.c.wallet_id.in_(wallet_ids))
    for row in connection.execute(query).mappings():
        found[row["wallet_id"]].append(row)
    return found


def _subscriptions(connection: Connection, batch: Any) -> dict[str, Any]:
    table = schema.subscriptions
    members = [row["member_id"] for row in batch if row["member_id"]]
    teams = [row["team_id"] for row in batch if row["team_id"]]
    query = select(table).where(or_(table.c.member_id.in_(members), table.c.team_id.in_(teams)))
    return {row["member_id"] or row["team_id"]: row for row in connection.execute(query).mappings()}


def check_strays(connection: Connection) -> Iterator[Finding]:
    """Find rows that belong to nothing."""
    t, e, r, w = schema.transactions, schema.entries, schema.remarks, schema.wallets
    g, s, p = schema.grants, schema.sessions, schema.wallet_periods
    for table, parent, key, name in (
        (t, w, "wallet_id", "transaction"),
        (g, w, "wallet_id", "grant"),
        (s, w, "wallet_id", "session"),
        (p, w, "wallet_id", "period of"),
        (e, t, "transaction_id", "entries of"),
        (r, t, "transaction_id", "remark of"),
    ):
        there = select(parent.c[key]).where(parent.c[key] == table.c[key]).exists()
        own = next(iter(table.primary_key.columns))
        for row_id in connection.execute(select(own).where(~there).distinct()).scalars():
            kind = "wallet" if parent is w else "transaction"
            yield Finding(f"{name} {row_id}", f"belongs to no {kind}")
