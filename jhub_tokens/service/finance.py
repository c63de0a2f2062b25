"""What happens when people ask for finance: reports, closes, exports and erasures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict

import structlog

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger.exports import Cursor
from jhub_tokens.ledger.finance_records import (
    ClosedMonth,
    Erasure,
    ReportRow,
)
from jhub_tokens.ledger.finance_records import FinanceReport as Report
from jhub_tokens.ledger.finance_records import Prepaid as PrepaidRecord
from jhub_tokens.ledger.finance_records import TrialBalance as TrialBalanceRecord
from jhub_tokens.service import members
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.export_text import export_writer
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.instants import iso_instant, read_instant_ms
from jhub_tokens.service.models import BalanceQuery, ExportQuery, PrepaidQuery, ReportQuery
from jhub_tokens.wire import Amount
from jhub_tokens.wire.finance import (
    AccountRow,
    ClosedMonthRow,
    CloseOrder,
    EraseOrder,
    ErasureRow,
    FinanceReport,
    MoneyRow,
    Prepaid,
    PrepaidMoney,
    SourceRow,
    TokenRow,
    TrialBalance,
)

__all__ = [
    "close_month",
    "closed_row",
    "closed_rows",
    "erase",
    "erasure_row",
    "erasure_rows",
    "export",
    "prepaid",
    "prepaid_body",
    "report",
    "report_body",
    "trial_balance",
    "trial_balance_body",
]

log = structlog.get_logger(__name__)


async def report(service: Service, caller: Caller, query: ReportQuery) -> FinanceReport:
    """Return a report of some months.

    Raises
    ------
    Problem
        If the caller may not read all.
    LedgerError
        If the span is none.
    """
    _may_read(caller)
    finance = service.books.ledger.finance
    found = await service.workers.read(
        finance.report, query.from_month, query.to_month, tuple(query.by)
    )
    return report_body(found)


async def prepaid(service: Service, caller: Caller, query: PrepaidQuery) -> Prepaid:
    """Return what was bought and not spent at an instant."""
    _may_read(caller)
    catalogue = service.books.catalogue
    at_ms = _instant_ms(query.as_of, catalogue, service.clock.now_ms())
    found = await service.workers.read(service.books.ledger.finance.prepaid, at_ms)
    return prepaid_body(found, catalogue.zone)


async def trial_balance(service: Service, caller: Caller, query: BalanceQuery) -> TrialBalance:
    """Return all accounts at an instant."""
    _may_read(caller)
    catalogue = service.books.catalogue
    at_ms = _instant_ms(query.as_of, catalogue, service.clock.now_ms())
    finance = service.books.ledger.finance
    found = await service.workers.read(finance.trial_balance, at_ms, query.basis)
    return trial_balance_body(found, catalogue.zone)


async def closed_rows(service: Service, caller: Caller) -> list[ClosedMonthRow]:
    """Return the closed months."""
    _may_read(caller)
    months = await service.workers.read(service.books.ledger.finance.closed_months)
    return [closed_row(month, service.books.catalogue.zone) for month in months]


async def close_month(
    service: Service, caller: Caller, month: str, order: CloseOrder
) -> ClosedMonthRow:
    """Close a month; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not.
    LedgerError
        If the month cannot be closed now.
    """
    members.may_grant(caller)
    # Reads for long and writes for short, so it must not hold up the one writing thread.
    done = await service.workers.read(
        service.books.ledger.finance.close_month, month, actor=caller.name, reason=order.reason
    )
    log.info("month closed", by=caller.label, month=month, digest=done.digest)
    service.written()
    return closed_row(done, service.books.catalogue.zone)


async def erase(service: Service, caller: Caller, member_id: str, order: EraseOrder) -> ErasureRow:
    """Erase a member's personal data; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not.
    LedgerError
        If something stands against it.
    """
    members.may_grant(caller)
    done = await service.workers.write(
        service.books.ledger.finance.erase_member,
        member_id,
        actor=caller.name,
        reason=order.reason,
        write_off=order.write_off,
    )
    log.info("member erased", by=caller.label, member_id=member_id)
    service.written()
    return erasure_row(done, service.books.catalogue.zone)


async def erasure_rows(service: Service, caller: Caller) -> list[ErasureRow]:
    """Return the erasures."""
    _may_read(caller)
    done = await service.workers.read(service.books.ledger.finance.erasures)
    return [erasure_row(item, service.books.catalogue.zone) for item in done]


async def export(service: Service, caller: Caller, query: ExportQuery) -> AsyncIterator[str]:
    """Yield the text of an export; each page is a short read of its own.

    Raises
    ------
    Problem
        If the caller may not read all.
    LedgerError
        If the span is none.
    """
    _may_read(caller)
    finance, zone = service.books.ledger.finance, service.books.catalogue.zone
    months = (query.from_month, query.to_month)
    from_ms, to_ms = await service.workers.read(finance.span, *months)
    writer = export_writer(query.form, zone)
    yield writer.begin()
    after: Cursor | None = None
    while True:
        page = await service.workers.read(
            finance.export_page, from_ms, to_ms, names=query.names, after=after
        )
        yield "".join(writer.write(item) for item in page.transactions)
        after = page.next
        if after is None:
            break
    yield writer.end()


# --- bodies ------------------------------------------------------------------------------------


def report_body(found: Report) -> FinanceReport:
    """Return a report as the API tells it."""
    return FinanceReport(
        from_ms=found.from_ms,
        to_ms=found.to_ms,
        zone=found.zone,
        by=list(found.by),
        closed=found.closed,
        digests=dict(found.digests),
        rows=[_token_row(row) for row in found.rows],
        total=_token_row(found.total),
        money=[
            MoneyRow(
                month=row.month,
                plan=row.plan,
                cost_centre=row.cost_centre,
                currency=row.currency,
                top_ups_minor=row.top_ups,
                fees_minor=row.fees,
                refunds_minor=row.refunds,
                disputes_minor=row.disputes,
                net_minor=row.net,
                fees_due_minor=row.fees_due,
            )
            for row in found.money
        ],
        breakage_allotted=Amount.of(found.breakage_allotted),
        breakage_bought=Amount.of(found.breakage_bought),
        breakage_other=Amount.of(found.breakage_other),
        prepaid=prepaid_body(found.prepaid, found.zone),
    )


def _token_row(row: ReportRow) -> TokenRow:
    values = {
        name: Amount.of(value) if isinstance(value, int) else value
        for name, value in asdict(row).items()
    }
    return TokenRow.model_validate(values)


def prepaid_body(found: PrepaidRecord, zone: str) -> Prepaid:
    """Return what is prepaid as the API tells it."""
    return Prepaid(
        at_ms=found.at_ms,
        at=iso_instant(found.at_ms, zone),
        bought=Amount.of(found.bought),
        vouchers=Amount.of(found.vouchers),
        money=[PrepaidMoney(currency=c, amount_minor=minor) for c, minor in found.money],
        sources=[SourceRow(source=s, left=Amount.of(left)) for s, left in found.by_source],
    )


def trial_balance_body(found: TrialBalanceRecord, zone: str) -> TrialBalance:
    """Return a trial balance as the API tells it."""
    return TrialBalance(
        at_ms=found.at_ms,
        at=iso_instant(found.at_ms, zone),
        basis=found.basis,
        accounts=[AccountRow(account=a, amount=Amount.of(sum_)) for a, sum_ in found.accounts],
    )


def closed_row(done: ClosedMonth, zone: str) -> ClosedMonthRow:
    """Return a closed month as the API tells it."""
    return ClosedMonthRow(
        month=done.month,
        start_ms=done.start_ms,
        end_ms=done.end_ms,
        closed_at_ms=done.closed_ms,
        closed_at=iso_instant(done.closed_ms, zone),
        actor=done.actor,
        reason=done.reason,
        lines=done.lines,
        digest=done.digest,
    )


def erasure_row(done: Erasure, zone: str) -> ErasureRow:
    """Return an erasure as the API tells it."""
    return ErasureRow(
        member_id=done.member_id,
        erased_at_ms=done.erased_ms,
        erased_at=iso_instant(done.erased_ms, zone),
        actor=done.actor,
        reason=done.reason,
    )


def _instant_ms(text: str, catalogue: Catalogue, now_ms: int) -> int:
    # Now, and what is booked in this very millisecond with it.
    return read_instant_ms(text, catalogue.zone) if text else now_ms + 1


def _may_read(caller: Caller) -> None:
    if not caller.may_read_all:
        raise members.lacks_scope("custom:jhub-tokens:read")
