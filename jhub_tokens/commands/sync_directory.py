"""``jhub-tokens sync-directory FILE``: take in what a sign-in provider's directory says."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from pydantic import ValidationError

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import add_arguments as add_book_arguments
from jhub_tokens.commands.books import open_books, print_json
from jhub_tokens.service.directory import sync_books
from jhub_tokens.service.errors import Problem
from jhub_tokens.wire import DirectoryOrder

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens sync-directory``."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="JSON list of accounts, or one account a line, each with its hub user's name: "
        '{"name": "ada", "claims": {"groups": ["staff"]}} or {"name": "bob", "gone": "left"}; '
        "'-' is the standard input",
    )
    parser.add_argument(
        "--complete", action="store_true", help="who is not listed is gone: suspend them"
    )
    parser.add_argument(
        "--trust-email",
        action="store_true",
        help="count e-mail addresses about which email_verified says nothing",
    )
    parser.add_argument("--force", action="store_true", help="suspend however many it takes")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    add_book_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Take the list in and tell what came of it."""
    try:
        order = DirectoryOrder(
            accounts=_accounts(args.file),
            complete=args.complete,
            trust_email=args.trust_email,
            force=args.force,
            dry_run=args.dry_run,
        )
        with open_books(args) as books:
            done = sync_books(books.ledger, order)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CommandError(f"{args.file}: {where}: {first['msg']}", 2) from None
    except Problem as problem:
        raise CommandError(f"{args.file}: {problem.field}: {problem.message}", 2) from None
    if args.json:
        print_json(done.model_dump())
        return 0
    would = "would be " if args.dry_run else ""
    for what in ("suspended", "restored"):
        for name in getattr(done, what):
            print(f"{would}{what}: {name}")
    print(
        f"{done.known} members in the directory, {len(done.changed)} {would}changed; "
        f"{done.unknown} accounts are no members yet"
    )
    return 0


def _accounts(file: str) -> list[Any]:
    try:
        if file == "-":
            text = sys.stdin.read()
        else:
            with open(file, encoding="utf-8-sig") as stream:
                text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}", 2) from None
    try:
        if text.lstrip().startswith("["):
            found = json.loads(text)
            return found if isinstance(found, list) else [found]
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{file} is no JSON list, nor JSON by lines: {error}", 2) from None
