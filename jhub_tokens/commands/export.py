"""``jhub-tokens export``: transactions of some months as CSV, JSON or beancount."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import TextIO

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import add_arguments as add_book_arguments
from jhub_tokens.commands.books import open_books
from jhub_tokens.ledger.exports import Cursor
from jhub_tokens.periods import month_of
from jhub_tokens.service.export_text import MEDIA, export_writer

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens export``."""
    parser.add_argument("--from", dest="from_month", metavar="MONTH", help="such as 2026-10")
    parser.add_argument("--to", dest="to_month", metavar="MONTH", help="default: that of --from")
    parser.add_argument("--format", choices=tuple(MEDIA), default="csv", help="default: csv")
    parser.add_argument(
        "--names", action="store_true", help="with members' names, and who did it and why"
    )
    parser.add_argument("--output", metavar="FILE", help="a new file; default: standard output")
    add_book_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the export."""
    if args.json:
        args.format = "json"
    with open_books(args) as books, _output(args.output) as out:
        zone, finance = books.catalogue.zone, books.ledger.finance
        from_month = args.from_month or args.to_month or month_of(books.ledger.now_ms(), zone)
        from_ms, to_ms = finance.span(from_month, args.to_month or from_month)
        writer = export_writer(args.format, zone)
        out.write(writer.begin())
        after: Cursor | None = None
        while True:
            page = finance.export_page(from_ms, to_ms, names=args.names, after=after)
            out.writelines(map(writer.write, page.transactions))
            after = page.next
            if after is None:
                break
        out.write(writer.end())
    return 0


@contextlib.contextmanager
def _output(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        with open(path, "x", encoding="utf-8", newline="") as file:
            yield file
    except FileExistsError:
        raise CommandError(f"--output: {path} is there already; name a new file", 2) from None
    except OSError as error:
        raise CommandError(f"--output: {path} cannot be written: {error.strerror}") from None
