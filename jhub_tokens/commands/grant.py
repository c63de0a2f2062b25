"""``jhub-tokens grant NAME TOKENS --reason …``: give a member tokens, or take some back."""

from __future__ import annotations

import argparse
import getpass
import re
import uuid

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import add_arguments as add_book_arguments
from jhub_tokens.commands.books import find_member, open_books, print_json
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, AmountError, format_tokens, parse_tokens_mtok
from jhub_tokens.wire import Amount, GrantReceipt

__all__ = ["add_arguments", "amount_grains_of", "operator_name", "run"]

_KEY = re.compile(r"[\x21-\x7e]{8,200}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens grant``."""
    parser.add_argument("name", metavar="NAME", help="the member's name on the hub")
    parser.add_argument("tokens", metavar="TOKENS", help="such as 20 or 0.5; -5 takes 5 back")
    parser.add_argument("--reason", required=True, help="shown on the member's statement")
    parser.add_argument(
        "--kind",
        choices=("topup", "adjustment"),
        help="default: topup, or adjustment where tokens are taken back",
    )
    parser.add_argument(
        "--key",
        help="8 to 200 characters that make a repeated call harmless: the same key with the "
        "same amount is booked once",
    )
    add_book_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Book the grant and show the new balance."""
    amount_grains = amount_grains_of(args.tokens, "TOKENS")
    kind = args.kind or ("topup" if amount_grains > 0 else "adjustment")
    if not 3 <= len(args.reason.strip()) <= 500:
        raise CommandError("--reason: write 3 to 500 characters", 2)
    key = args.key or f"cli-{uuid.uuid4().hex}"
    if not _KEY.fullmatch(key):
        raise CommandError("--key: write 8 to 200 visible ASCII characters, no spaces", 2)
    actor = operator_name()
    with open_books(args) as books:
        member = find_member(books.ledger, args.name)
        booked = books.ledger.grant(
            member.member_id,
            amount_grains=amount_grains,
            kind=kind,
            actor=actor,
            reason=args.reason.strip(),
            caller=actor,
            key=key,
        )
    if args.json:
        receipt = GrantReceipt(
            transaction_id=booked.transaction_id,
            amount=Amount.of(booked.amount_grains),
            balance=Amount.of(booked.balance_grains),
        )
        print_json(receipt.model_dump())
    else:
        verb = "given to" if booked.amount_grains > 0 else "taken from"
        amount = format_tokens(abs(booked.amount_grains), 3)
        balance = format_tokens(booked.balance_grains, 3)
        print(f"{amount} tokens {verb} {member.name}; balance now {balance}")
    return 0


def amount_grains_of(text: str, name: str) -> int:
    """Read an amount of tokens; `name` is the argument's, for the message."""
    # A comma may mean thousands or decimals, depending on who writes: never guess with money.
    if "," in text or "_" in text:
        raise CommandError(f"{name}: '{text}': write a plain number such as 1000 or 0.5", 2)
    try:
        mtok = parse_tokens_mtok(text)
    except AmountError as error:
        raise CommandError(f"{name}: {error}", 2) from None
    if mtok == 0:
        raise CommandError(f"{name}: 0 tokens would change nothing", 2)
    return mtok * GRAINS_PER_MILLITOKEN


def operator_name() -> str:
    """Return who acts, as the books write it down."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return "cli:operator"
