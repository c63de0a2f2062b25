"""``jhub-tokens erase NAME``: erase a member's personal data; the books stay whole."""

from __future__ import annotations

import argparse

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import add_arguments as add_book_arguments
from jhub_tokens.commands.books import find_member, open_books, print_json
from jhub_tokens.commands.grant import operator_name
from jhub_tokens.service.finance import erasure_row

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens erase``."""
    parser.add_argument("name", metavar="NAME", help="the member's name on the hub")
    parser.add_argument(
        "--reason", required=True, help="for the record, which stays: do not name the member"
    )
    parser.add_argument("--write-off", action="store_true", help="write off what the member owes")
    parser.add_argument("--yes", action="store_true", help="it cannot be undone: say so")
    add_book_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Erase the member."""
    if not 3 <= len(args.reason.strip()) <= 500:
        raise CommandError("--reason: write 3 to 500 characters", 2)
    if args.name.lower() in args.reason.lower():
        raise CommandError("--reason: it stays in the books, so it must not name the member", 2)
    with open_books(args) as books:
        member = find_member(books.ledger, args.name)
        if not args.yes:
            raise CommandError(
                f"this erases who {member.name} was and cannot be undone; add --yes to do it", 2
            )
        done = books.ledger.finance.erase_member(
            member.member_id, actor=operator_name(), reason=args.reason, write_off=args.write_off
        )
        zone = books.catalogue.zone
    if args.json:
        print_json(erasure_row(done, zone).model_dump())
    else:
        print(f"erased; the books know them as {done.member_id} from now on")
    return 0
