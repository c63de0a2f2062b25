"""``jhub-tokens check FILE``: tell whether a catalogue is right."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from jhub_tokens.catalogue import Catalogue, CatalogueError, CheckReport, check_catalogue
from jhub_tokens.catalogue.reading import read_catalogue_text
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens check``."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="catalogue file (YAML)")
    parser.add_argument("--json", action="store_true", help="write JSON for programs")
    parser.add_argument("--strict", action="store_true", help="fail on warnings, too")


def run(args: argparse.Namespace) -> int:
    """Check the files; return 1 if one of them cannot be used."""
    reports = {file: _check(file) for file in args.files}
    if args.json:
        print(json.dumps([_as_json(file, report) for file, report in reports.items()], indent=2))
    else:
        for file, report in reports.items():
            for problem in (*report.errors, *report.warnings):
                print(problem, file=sys.stderr)
            if report.catalogue is not None:
                print(f"{file}: {_summary(report.catalogue)}")
    failed = any(report.errors or (args.strict and report.warnings) for report in reports.values())
    return 1 if failed else 0


def _check(file: str) -> CheckReport:
    try:
        return check_catalogue(read_catalogue_text(file), file)
    except CatalogueError as error:
        return CheckReport(None, error.problems, ())


def _as_json(file: str, report: CheckReport) -> dict[str, object]:
    return {
        "file": file,
        "usable": report.catalogue is not None,
        "problems": [dataclasses.asdict(problem) for problem in (*report.errors, *report.warnings)],
    }


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
