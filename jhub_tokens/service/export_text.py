"""Exports as text, piece by piece: CSV, JSON and beancount.

Cells that a spreadsheet would take for a formula are defused by an apostrophe: members choose
their names, and an accountant opens the file. Amounts are grains, exact; tokens beside them are
written with all their decimals where these end, and rounded to twelve where they do not.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from jhub_tokens.ledger.exports import ExportTransaction
from jhub_tokens.ledger.finance_records import FinanceReport, ReportRow
from jhub_tokens.service.instants import iso_instant
from jhub_tokens.units import GRAINS_PER_TOKEN

__all__ = [
    "MEDIA",
    "ExportWriter",
    "csv_row",
    "exact_tokens",
    "export_writer",
    "report_csv",
    "safe_cell",
]

#: The media type of each form.
MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json; charset=utf-8",
    "beancount": "text/plain; charset=utf-8",
}
_ENTRY_COLUMNS = (
    "posted", "effective", "booked", "transaction_id", "number", "wallet_id", "kind", "plan",
    "cost_centre", "team", "corrects", "line", "account", "source", "amount_grains",
    "amount_tokens", "grant_id", "session_id", "profile", "from", "to", "member", "actor", "reason",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠")
_TWELVE = Decimal(1).scaleb(-12)


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


class ExportWriter(Protocol):
    """Writes transactions in one form: what begins the text, each of them, what ends it."""

    def begin(self) -> str:
        """Return what comes before all transactions."""

    def write(self, item: ExportTransaction) -> str:
        """Return the text of the next transaction."""

    def end(self) -> str:
        """Return what comes after all transactions."""


def export_writer(form: str, zone: str) -> ExportWriter:
    """Return the writer of a form: ``csv``, ``json`` or ``beancount``."""
    writers: dict[str, Callable[[str], ExportWriter]] = {
        "csv": _Csv,
        "json": _Json,
        "beancount": _Beancount,
    }
    return writers[form](zone)


def _instant(at_ms: int | None, zone: str) -> str:
    return "" if at_ms is None else iso_instant(at_ms, zone)


def exact_tokens(grains: int) -> str:
    """Return an amount in tokens with all its decimals where these end, else with twelve."""
    return f"{(Decimal(grains) / GRAINS_PER_TOKEN).quantize(_TWELVE).normalize():f}"


def csv_row(cells: Iterable[Any]) -> str:
    """Return a line of CSV (RFC 4180); what is text is defused, numbers are not."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow(safe_cell(c) if isinstance(c, str) else c for c in cells)
    return buffer.getvalue()


class _Csv:
    """One line for each entry."""

    def __init__(self, zone: str) -> None:
        self.zone = zone

    def begin(self) -> str:
        return csv_row(_ENTRY_COLUMNS)

    def write(self, item: ExportTransaction) -> str:
        instants = [_instant(t, self.zone) for t in (item.posted_ms, item.at_ms, item.booked_ms)]
        return "".join(
            csv_row(
                (
                    *instants,
                    item.transaction_id,
                    item.number,
                    item.wallet_id,
                    item.kind,
                    item.plan,
                    item.cost_centre,
                    item.team,
                    item.corrects,
                    entry.line,
                    entry.account,
                    entry.source,
                    entry.amount_grains,
                    # A number: its sign must not be taken for a formula's.
                    Decimal(exact_tokens(entry.amount_grains)),
                    entry.grant_id,
                    entry.session_id,
                    entry.profile,
                    _instant(entry.from_ms, self.zone),
                    _instant(entry.to_ms, self.zone),
                    item.member,
                    item.actor,
                    item.reason,
                )  # fmt: skip
            )
            for entry in item.entries
        )

    def end(self) -> str:
        return ""


class _Json:
    """One array with a line for each transaction; amounts are texts, since they are exact."""

    def __init__(self, zone: str) -> None:
        self.begun = False

    def begin(self) -> str:
        return "["

    def write(self, item: ExportTransaction) -> str:
        body = asdict(item)
        for entry in body["entries"]:
            entry["amount_grains"] = str(entry["amount_grains"])
        separator, self.begun = ",\n" if self.begun else "\n", True
        return separator + json.dumps(body, ensure_ascii=False)

    def end(self) -> str:
        return "\n]\n"


class _Beancount:
    """A journal of whole grains: what members hold is a liability, as a sign shows."""

    def __init__(self, zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self.opened: set[str] = set()

    def begin(self) -> str:
        return 'option "title" "jhub-tokens"\noption "operating_currency" "GRAIN"\n\n'

    def write(self, item: ExportTransaction) -> str:
        day = datetime.fromtimestamp(item.posted_ms // 1000, UTC).astimezone(self.zone).date()
        metadata = {
            "transaction": item.transaction_id, "wallet": item.wallet_id, "plan": item.plan,
            "costcentre": item.cost_centre, "team": item.team, "corrects": item.corrects,
            "actor": item.actor,
        }  # fmt: skip
        names = [_beancount_account(entry.account, entry.source) for entry in item.entries]
        lines = [f"1970-01-01 open {name} GRAIN\n" for name in sorted(set(names) - self.opened)]
        self.opened.update(names)
        said = " ".join(_quoted(text) for text in (item.member, item.reason or item.kind) if text)
        lines.append(f"{day} * {said}\n")
        lines += [f"  {key}: {_quoted(value)}\n" for key, value in metadata.items() if value]
        lines += [
            f"  {name}  {-entry.amount_grains} GRAIN\n"
            for name, entry in zip(names, item.entries, strict=True)
        ]
        return "".join([*lines, "\n"])

    def end(self) -> str:
        return ""


def _beancount_account(account: str, source: str) -> str:
    """Return the account: what members hold is owed, what they consume is earned."""
    if account == "grant":
        return f"Liabilities:Tokens:{source.capitalize()}"
    if account.startswith("issued:"):
        return f"Expenses:Issued:{account.removeprefix('issued:').capitalize()}"
    return f"Income:{account.capitalize()}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + " ".join(escaped.split()) + '"'


def report_csv(report: FinanceReport) -> str:
    """Return a report's rows and its total as CSV; grains."""
    columns = [field.name for field in fields(ReportRow)]
    total = ("total", *astuple(report.total)[1:])
    lines = [columns, *(astuple(row) for row in report.rows), total]
    return "".join(csv_row(line) for line in lines)
