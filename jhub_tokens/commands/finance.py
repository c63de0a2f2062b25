"""``jhub-tokens finance report|prepaid|balance|months|close``: what accountants ask for."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import OpenBooks, open_books, print_json
from jhub_tokens.commands.books import add_arguments as add_book_arguments
from jhub_tokens.commands.grant import operator_name
from jhub_tokens.ledger.finance_records import BY, FinanceReport
from jhub_tokens.periods import month_of
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.export_text import report_csv
from jhub_tokens.service.finance import closed_row, prepaid_body, report_body, trial_balance_body
from jhub_tokens.service.instants import iso_instant, read_instant_ms
from jhub_tokens.units import grains_to_tokens

__all__ = ["INSTANT_HELP", "add_arguments", "instant_of", "run"]

INSTANT_HELP = "2026-11-30 for the end of that day, or an instant like 2026-11-30T12:00"
_COLUMNS = ("granted", "consumed", "refunded", "returned", "expired", "overrun", "change")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens finance``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    report = actions.add_parser("report", help="tokens and money of some months")
    report.add_argument("--from", dest="from_month", metavar="MONTH", help="such as 2026-10")
    report.add_argument("--to", dest="to_month", metavar="MONTH", help="default: that of --from")
    report.add_argument(
        "--by", action="append", choices=BY, default=[], help="tell rows apart; may be repeated"
    )
    report.add_argument("--csv", action="store_true", help="write CSV, in grains")
    prepaid = actions.add_parser("prepaid", help="what members have bought and not spent")
    balance = actions.add_parser("balance", help="all accounts; together they come to zero")
    balance.add_argument("--basis", choices=("effective", "booked"), default="effective")
    for action in (prepaid, balance):
        action.add_argument("--as-of", metavar="INSTANT", help=INSTANT_HELP)
    months = actions.add_parser("months", help="the closed months")
    close = actions.add_parser("close", help="close a month for good")
    close.add_argument("month", metavar="MONTH", help="such as 2026-11")
    close.add_argument("--reason", required=True, help="for the record; 3 to 500 characters")
    for action in (report, prepaid, balance, months, close):
        add_book_arguments(action)


def instant_of(text: str | None, books: OpenBooks) -> int:
    """Read the option ``--as-of``; without it, now.

    Raises
    ------
    CommandError
        If it is no instant.
    """
    if text is None:
        return books.ledger.now_ms() + 1
    try:
        return read_instant_ms(text, books.catalogue.zone)
    except Problem as problem:
        raise CommandError(f"--as-of: {problem.message}", 2) from None


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    actions = {
        "report": _report,
        "prepaid": _prepaid,
        "balance": _balance,
        "months": _months,
        "close": _close,
    }
    with open_books(args) as books:
        actions[args.action](args, books)
    return 0


def _report(args: argparse.Namespace, books: OpenBooks) -> None:
    present = month_of(books.ledger.now_ms(), books.catalogue.zone)
    from_month = args.from_month or args.to_month or present
    report = books.ledger.finance.report(from_month, args.to_month or from_month, args.by)
    if args.json:
        print_json(report_body(report).model_dump())
    elif args.csv:
        sys.stdout.write(report_csv(report))
    else:
        print(_table(report))


def _table(report: FinanceReport) -> str:
    heading = [*report.by, *_COLUMNS]
    rows = [
        [*(getattr(row, name) or "-" for name in report.by), *_amounts(row)] for row in report.rows
    ]
    if report.by:
        rows.append(["total", *[""] * (len(report.by) - 1), *_amounts(report.total)])
    state = "closed" if report.closed else "open"
    lines = [
        f"{iso_instant(report.from_ms, report.zone)[:10]} to before "
        f"{iso_instant(report.to_ms, report.zone)[:10]}, {state}; tokens",
        _columns([heading, *rows], len(report.by)),
    ]
    broken = (report.breakage_allotted, report.breakage_bought, report.breakage_other)
    lines.append("expired: {} allotted, {} bought, {} other".format(*map(_tokens, broken)))
    lines += [
        f"{row.month or 'all'} {row.plan or '-'} {row.cost_centre or '-'} {row.currency}: "
        f"top-ups {row.top_ups}, fees {row.fees}, refunds {row.refunds}, "
        f"disputes {row.disputes}, net {row.net}, fees due {row.fees_due} (smallest unit)"
        for row in report.money
    ]
    bought, vouchers = _tokens(report.prepaid.bought), _tokens(report.prepaid.vouchers)
    lines.append(f"prepaid at the end: {bought} bought, {vouchers} in vouchers")
    return "\n".join(lines)


def _columns(rows: list[list[str]], texts: int) -> str:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n < texts else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _amounts(row: Any) -> list[str]:
    return [_tokens(getattr(row, name)) for name in _COLUMNS]


def _tokens(grains: int) -> str:
    return f"{grains_to_tokens(grains):,f}"


def _prepaid(args: argparse.Namespace, books: OpenBooks) -> None:
    found = books.ledger.finance.prepaid(instant_of(args.as_of, books))
    if args.json:
        print_json(prepaid_body(found, books.catalogue.zone).model_dump())
        return
    print(f"{_tokens(found.bought)} tokens bought and not spent")
    print(f"{_tokens(found.vouchers)} tokens in vouchers that can be redeemed")
    for currency, minor in found.money:
        print(f"{minor} {currency} (smallest unit) of paid invoices")


def _balance(args: argparse.Namespace, books: OpenBooks) -> None:
    found = books.ledger.finance.trial_balance(instant_of(args.as_of, books), args.basis)
    if args.json:
        print_json(trial_balance_body(found, books.catalogue.zone).model_dump())
        return
    print(_columns([[account, _tokens(amount)] for account, amount in found.accounts], 1))


def _months(args: argparse.Namespace, books: OpenBooks) -> None:
    months = books.ledger.finance.closed_months()
    zone = books.catalogue.zone
    if args.json:
        print_json([closed_row(month, zone).model_dump() for month in months])
        return
    for month in months:
        when = iso_instant(month.closed_ms, zone)
        print(f"{month.month} closed {when} by {month.actor}: {month.reason} {month.digest}")


def _close(args: argparse.Namespace, books: OpenBooks) -> None:
    done = books.ledger.finance.close_month(args.month, actor=operator_name(), reason=args.reason)
    if args.json:
        print_json(closed_row(done, books.catalogue.zone).model_dump())
        return
    print(f"{done.month} is closed; SHA-256 of its {done.lines} figures: {done.digest}")
