"""Auditing what refers to transactions: repeated requests, vouchers, invoices, limits, plans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, and_, func, select

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.audit.findings import Finding
from jhub_tokens.ledger.payments import asked_back
from jhub_tokens.units import GRAINS_PER_MILLITOKEN

__all__ = ["check_records"]

_STREAMED = 1000
_t, _w = schema.transactions, schema.wallets


def check_records(connection: Connection) -> Iterator[Finding]:
    """Check everything beside the wallets that can be derived."""
    yield from _check_requests(connection)
    yield from _check_vouchers(connection)
    yield from _check_invoices(connection)
    yield from _check_plan_changes(connection)


def _rows(connection: Connection, query: Any) -> Iterator[Any]:
    yield from connection.execute(query.execution_options(yield_per=_STREAMED)).mappings()


# --- repeated requests, and what administrators moved -------------------------------------------


def _check_requests(connection: Connection) -> Iterator[Finding]:
    """Check that answers name what is there, and each administrator's months with them."""
    zone = connection.execute(
        select(schema.subscriptions.c.zone)
        .order_by(schema.subscriptions.c.anchor_ms.desc())
        .limit(1)
    ).scalar()
    moved: dict[tuple[str, str], int] = defaultdict(int)
    batches = schema.voucher_batches
    for row in _rows(connection, select(schema.idempotency)):
        where = f"request {row['key']} of {row['caller']}"
        answer = row["answer"]
        amount = abs(int(answer.get("amount_grains", 0)))
        if "transaction_id" in answer:
            this = _t.c.transaction_id == answer["transaction_id"]
            if connection.execute(select(_t.c.number).where(this)).first() is None:
                yield Finding(where, f"names transaction {answer['transaction_id']}: there is none")
        if "batch_id" in answer:
            query = select(batches).where(batches.c.batch_id == answer["batch_id"])
            batch = connection.execute(query).mappings().first()
            if batch is None:
                yield Finding(where, f"names batch {answer['batch_id']}: there is none")
            else:
                amount = batch["vouchers"] * batch["amount_grains"]
        moved[row["caller"], _month(row["created_ms"], zone)] += -(-amount // GRAINS_PER_MILLITOKEN)
    yield from _check_months(connection, moved, zone)


def _month(at_ms: int, zone: str | None) -> str:
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone or "UTC"))
    return f"{local:%Y-%m}"


def _check_months(
    connection: Connection, moved: dict[tuple[str, str], int], zone: str | None
) -> Iterator[Finding]:
    """Compare what administrators moved in a month with their requests.

    Invoices marked as paid count for somebody whom no row names, so they widen the upper bound.
    The first month of all may have begun before there were limits: only too much is found then.
    """
    months = schema.admin_months
    paid: dict[str, int] = defaultdict(int)
    invoices = schema.invoices
    manual = and_(invoices.c.provider == "manual", invoices.c.paid_ms.is_not(None))
    for row in _rows(connection, select(invoices).where(manual)):
        amount = -(-row["amount_grains"] // GRAINS_PER_MILLITOKEN)
        paid[_month(row["paid_ms"], zone)] += amount
    first = connection.execute(select(func.min(months.c.month))).scalar()
    counted = {
        (r["caller"], r["month"]): r["moved_mtok"] for r in _rows(connection, select(months))
    }
    for key in sorted(set(counted) | set(moved)):
        caller, month = key
        if first is None or month < first:
            continue
        has, least = counted.get(key, 0), moved.get(key, 0)
        if has > least + paid[month] or (has < least and month > first):
            yield Finding(
                f"month {month} of {caller}",
                f"counts {has} millitokens as moved, what was asked says {least}",
            )


# --- vouchers ----------------------------------------------------------------------------------


def _check_vouchers(connection: Connection) -> Iterator[Finding]:
    v, b = schema.vouchers, schema.voucher_batches
    counts = (
        select(b.c.batch_id, b.c.vouchers, func.count(v.c.code_hash).label("there"))
        .outerjoin(v, v.c.batch_id == b.c.batch_id)
        .group_by(b.c.batch_id, b.c.vouchers)
    )
    for row in _rows(connection, counts):
        if row["vouchers"] != row["there"]:
            yield Finding(
                f"batch {row['batch_id']}",
                f"has {row['vouchers']} vouchers, there are {row['there']}",
            )
    redeemed = (
        select(v, b.c.amount_grains, _t.c.kind, _t.c.change_grains, _w.c.member_id.label("owner"))
        .join(b, b.c.batch_id == v.c.batch_id)
        .outerjoin(_t, _t.c.transaction_id == v.c.transaction_id)
        .outerjoin(_w, _w.c.wallet_id == _t.c.wallet_id)
    )
    for row in _rows(connection, redeemed):
        where = f"voucher {row['code_hash'][:12]} of batch {row['batch_id']}"
        parts = [row[name] for name in ("member_id", "redeemed_ms", "transaction_id")]
        if all(part is None for part in parts):
            continue
        said = (row["kind"], row["change_grains"], row["owner"])
        if None in parts or said != ("voucher", row["amount_grains"], row["member_id"]):
            yield Finding(where, "counts as redeemed, but no transaction of its member says so")
    named = (
        select(_t.c.transaction_id, func.count(v.c.code_hash).label("vouchers"))
        .outerjoin(v, v.c.transaction_id == _t.c.transaction_id)
        .where(_t.c.kind == "voucher")
        .group_by(_t.c.transaction_id)
    )
    for row in _rows(connection, named):
        if row["vouchers"] != 1:
            yield Finding(
                f"transaction {row['transaction_id']}",
                f"redeems one voucher, but {row['vouchers']} name it",
            )


# --- invoices ----------------------------------------------------------------------------------


def _check_invoices(connection: Connection) -> Iterator[Finding]:
    i, e = schema.invoices, schema.entries
    query = (
        select(i, _t.c.kind, _t.c.change_grains, _w.c.member_id.label("owner"))
        .outerjoin(_t, _t.c.transaction_id == i.c.transaction_id)
        .outerjoin(_w, _w.c.wallet_id == _t.c.wallet_id)
    )
    for row in _rows(connection, query):
        where = f"invoice {row['invoice_id']}"
        if row["paid_ms"] is None:
            if row["transaction_id"] or row["taken_grains"] or row["missing_grains"]:
                yield Finding(where, "is not paid, but tokens were moved for it")
            continue
        said = (row["kind"], row["change_grains"], row["owner"])
        if said != ("topup", row["amount_grains"], row["member_id"]):
            yield Finding(where, "counts as paid, but no transaction of its member says so")
        made = select(e.c.grant_id).where(
            e.c.transaction_id == row["transaction_id"], e.c.account == "grant"
        )
        if row["grant_id"] not in set(connection.execute(made).scalars()):
            yield Finding(where, f"names grant {row['grant_id']}, which its payment did not make")
        reversed_ = (
            select(e.c.amount_grains)
            .join(_t, _t.c.transaction_id == e.c.transaction_id)
            .where(e.c.grant_id == row["grant_id"], _t.c.kind == "reversal")
        )
        taken = -sum(connection.execute(reversed_).scalars())
        if row["taken_grains"] != taken:
            yield Finding(where, f"had {row['taken_grains']} taken back, its entries say {taken}")
        missing = asked_back(connection, dict(row)) - taken
        if row["missing_grains"] != missing:
            yield Finding(
                where, f"misses {row['missing_grains']}, refunds and disputes say {missing}"
            )


# --- plans -------------------------------------------------------------------------------------


def _check_plan_changes(connection: Connection) -> Iterator[Finding]:
    c, s = schema.plan_changes, schema.subscriptions
    owned = and_(_w.c.member_id == s.c.member_id)
    query = (
        select(c, s.c.next_plan, _w.c.period_start_ms)
        .join(s, s.c.subscription_id == c.c.subscription_id)
        .join(_w, owned)
    )
    for row in _rows(connection, query):
        where = f"plan change {row['change_id']}"
        applied, revoked = row["applied_ms"] is not None, row["revoked_ms"] is not None
        if applied and revoked:
            yield Finding(where, "was applied and revoked, both")
        due = row["at_ms"] <= row["period_start_ms"]
        if due and not (applied or revoked):
            yield Finding(where, "is due and was not applied")
        if not due and applied and row["at_ms"] > row["applied_ms"]:
            yield Finding(where, "was applied before its time")
        if not (applied or revoked or due) and row["next_plan"] != row["plan"]:
            yield Finding(
                where, f"waits for plan {row['plan']}, the subscription for {row['next_plan']}"
            )
