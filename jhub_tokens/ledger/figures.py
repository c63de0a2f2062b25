"""The figures of a span: sums over entries and money, as fine as any report asks for them.

The database adds up and answers one row for each combination, so that memory does not grow with
the number of transactions. Sums are exact beyond int64.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection, and_, func, literal, or_, select

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.finance_records import Figure
from jhub_tokens.ledger.posting import effective_ms
from jhub_tokens.ledger.reads import add_up, exact_sum

__all__ = [
    "BEGINNING_MS",
    "balances",
    "digest_of",
    "late_ones",
    "on_time",
    "plan_then",
    "prepaid_money",
    "span_figures",
    "vouchers_open",
]

BEGINNING_MS = -(1 << 62)
_t, _e, _w, _late = (
    schema.transactions,
    schema.entries,
    schema.wallets,
    schema.late_postings,
)
_m, _p, _g, _i = schema.money_moves, schema.wallet_periods, schema.grants, schema.invoices
_ENTRIES = Figure("entries")
_KEYS = ("plan", "cost_centre", "team", "profile", "source", "kind", "account")


def span_figures(connection: Connection, from_ms: int, to_ms: int) -> list[Figure]:
    """Return the sums of what is posted within [`from_ms`, `to_ms`), in order."""
    sums: dict[Figure, int] = defaultdict(int)
    for posted in (on_time(from_ms, to_ms), late_ones(_t.c.transaction_id, from_ms, to_ms)):
        for row in connection.execute(_entry_sums(posted)).mappings():
            keys: dict[str, Any] = {key: row[key] or "" for key in _KEYS}
            sums[replace(_ENTRIES, **keys)] += add_up(row["high"], row["low"])
    for posted in (
        _moves_due(from_ms, to_ms),
        late_ones(_m.c.move_id, from_ms, to_ms),
    ):
        query = (
            select(
                _m.c.plan, _m.c.cost_centre, _m.c.kind, _m.c.currency, *_exact(_m.c.amount_minor)
            )
            .where(posted)
            .group_by(_m.c.plan, _m.c.cost_centre, _m.c.kind, _m.c.currency)
        )
        for plan, centre, kind, currency, high, low in connection.execute(query):
            figure = Figure("money", plan, centre, kind=kind, currency=currency)
            sums[figure] += add_up(high, low)
    for figure, amount in _fees_due(connection, from_ms, to_ms):
        sums[figure] += amount
    return _in_order(sums)


def _in_order(sums: dict[Figure, int]) -> list[Figure]:
    found = [replace(figure, amount=amount) for figure, amount in sums.items() if amount]
    return sorted(found)


def digest_of(figures: Iterable[Figure]) -> str:
    """Return the SHA-256 of figures in their order, in hexadecimal."""
    digest = hashlib.sha256()
    for figure in figures:
        line = [*astuple(figure)[:-1], str(figure.amount)]
        digest.update(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n")
    return digest.hexdigest()


# --- what is posted when -----------------------------------------------------------------------


def on_time(from_ms: int, to_ms: int) -> Any:
    """Return the condition for a transaction to be posted in a span when it took place."""
    effective = effective_ms()
    return and_(
        # For the index: `effective` is `at_ms`, or the millisecond before it.
        _t.c.at_ms >= from_ms,
        _t.c.at_ms <= to_ms,
        effective >= from_ms,
        effective < to_ms,
        _t.c.transaction_id.not_in(select(_late.c.item_id)),
    )


def _moves_due(from_ms: int, to_ms: int) -> Any:
    return and_(
        _m.c.at_ms >= from_ms, _m.c.at_ms < to_ms, _m.c.move_id.not_in(select(_late.c.item_id))
    )


def late_ones(key: Any, from_ms: int, to_ms: int) -> Any:
    """Return the condition for one to be posted in a span that is about a closed month."""
    posted = select(_late.c.item_id)
    return key.in_(posted.where(_late.c.posted_ms >= from_ms, _late.c.posted_ms < to_ms))


# --- sums --------------------------------------------------------------------------------------


def _exact(column: Any) -> tuple[Any, Any]:
    high, low = exact_sum(column)
    return high.label("high"), low.label("low")


def plan_then() -> Any:
    """Return the plan that a transaction is booked to; release 0.1 wrote none down."""
    then = (
        select(_p.c.plan)
        .where(_p.c.wallet_id == _t.c.wallet_id, _p.c.start_ms <= _t.c.at_ms)
        .order_by(_p.c.start_ms.desc())
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(_t.c.plan, then, "")


def _entry_sums(posted: Any) -> Any:
    lines = (
        select(
            plan_then().label("plan"),
            _t.c.cost_centre,
            schema.teams.c.name.label("team"),
            schema.sessions.c.profile,
            _g.c.source,
            _t.c.kind,
            _e.c.account,
            _e.c.amount_grains,
        )
        .join(_e, _e.c.transaction_id == _t.c.transaction_id)
        .join(_w, _w.c.wallet_id == _t.c.wallet_id)
        .outerjoin(schema.teams, schema.teams.c.team_id == _w.c.team_id)
        .outerjoin(schema.sessions, schema.sessions.c.session_id == _e.c.session_id)
        .outerjoin(_g, _g.c.grant_id == _e.c.grant_id)
        .where(posted)
        .subquery()
    )
    keys = [lines.c[key] for key in _KEYS]
    return select(*keys, *_exact(lines.c.amount_grains)).group_by(*keys)


def _fees_due(connection: Connection, from_ms: int, to_ms: int) -> Iterable[tuple[Figure, int]]:
    """Yield what the periods that began come to by their plans' prices."""
    centre = (
        select(func.max(_t.c.cost_centre))
        .where(_t.c.wallet_id == _p.c.wallet_id, _t.c.at_ms == _p.c.start_ms)
        .where(_t.c.kind == "allotment")
        .scalar_subquery()
    )
    begun = (
        select(
            _p.c.plan, func.coalesce(centre, "").label("centre"), _p.c.currency, _p.c.price_minor
        )
        .where(_p.c.start_ms >= from_ms, _p.c.start_ms < to_ms, _p.c.price_minor > 0)
        .subquery()
    )
    keys = (begun.c.plan, begun.c.centre, begun.c.currency)
    for plan, borne_by, currency, high, low in connection.execute(
        select(*keys, *_exact(begun.c.price_minor)).group_by(*keys)
    ):
        yield Figure("fees_due", plan, borne_by, currency=currency), add_up(high, low)


def balances(
    connection: Connection, to_ms: int, since_ms: int, before: Sequence[tuple[str, int]]
) -> list[tuple[str, int]]:
    """Return what was left at `to_ms` of the grants of each source.

    It is what was left at `since_ms`, `before`, and what was posted since.
    """
    sums: dict[str, int] = defaultdict(int, before)
    for posted in (on_time(since_ms, to_ms), late_ones(_t.c.transaction_id, since_ms, to_ms)):
        query = (
            select(_g.c.source, *_exact(_e.c.amount_grains))
            .select_from(_t)
            .join(_e, _e.c.transaction_id == _t.c.transaction_id)
            .join(_g, _g.c.grant_id == _e.c.grant_id)
            .where(posted, _e.c.account == "grant")
            .group_by(_g.c.source)
        )
        for source, high, low in connection.execute(query):
            sums[source] += add_up(high, low)
    return sorted((source, amount) for source, amount in sums.items() if amount)


def vouchers_open(connection: Connection, at_ms: int) -> int:
    """Return what the vouchers are worth that could be redeemed after `at_ms`, in grains."""
    b, v = schema.voucher_batches, schema.vouchers
    query = (
        select(*_exact(b.c.amount_grains))
        .select_from(v)
        .join(b, b.c.batch_id == v.c.batch_id)
        .where(
            b.c.made_ms < at_ms,
            or_(b.c.revoked_ms.is_(None), b.c.revoked_ms >= at_ms),
            or_(b.c.expires_ms.is_(None), b.c.expires_ms >= at_ms),
            or_(v.c.redeemed_ms.is_(None), v.c.redeemed_ms >= at_ms),
        )
    )
    return add_up(*connection.execute(query).one())


def _posted_before(at_ms: int) -> Any:
    late = late_ones(_t.c.transaction_id, BEGINNING_MS, at_ms)
    return or_(on_time(BEGINNING_MS, at_ms), late)


def prepaid_money(connection: Connection, at_ms: int) -> list[tuple[str, int]]:
    """Return what is left at `at_ms` of paid invoices at their price, by currency.

    Each currency's sum is rounded down once, to its smallest unit.
    """
    left = (
        select(
            _i.c.invoice_id,
            _i.c.currency,
            _i.c.price_minor,
            _i.c.amount_grains,
            func.sum(_e.c.amount_grains).label("left"),
        )
        .join(_e, and_(_e.c.grant_id == _i.c.grant_id, _e.c.account == literal("grant")))
        .join(_t, _t.c.transaction_id == _e.c.transaction_id)
        .where(_posted_before(at_ms))
        .group_by(_i.c.invoice_id, _i.c.currency, _i.c.price_minor, _i.c.amount_grains)
    )
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for row in connection.execute(left.execution_options(yield_per=1000)):
        sums[row.currency] += Fraction(int(row.left) * row.price_minor, row.amount_grains)
    return sorted((currency, int(value)) for currency, value in sums.items() if int(value))
