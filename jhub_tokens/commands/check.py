"""``jhub-tokens check FILE``: tell whether a catalogue is right."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from jhub_tokens.catalogue import (
    Account,
    Catalogue,
    CatalogueError,
    CheckReport,
    Decision,
    check_catalogue,
    facts_of,
)
from jhub_tokens.catalogue.reading import read_catalogue_text
from jhub_tokens.commands import CommandError
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens

__all__ = ["add_arguments", "run"]

_CLAIMS_MAX_BYTES = 10_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens check``."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="catalogue file (YAML)")
    parser.add_argument("--json", action="store_true", help="write JSON for programs")
    parser.add_argument("--strict", action="store_true", help="fail on warnings, too")
    parser.add_argument(
        "--as",
        dest="claims",
        metavar="CLAIMS",
        help="JSON file of a provider's claims about somebody ('-': standard input): tell which "
        "rule decides about them, and why",
    )
    parser.add_argument("--name", help="with --as: the hub user's name, where it is no claim")
    parser.add_argument(
        "--trust-email",
        action="store_true",
        help="with --as: count an e-mail address about which email_verified says nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Check the files; return 1 if one of them cannot be used."""
    account = _account(args) if args.claims else None
    reports = {file: _check(file) for file in args.files}
    if args.json:
        entries = [_as_json(file, report, account) for file, report in reports.items()]
        print(json.dumps(entries, indent=2))
    else:
        for file, report in reports.items():
            for problem in (*report.errors, *report.warnings):
                print(problem, file=sys.stderr)
            if report.catalogue is not None:
                print(f"{file}: {_summary(report.catalogue)}")
                if account is not None:
                    print("\n".join(_explain(file, report.catalogue, account)))
    failed = any(report.errors or (args.strict and report.warnings) for report in reports.values())
    return 1 if failed else 0


def _check(file: str) -> CheckReport:
    try:
        return check_catalogue(read_catalogue_text(file), file)
    except CatalogueError as error:
        return CheckReport(None, error.problems, ())


def _account(args: argparse.Namespace) -> Account:
    """Read the claims to try the rules on."""
    try:
        if args.claims == "-":
            raw = sys.stdin.buffer.read(_CLAIMS_MAX_BYTES + 1)
        else:
            with open(args.claims, "rb") as file:
                raw = file.read(_CLAIMS_MAX_BYTES + 1)
        if len(raw) > _CLAIMS_MAX_BYTES:
            raise CommandError(f"--as: {args.claims} is larger than 10 MB", 2)
        claims = json.loads(raw)
    except OSError as error:
        raise CommandError(f"--as: {args.claims} cannot be read: {error.strerror}", 2) from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--as: {args.claims} is not JSON: {error}", 2) from None
    if not isinstance(claims, dict):
        raise CommandError(f"--as: {args.claims} holds no object of claims such as {{...}}", 2)
    account = Account.from_claims(claims, trust_email=args.trust_email)
    return dataclasses.replace(account, name=args.name) if args.name else account


def _decide(catalogue: Catalogue, account: Account) -> Decision:
    return catalogue.decide(account.name, account.groups, facts_of(account, catalogue.asked))


def _explain(file: str, catalogue: Catalogue, account: Account) -> list[str]:
    decision = _decide(catalogue, account)
    who = account.name or "somebody without a name"
    verdict = "may not sign in" if decision.refused else f"gets the plan {decision.plan}"
    if decision.rule is None:
        default = "entry: assigned" if decision.refused else "default_plan"
        return [f"{file}: {who} {verdict}: no rule of assign matches, so {default} decides"]
    lines = [f"{file}: {who} {verdict}: rule assign[{decision.rule}] is the first that matches"]
    lines += [f"  {key}: {', '.join(held)}" for key, held in decision.why]
    return lines


def _as_json(file: str, report: CheckReport, account: Account | None) -> dict[str, object]:
    found: dict[str, object] = {
        "file": file,
        "usable": report.catalogue is not None,
        "problems": [dataclasses.asdict(problem) for problem in (*report.errors, *report.warnings)],
    }
    if account is not None and report.catalogue is not None:
        found["decision"] = _decide(report.catalogue, account).model_dump()
    return found


def _summary(catalogue: Catalogue) -> str:
    plans = ", ".join(
        f"{plan.name} {format_tokens(plan.allotment_mtok * GRAINS_PER_MILLITOKEN, 3)}"
        for plan in catalogue.plans.values()
    )
    rates = ", ".join(
        f"{profile.name} {format_tokens(profile.rate_mtok_h * GRAINS_PER_MILLITOKEN, 3)}/h"
        for profile in catalogue.profiles.values()
    )
    shadow = "" if catalogue.enforce else "; shadow mode: nothing is refused or stopped"
    return f"usable; tokens a month: {plans}; rates: {rates}{shadow}"
