"""``jhub-tokens statement NAME``: every token of a period; the lines add up to the balance."""

from __future__ import annotations

import argparse
import unicodedata

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import add_arguments as add_book_arguments
from jhub_tokens.commands.books import find_member, open_books, print_json
from jhub_tokens.commands.finance import INSTANT_HELP, instant_of
from jhub_tokens.service import views
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.members import period_of
from jhub_tokens.units import grains_to_tokens
from jhub_tokens.wire import Statement

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens statement``."""
    parser.add_argument("name", metavar="NAME", help="the member's name on the hub")
    parser.add_argument(
        "--period",
        default="current",
        metavar="DAY",
        help="the day on which the period began, such as 2027-03-15; default: the current one",
    )
    parser.add_argument("--as-of", metavar="INSTANT", help=f"up to a past instant: {INSTANT_HELP}")
    parser.add_argument(
        "--basis",
        choices=("effective", "booked"),
        default="effective",
        help="with --as-of: what is true of it as far as is known now, or what was booked by then",
    )
    add_book_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Show the statement."""
    with open_books(args) as books:
        member = find_member(books.ledger, args.name)
        if args.as_of is not None:
            at_ms = instant_of(args.as_of, books)
            view = books.ledger.statement_as_of(member.member_id, at_ms, args.basis)
            return _show(args, views.statement(view, books.catalogue, args.basis))
        try:
            from_ms, to_ms = period_of(books.ledger, books.catalogue, member.member_id, args.period)
        except Problem as problem:
            raise CommandError(f"--period: {problem.message} {problem.remedy}".strip()) from None
        view = books.ledger.statement(member.member_id, from_ms, to_ms)
        return _show(args, views.statement(view, books.catalogue))


def _show(args: argparse.Namespace, statement: Statement) -> int:
    if args.json:
        print_json(statement.model_dump())
    else:
        print(_table(statement))
    return 0


def _table(statement: Statement) -> str:
    opening = f"{grains_to_tokens(statement.opening.exact_grains, 2):,f}"
    closing = f"{grains_to_tokens(statement.closing.exact_grains, 2):,f}"
    rows = [("", "Opening balance", opening)]
    rows += [(line.at, _text(line.text, line.reason), line.tokens) for line in statement.lines]
    rows.append(("", "Balance", closing))
    widths = [max(_width(row[column]) for row in rows) for column in range(3)]
    title = f"{statement.name}: {statement.period_start} to {statement.period_end}"
    lines = [
        f"{_pad(at, widths[0])}  {_pad(text, widths[1])}  {' ' * (widths[2] - len(tokens))}{tokens}"
        for at, text, tokens in rows
    ]
    return "\n".join([title, *lines])


def _text(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason and reason not in text else text


def _width(text: str) -> int:
    """Count the terminal columns: East Asian wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
