"""``jhub-tokens seal``: seal the books as they are, and keep the seals outside the database."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import add_arguments as add_book_arguments
from jhub_tokens.commands.books import open_books, print_json
from jhub_tokens.ledger.exported_seals import SealFileProblem, append_seals
from jhub_tokens.ledger.seals import seal_facts

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens seal``."""
    add_book_arguments(parser)
    parser.add_argument(
        "--keep",
        metavar="FILE",
        type=Path,
        help="append all seals that FILE lacks, with what is needed to locate a change",
    )


def run(args: argparse.Namespace) -> int:
    """Seal what has changed since the last seal; print the last seal there is."""
    key = os.environ.get("JHUB_TOKENS_SEAL_KEY", "")
    with open_books(args) as books:
        made = books.ledger.seals.make()
        last = books.ledger.seals.last()
        kept = 0
        if args.keep is not None:
            try:
                kept = append_seals(books.ledger.seals, args.keep, key)
            except SealFileProblem as problem:
                raise CommandError(str(problem)) from None
    if args.json:
        told = None if last is None else seal_facts(last, key)
        print_json({"last": told, "made": [seal.number for seal in made], "kept": kept})
    elif last is None:
        print("there is nothing to seal yet")
    else:
        news = f"{sum(seal.heads_count for seal in made)} wallets sealed" if made else "no change"
        print(f"{news}; seal {last.number} is {last.hash}")
    return 0
