"""``jhub-tokens audit``: re-derive every balance from the entries and compare."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from contextlib import closing
from pathlib import Path

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import add_arguments as add_book_arguments
from jhub_tokens.commands.books import open_books, print_json
from jhub_tokens.ledger import Finding, Ledger
from jhub_tokens.ledger.exported_seals import ExportedSeals, SealFileProblem
from jhub_tokens.units import format_tokens

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens audit``."""
    add_book_arguments(parser)
    parser.add_argument(
        "--seals",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="seals that were kept outside the database, or the service's log in JSON; may be "
        "given again. JHUB_TOKENS_SEAL_KEY: the key that they were signed with",
    )


def run(args: argparse.Namespace) -> int:
    """Audit the books; return 1 if anything does not agree."""
    with open_books(args) as books:
        findings = _audit(books.ledger, args.seals)
        totals = books.ledger.totals()
    if args.json:
        print_json(
            {
                "clean": not findings,
                "findings": [dataclasses.asdict(finding) for finding in findings],
                "totals": totals,
            }
        )
    elif findings:
        for finding in findings:
            print(f"{finding.where}: {finding.message}", file=sys.stderr)
        print(f"audit: {len(findings)} findings; restore from a backup and report this")
    else:
        print(
            f"audit: clean; {totals['members']} members, "
            f"{format_tokens(totals['balance_grains'])} tokens in wallets, "
            f"{format_tokens(totals['consumed_grains'])} consumed"
        )
    return 1 if findings else 0


def _audit(ledger: Ledger, paths: list[Path]) -> tuple[Finding, ...]:
    if not paths:
        return ledger.audit()
    try:
        with closing(ExportedSeals(paths, os.environ.get("JHUB_TOKENS_SEAL_KEY", ""))) as exported:
            return ledger.audit(exported)
    except SealFileProblem as problem:
        raise CommandError(str(problem), 2) from None
