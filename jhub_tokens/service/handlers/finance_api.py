"""Routes of finance: reports, what is prepaid, closed months, exports, erasures."""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog
from tornado.http1connection import HTTP1Connection
from tornado.web import RequestHandler

from jhub_tokens.service import finance
from jhub_tokens.service.export_text import MEDIA
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.models import BalanceQuery, ExportQuery, PrepaidQuery, ReportQuery
from jhub_tokens.service.operations import operation
from jhub_tokens.wire.finance import (
    ClosedMonthList,
    ClosedMonthRow,
    CloseOrder,
    EraseOrder,
    ErasureList,
    ErasureRow,
    FinanceReport,
    Prepaid,
    TrialBalance,
)

__all__ = [
    "BalanceHandler",
    "ClosedMonthsHandler",
    "CloseHandler",
    "ErasureHandler",
    "ErasuresHandler",
    "ExportHandler",
    "PrepaidHandler",
    "ReportHandler",
    "stream_export",
]

log = structlog.get_logger(__name__)


class ReportHandler(PeopleHandler):
    """Reports of some months."""

    @operation(
        summary="Report tokens and money", access="read", query=ReportQuery, answer=FinanceReport
    )
    async def get(self, *, query: ReportQuery) -> FinanceReport:
        """Return what was granted, consumed, lapsed and paid in some months, by dimensions."""
        return await finance.report(self.service, self.person, query)


class PrepaidHandler(PeopleHandler):
    """What is prepaid."""

    @operation(summary="What is prepaid", access="read", query=PrepaidQuery, answer=Prepaid)
    async def get(self, *, query: PrepaidQuery) -> Prepaid:
        """Return what members have bought and not spent before an instant; none: now."""
        return await finance.prepaid(self.service, self.person, query)


class BalanceHandler(PeopleHandler):
    """All accounts."""

    @operation(summary="Trial balance", access="read", query=BalanceQuery, answer=TrialBalance)
    async def get(self, *, query: BalanceQuery) -> TrialBalance:
        """Return every account before an instant, as booked; together they come to zero."""
        return await finance.trial_balance(self.service, self.person, query)


class ClosedMonthsHandler(PeopleHandler):
    """The closed months."""

    @operation(summary="List closed months", access="read", answer=ClosedMonthList)
    async def get(self) -> ClosedMonthList:
        """Return the closed months, the latest first."""
        return ClosedMonthList(months=await finance.closed_rows(self.service, self.person))


class CloseHandler(PeopleHandler):
    """Closing one month."""

    @operation(
        summary="Close a month",
        access="grant",
        body=CloseOrder,
        answer=ClosedMonthRow,
        errors={409: "The month is not over, not the next one, or not booked to its end"},
    )
    async def post(self, month: str, *, body: CloseOrder) -> ClosedMonthRow:
        """Let nothing be posted to a month any more; asked again, the same answer."""
        caller = await self.recheck()
        return await finance.close_month(self.service, caller, month, body)


class ExportHandler(PeopleHandler):
    """Transactions for other books."""

    @operation(
        summary="Export transactions",
        access="read",
        query=ExportQuery,
        streams=tuple(media.partition(";")[0] for media in MEDIA.values()),
    )
    async def get(self, *, query: ExportQuery) -> None:
        """Stream the transactions posted in some months, with their entries."""
        await stream_export(self, finance.export(self.service, self.person, query), query)


async def stream_export(
    handler: RequestHandler, pieces: AsyncIterator[str], query: ExportQuery
) -> None:
    """Answer with an export, piece by piece."""
    first = await anext(pieces)  # what can be refused is refused before anything is sent
    name = f"tokens-{query.from_month}-{query.to_month}"
    handler.set_header("Content-Type", MEDIA[query.form])
    handler.set_header("Content-Disposition", f'attachment; filename="{name}.{query.form}"')
    handler.write(first)
    await handler.flush()
    try:
        async for piece in pieces:
            handler.write(piece)
            await handler.flush()
    except Exception:
        log.exception("an export broke off")
        # An end of the answer would make a part of the books look like all of them.
        connection = handler.request.connection
        assert isinstance(connection, HTTP1Connection)
        connection.stream.close()
        return
    await handler.finish()


class ErasuresHandler(PeopleHandler):
    """All erasures."""

    @operation(summary="List erasures", access="read", answer=ErasureList)
    async def get(self) -> ErasureList:
        """Return who had whose data erased, the latest first."""
        return ErasureList(erasures=await finance.erasure_rows(self.service, self.person))


class ErasureHandler(PeopleHandler):
    """Erasing one member."""

    @operation(
        summary="Erase a member's personal data",
        access="grant",
        body=EraseOrder,
        answer=ErasureRow,
        errors={404: "No such member", 409: "Servers run, or something is owed"},
    )
    async def post(self, member_id: str, *, body: EraseOrder) -> ErasureRow:
        """Erase who a member was; the books stay whole. Asked again, the same answer."""
        caller = await self.recheck()
        return await finance.erase(self.service, caller, member_id, body)
