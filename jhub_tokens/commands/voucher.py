"""``jhub-tokens voucher make|list|revoke``: codes that members redeem for tokens."""

from __future__ import annotations

import argparse
import uuid

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import OpenBooks, open_books, print_json
from jhub_tokens.commands.books import add_arguments as add_book_arguments
from jhub_tokens.commands.grant import amount_grains_of, operator_name
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.money import DAY_MS, batch_row, end_of_day_ms
from jhub_tokens.units import format_tokens
from jhub_tokens.wire.money import VoucherBatchMade

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens voucher``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = actions.add_parser("make", help="make a batch and show its codes, this once")
    make.add_argument("--count", type=int, required=True, help="how many, 1 to 10000")
    make.add_argument("--tokens", required=True, help="what each is worth, such as 20 or 0.5")
    make.add_argument("--expires", metavar="DAY", help="last day to redeem, such as 2027-03-31")
    make.add_argument(
        "--tokens-last-days", type=int, metavar="DAYS", help="tokens lapse so long after redeeming"
    )
    make.add_argument("--note", default="", help="what they are for, for administrators")
    add_book_arguments(make)
    listing = actions.add_parser("list", help="show the batches and how much was redeemed")
    add_book_arguments(listing)
    revoke = actions.add_parser("revoke", help="let no more of a batch be redeemed")
    revoke.add_argument("batch_id", metavar="BATCH")
    add_book_arguments(revoke)


def run(args: argparse.Namespace) -> int:
    """Do what was asked of the vouchers."""
    with open_books(args) as books:
        {"make": _make, "list": _list, "revoke": _revoke}[args.action](args, books)
    return 0


def _make(args: argparse.Namespace, books: OpenBooks) -> None:
    try:
        expires_ms = end_of_day_ms(args.expires, books.catalogue)
    except Problem as problem:
        raise CommandError(f"--expires: {problem.message}", 2) from None
    days = args.tokens_last_days
    actor = operator_name()
    batch, codes = books.ledger.vouchers.make(
        count=args.count,
        amount_grains=amount_grains_of(args.tokens, "--tokens"),
        expires_ms=expires_ms,
        tokens_last_ms=None if days is None else days * DAY_MS,
        note=args.note,
        actor=actor,
        caller=actor,
        key=f"cli-{uuid.uuid4().hex}",
    )
    if args.json:
        print_json(VoucherBatchMade(batch=batch_row(batch), codes=list(codes)).model_dump())
        return
    print("\n".join(codes))


def _list(args: argparse.Namespace, books: OpenBooks) -> None:
    batches, _ = books.ledger.vouchers.batches(page_size=1000)
    if args.json:
        print_json([batch_row(batch).model_dump() for batch in batches])
        return
    for batch in batches:
        state = " revoked" if batch.revoked_ms is not None else ""
        worth = format_tokens(batch.amount_grains, 3)
        print(f"{batch.batch_id} {batch.redeemed}/{batch.vouchers} of {worth}{state} {batch.note}")


def _revoke(args: argparse.Namespace, books: OpenBooks) -> None:
    batch = books.ledger.vouchers.revoke(args.batch_id, actor=operator_name())
    if args.json:
        print_json(batch_row(batch).model_dump())
        return
    print(f"revoked; {batch.redeemed} of {batch.vouchers} had been redeemed")
