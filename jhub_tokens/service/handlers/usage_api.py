"""Routes of a member's usage, and of usage and statement as files."""

from __future__ import annotations

from collections.abc import Iterator

from jhub_tokens.service import members, usage
from jhub_tokens.service.export_text import MEDIA
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.models import PeriodQuery, StatementQuery, UsageQuery
from jhub_tokens.service.operations import operation
from jhub_tokens.service.statement_views import statement_csv
from jhub_tokens.wire import Usage

__all__ = ["StatementCsvHandler", "UsageCsvHandler", "UsageHandler"]

_NO_PERIOD = {404: "No such member or period"}


class UsageHandler(PeopleHandler):
    """One member's usage."""

    @operation(
        summary="A member's usage",
        access="own",
        query=UsageQuery,
        answer=Usage,
        errors=_NO_PERIOD,
    )
    async def get(self, member_id: str, *, query: UsageQuery) -> Usage:
        """Return what was consumed by day and profile, by hour of the week, and the dearest.

        The days are those of the billing zone and come to the use on the statements of the same
        periods, to the grain.
        """
        member = await members.readable_member(self.service, self.person, member_id)
        return await usage.usage(self.service, member, query)


class _CsvHandler(PeopleHandler):
    """Answers a file."""

    async def send(self, name: str, lines: Iterator[str]) -> None:
        """Send a file under a name of its own."""
        self.set_header("Content-Type", MEDIA["csv"])
        self.set_header("Content-Disposition", f'attachment; filename="{name}.csv"')
        await self.finish("".join(lines))


class UsageCsvHandler(_CsvHandler):
    """One member's usage as a file."""

    @operation(
        summary="A member's usage as CSV",
        access="own",
        query=UsageQuery,
        errors=_NO_PERIOD,
        streams=("text/csv",),
    )
    async def get(self, member_id: str, *, query: UsageQuery) -> None:
        """Return one line for each day and profile."""
        member = await members.readable_member(self.service, self.person, member_id)
        found = await usage.usage(self.service, member, query)
        await self.send(f"usage-{query.span}-{query.period}", usage.usage_csv(found))


class StatementCsvHandler(_CsvHandler):
    """One member's statement as a file."""

    @operation(
        summary="A member's statement as CSV",
        access="own",
        query=PeriodQuery,
        errors=_NO_PERIOD,
        streams=("text/csv",),
    )
    async def get(self, member_id: str, *, query: PeriodQuery) -> None:
        """Return one line for each line of the statement; they add up to the balance."""
        member = await members.readable_member(self.service, self.person, member_id)
        wanted = StatementQuery(period=query.period)
        found = await members.statement(self.service, member, wanted)
        await self.send(f"statement-{query.period}", statement_csv(found))
