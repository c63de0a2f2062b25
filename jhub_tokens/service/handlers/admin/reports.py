"""Reports: tokens and money of some months, top consumers, closing a month, files."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlencode

from babel.numbers import format_currency, get_currency_precision
from pydantic import ValidationError

from jhub_tokens import i18n
from jhub_tokens.i18n import N_, _
from jhub_tokens.ledger.finance_records import BY, FinanceReport
from jhub_tokens.ledger.oversight_records import TopConsumer
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.service import finance, oversight
from jhub_tokens.service.errors import problem_from
from jhub_tokens.service.export_text import report_csv
from jhub_tokens.service.handlers.admin.base import AdminPage, FormError, field_errors
from jhub_tokens.service.handlers.finance_api import stream_export
from jhub_tokens.service.models import ExportQuery, ReportQuery
from jhub_tokens.service.operations import query_values
from jhub_tokens.service.views import local_date
from jhub_tokens.wire.finance import CloseOrder

__all__ = ["ClosePage", "ExportPage", "ReportFile", "ReportsPage"]

#: By what a report can be told apart.
DIMENSIONS: Mapping[str, str] = {
    "month": N_("Month"),
    "plan": N_("Plan"),
    "profile": N_("Profile"),
    "team": N_("Team"),
    "cost_centre": N_("Cost centre"),
    "source": N_("Source"),
}
_TOP = 20


def money_text(minor: int, currency: str) -> str:
    """Return an amount of money for people: ``€12.50``."""
    amount = Decimal(minor).scaleb(-get_currency_precision(currency))
    locale = {"zh": "zh_CN"}.get(i18n.language(), "en")
    return str(format_currency(amount, currency, locale=locale))


class _Reports(AdminPage):
    active = "reports"

    def this_month(self) -> str:
        """Return the month of this instant in the billing zone."""
        return f"{local_date(self.service.clock.now_ms(), self.zone):%Y-%m}"

    def asked(self) -> dict[str, object]:
        """Return which report is asked for; by default this month's, by plan."""
        month = self.this_month()
        by = [name for name in self.get_arguments("by") if name in BY]
        return {
            "from_month": self.argument("from_month") or month,
            "to_month": self.argument("to_month") or self.argument("from_month") or month,
            "by": by or ["plan"],
        }

    async def report(self, query: ReportQuery) -> FinanceReport:
        """Return the report as the books make it."""
        books = self.service.books.ledger.finance
        return await self.service.workers.read(
            books.report, query.from_month, query.to_month, tuple(query.by)
        )

    async def show_reports(
        self,
        status: int = 200,
        errors: Mapping[str, str] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """Show the report that is asked for, or what is wrong with the question."""
        asked, found, wrong = self.asked(), None, dict(errors or {})
        top: tuple[TopConsumer, ...] = ()
        try:
            query = ReportQuery.model_validate(asked)
            found = await self.report(query)
            top = await self.service.workers.read(
                self.service.books.ledger.oversight.top_consumers,
                found.from_ms, found.to_ms, _TOP,
            )  # fmt: skip
        except (ValidationError, LedgerError) as error:
            wrong |= field_errors(error, "to_month")
            if "to" in wrong:  # the books call it so
                wrong["to_month"] = wrong.pop("to")
            status = problem_from(error).status
        books = self.service.books.ledger.finance
        closed = await finance.closed_rows(self.service, self.person)
        self.show(
            "admin/reports.html",
            status,
            report=found,
            top=top,
            asked=asked,
            query=urlencode(asked, doseq=True),
            dimensions={name: _(text) for name, text in DIMENSIONS.items()},
            plans=self.service.books.catalogue.plans,
            profiles=self.service.books.catalogue.profiles,
            closed=closed,
            closing=await self.service.workers.read(books.month_to_close) or self.this_month(),
            money_text=money_text,
            errors=wrong,
            kept=kept or {},
        )


class ReportsPage(_Reports):
    """Reports."""

    async def get(self) -> None:
        """Show a report."""
        await self.show_reports()


class ReportFile(_Reports):
    """A report as a file."""

    async def get(self) -> None:
        """Send the report as CSV."""
        query = ReportQuery.model_validate(self.asked())
        text = report_csv(await self.report(query))
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        name = f"report-{query.from_month}-{query.to_month}.csv"
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.finish(text)


class ExportPage(_Reports):
    """The books as a file."""

    async def get(self) -> None:
        """Stream the transactions of some months; that they were sent is in the log."""
        query = ExportQuery.model_validate(query_values(ExportQuery, self.request))
        pieces = finance.export(self.service, self.person, query)
        if query.names:
            await oversight.note(self.service, self.person, "exported", "books")
        await stream_export(self, pieces, query)


class ClosePage(_Reports):
    """The closing form's target."""

    async def get(self) -> None:
        """Show the reports: whoever reloads an answer closes nothing."""
        self.redirect(f"{self.service.settings.base_url}admin/reports", status=303)

    async def post(self) -> None:
        """Close a month for good, or show the form with what is wrong."""
        caller = await self.fresh_caller()
        kept = {name: self.field(name) for name in ("month", "reason")}
        try:
            order = CloseOrder(reason=kept["reason"])
            done = await finance.close_month(self.service, caller, kept["month"], order)
        except FormError as error:
            errors = field_errors(error, "month")
            await self.show_reports(problem_from(error).status, errors, kept)
            return
        self.redirect_with(
            "admin/reports", _("%(month)s is closed: its figures never change.", month=done.month)
        )
