"""Closing months: in order, once all that belongs to a month is booked, and for good.

A close has three steps, so that writers wait for milliseconds only. First wallets that still owe
entries to the month are advanced. Then, with nobody posting, the month is written down as
closed, unless something of it is still unknown. Its figures are added up afterwards, beside the
writers, from what can no longer change, and written with their SHA-256. A close that broke off
in between is finished by asking again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, insert, or_, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _, ngettext
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.batches import change_wallets
from jhub_tokens.ledger.figures import (
    BEGINNING_MS,
    balances,
    digest_of,
    prepaid_money,
    span_figures,
    vouchers_open,
)
from jhub_tokens.ledger.finance_records import ClosedMonth, Figure
from jhub_tokens.ledger.posting import close_gate, effective_ms
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.store import unbound
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.periods import month_of, month_span, next_month

__all__ = [
    "STANDING",
    "close_month",
    "closed_end_ms",
    "closed_figures",
    "closed_months",
    "month_to_close",
    "standing_figures",
]

_c, _r, _f = schema.closed_months, schema.closed_reports, schema.closed_figures
_w, _s, _g, _t = schema.wallets, schema.sessions, schema.grants, schema.transactions
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
#: How many wallets are advanced in one transaction.
_AT_ONCE = 200
_NAMED = 5
#: The sections of figures of what stands at a month's end; the others are sums over the month.
STANDING = ("balance", "vouchers", "prepaid_money")


def check_month(month: str) -> None:
    """See that a month is one.

    Raises
    ------
    LedgerError
        ``bad_month``.
    """
    if not _MONTH.fullmatch(month) or month < "1970-01":
        raise LedgerError("bad_month", _("Write a month like 2026-11."), "month")


def close_month(runner: Runner, month: str, *, actor: str, reason: str) -> ClosedMonth:
    """Close a month; see `FinanceBooks.close_month`."""
    check_month(month)
    if not 3 <= len(reason.strip()) <= 500:
        raise LedgerError("no_reason", _("Give a reason of 3 to 500 characters."), "reason")
    known = runner.read(_closed, month)
    if known is None:
        end_ms = runner.read(_closable_end_ms, month)
        _settle(runner, end_ms)
        runner.write(_close, month, actor, reason.strip())
    elif known.digest:
        return known
    figures = runner.read(_figures, month)
    return runner.write(_write_figures, month, figures)


# --- reading -----------------------------------------------------------------------------------


def closed_months(
    connection: Connection, catalogue: Catalogue | None = None, now_ms: int = 0
) -> tuple[ClosedMonth, ...]:
    """Return the closed months, the latest first."""
    query = (
        select(_c, _r.c.lines, _r.c.digest)
        .outerjoin(_r, _r.c.month == _c.c.month)
        .order_by(_c.c.start_ms.desc())
    )
    return tuple(_record(row) for row in connection.execute(query).mappings())


def _record(row: Any) -> ClosedMonth:
    return ClosedMonth(
        row["month"],
        row["start_ms"],
        row["end_ms"],
        row["closed_ms"],
        row["actor"],
        row["reason"],
        row["lines"] or 0,
        row["digest"] or "",
    )


def _closed(
    connection: Connection, catalogue: Catalogue, now_ms: int, month: str
) -> ClosedMonth | None:
    return next((done for done in closed_months(connection) if done.month == month), None)


def closed_end_ms(connection: Connection) -> int | None:
    """Return the end of the last closed month, None if there is none."""
    end_ms: int | None = connection.execute(select(func.max(_c.c.end_ms))).scalar()
    return end_ms


def closed_figures(connection: Connection, month: str) -> list[Figure]:
    """Return the figures that were written when a month was closed."""
    columns = [column for column in _f.c if column.name not in ("month", "line")]
    query = select(*columns).where(_f.c.month == month).order_by(_f.c.line)
    rows = connection.execute(query).mappings()
    return [Figure(**{**row, "amount": int(row["amount"])}) for row in rows]


def standing_figures(connection: Connection, to_ms: int) -> list[Figure]:
    """Return what stands at `to_ms`: what was left of grants by source, and what was bought."""
    last = (
        select(_c.c.month, _c.c.end_ms)
        .join(_r, _r.c.month == _c.c.month)
        .where(_c.c.end_ms <= to_ms)
        .order_by(_c.c.end_ms.desc())
        .limit(1)
    )
    since_ms, before = BEGINNING_MS, []
    found = connection.execute(last).first()
    if found is not None:
        since_ms = found.end_ms
        written = closed_figures(connection, found.month)
        before = [(f.source, f.amount) for f in written if f.section == "balance"]
    standing = [
        Figure("balance", source=source, amount=amount)
        for source, amount in balances(connection, to_ms, since_ms, before)
    ]
    worth = vouchers_open(connection, to_ms)
    if worth:
        standing.append(Figure("vouchers", amount=worth))
    standing += [
        Figure("prepaid_money", currency=currency, amount=minor)
        for currency, minor in prepaid_money(connection, to_ms)
    ]
    return standing


# --- may it be closed? -------------------------------------------------------------------------


def month_to_close(connection: Connection, catalogue: Catalogue, now_ms: int) -> str | None:
    """Return the month whose turn it is, over or not; None while nothing is booked."""
    done = closed_months(connection)
    if done:
        return next_month(done[0].month)
    first_ms = connection.execute(select(func.min(effective_ms()))).scalar()
    return None if first_ms is None else month_of(first_ms, catalogue.zone)


def _closable_end_ms(connection: Connection, catalogue: Catalogue, now_ms: int, month: str) -> int:
    """Return the end of a month whose turn it is.

    Raises
    ------
    LedgerError
        ``month_runs`` or ``not_in_order``.
    """
    _start_ms, end_ms = month_span(month, catalogue.zone)
    if now_ms < end_ms:
        message = _(
            "%(month)s is not over yet in %(zone)s; close it when it is.",
            month=month,
            zone=catalogue.zone,
        )
        raise LedgerError("month_runs", message, "month")
    expected = month_to_close(connection, catalogue, now_ms) or month
    if month != expected:
        message = _("Months are closed in order: %(month)s is the next one.", month=expected)
        raise LedgerError("not_in_order", message, "month")
    return end_ms


def _unsettled(end_ms: int) -> Any:
    """Return the condition for a wallet to owe entries to the time before `end_ms`."""
    running = select(_s.c.session_id).where(
        _s.c.wallet_id == _w.c.wallet_id, _s.c.settled.is_(False), _s.c.admitted_ms < end_ms
    )
    lapsing = select(_g.c.grant_id).where(
        _g.c.wallet_id == _w.c.wallet_id,
        _g.c.spent.is_(False),
        _g.c.remaining_grains > 0,
        _g.c.expires_ms <= end_ms,
    )
    return and_(
        _w.c.settled_to_ms < end_ms,
        or_(_w.c.period_end_ms <= end_ms, running.exists(), lapsing.exists()),
    )


def _settle(runner: Runner, end_ms: int) -> None:
    """Advance the wallets that owe something to the month, as far as they can be."""
    after: str | None = ""
    while after is not None:
        after = runner.write(_settle_some, end_ms, after)


def _settle_some(
    connection: Connection, catalogue: Catalogue, now_ms: int, end_ms: int, after: str
) -> str | None:
    """Advance some wallets; return the last of them, None when there are no more."""
    heard_ms = connection.execute(select(func.max(schema.hubs.c.observed_ms))).scalar() or 0
    due = _unsettled(end_ms)
    if heard_ms < end_ms:
        # A clock that jumped forward by itself must renew nobody, see `due.advance_due`.
        due = and_(due, _w.c.open_sessions > 0)
    query = select(_w.c.wallet_id).where(due, _w.c.wallet_id > after)
    some = list(connection.execute(query.order_by(_w.c.wallet_id).limit(_AT_ONCE)).scalars())
    change_wallets(connection, catalogue, now_ms, some, OpenWallet.advance)
    return some[-1] if some else None


def _close(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    month: str,
    actor: str,
    reason: str,
) -> None:
    """Write a month down as closed, with nobody posting meanwhile."""
    close_gate(connection)
    if _closed(connection, catalogue, now_ms, month) is not None:
        return  # somebody else was first
    _closable_end_ms(connection, catalogue, now_ms, month)
    start_ms, end_ms = month_span(month, catalogue.zone)
    # Should the billing zone have changed since, there is neither gap nor overlap.
    start_ms = closed_end_ms(connection) or start_ms
    _refuse_unsettled(connection, end_ms, month)
    row = {
        "month": month,
        "zone": catalogue.zone,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "closed_ms": now_ms,
        "actor": actor,
        "reason": reason,
    }
    connection.execute(insert(_c), row)


def _refuse_unsettled(connection: Connection, end_ms: int, month: str) -> None:
    names = func.coalesce(schema.members.c.name, schema.teams.c.name)
    query = (
        select(names, _w.c.open_sessions)
        .select_from(_w)
        .outerjoin(schema.members, schema.members.c.member_id == _w.c.member_id)
        .outerjoin(schema.teams, schema.teams.c.team_id == _w.c.team_id)
        .where(_unsettled(end_ms))
    )
    some = connection.execute(query.order_by(names).limit(_NAMED)).all()
    if not some:
        return
    count = connection.execute(
        select(func.count()).select_from(_w).where(_unsettled(end_ms))
    ).scalar_one()
    message = ngettext(
        "%(month)s is not complete: one wallet is not booked to its end (%(who)s).",
        "%(month)s is not complete: %(count)s wallets are not booked to its end (%(who)s).",
        count,
        month=month,
        who=", ".join(name for name, _running in some) + (", …" if count > _NAMED else ""),
    )
    remedy = (
        _(
            "Their servers have not been seen since: let their hub report, or start it, then try "
            "again."
        )
        if any(running for _name, running in some)
        else _(
            "No hub has reported since: start it, then try again. If it has, see the service's "
            "log for what is wrong with them."
        )
    )
    raise LedgerError("month_unsettled", f"{message} {remedy}", "month")


# --- figures -----------------------------------------------------------------------------------


def _figures(connection: Connection, catalogue: Catalogue, now_ms: int, month: str) -> list[Figure]:
    unbound(connection)
    done = _closed(connection, catalogue, now_ms, month)
    assert done is not None, "it was closed a moment ago"
    figures = span_figures(connection, done.start_ms, done.end_ms)
    return figures + standing_figures(connection, done.end_ms)


def _write_figures(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    month: str,
    figures: Sequence[Figure],
) -> ClosedMonth:
    close_gate(connection)
    done = _closed(connection, catalogue, now_ms, month)
    assert done is not None, "it was closed a moment ago"
    if not done.digest:
        if figures:
            connection.execute(insert(_f), _rows(month, figures))
        written = {
            "month": month,
            "lines": len(figures),
            "digest": digest_of(figures),
            "written_ms": now_ms,
        }
        connection.execute(insert(_r), written)
        done = _closed(connection, catalogue, now_ms, month)
        assert done is not None
    return done


def _rows(month: str, figures: Sequence[Figure]) -> list[Row]:
    names = [column.name for column in _f.c if column.name not in ("month", "line")]
    return [
        {
            "month": month,
            "line": line,
            **{name: getattr(figure, name) for name in names},
            "amount": str(figure.amount),
        }
        for line, figure in enumerate(figures)
    ]
