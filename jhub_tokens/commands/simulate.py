"""``jhub-tokens simulate CATALOGUE``: what a catalogue would do to invented members."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from jhub_tokens.catalogue import CatalogueError, load_catalogue
from jhub_tokens.clock import ManualClock
from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import print_json
from jhub_tokens.ledger import DatabaseProblem, LedgerError, open_ledger
from jhub_tokens.ledger.store import describe_failure, open_engine
from jhub_tokens.simulation import (
    ARCHETYPES,
    DEFAULT_MIX,
    Report,
    Scenario,
    ScenarioError,
    make_scenario,
    simulate,
)
from jhub_tokens.simulation.text import as_csv, as_text

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens simulate``."""
    parser.add_argument("catalogue", metavar="CATALOGUE", help="catalogue file (YAML)")
    parser.add_argument("--members", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--months", type=int, default=1, metavar="M", help="default: 1")
    parser.add_argument(
        "--seed", default="1", help="the same seed gives the same report (default: 1)"
    )
    parser.add_argument(
        "--mix",
        default=DEFAULT_MIX,
        help=f"how members work, in shares of {', '.join(ARCHETYPES)} (default: {DEFAULT_MIX})",
    )
    parser.add_argument(
        "--plan-mix",
        metavar="MIX",
        help="plans in shares, such as basic:80,pro:20; the bigger ones go to those who use most "
        "(default: everybody holds the default plan)",
    )
    parser.add_argument(
        "--start", default="2026-01-01", metavar="DAY", help="first day (default: 2026-01-01)"
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="an empty database to keep the books in: SQLAlchemy URL or path of a new SQLite "
        "file (default: a temporary one)",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="write everything as JSON")
    output.add_argument("--csv", action="store_true", help="write one CSV row for each member")


def run(args: argparse.Namespace) -> int:
    """Simulate and report; return 1 if a token is missing."""
    scenario = _scenario(args)
    began_s = time.monotonic()
    with _database(args.database) as url:
        report = _simulate(url, scenario)
    if sys.stderr.isatty():
        print(f"\rsimulated in {time.monotonic() - began_s:,.1f} s", file=sys.stderr)
    findings = report.conservation.findings
    if findings:
        for finding in findings[:20]:
            print(finding, file=sys.stderr)
        raise CommandError(
            f"the books do not add up ({len(findings)} findings): report this, with the "
            "catalogue and the options; --database keeps the books"
        )
    if args.json:
        print_json(report.to_json())
    elif args.csv:
        print(as_csv(report), end="")
    else:
        print(as_text(report))
    return 0


def _scenario(args: argparse.Namespace) -> Scenario:
    try:
        start = date.fromisoformat(args.start)
    except ValueError:
        raise CommandError(
            f"--start: '{args.start}' is no day; write it as in 2026-01-31", 2
        ) from None
    try:
        catalogue = load_catalogue(args.catalogue)
    except CatalogueError as error:
        raise CommandError(str(error)) from None
    try:
        return make_scenario(
            catalogue,
            members=args.members,
            months=args.months,
            seed=args.seed,
            mix=args.mix,
            plan_mix=args.plan_mix,
            start=start,
        )
    except ScenarioError as error:
        raise CommandError(str(error), 2) from None


def _simulate(url: str, scenario: Scenario) -> Report:
    clock = ManualClock(scenario.start_ms)
    try:
        _require_empty(url)
        ledger = open_ledger(url, clock, lambda: scenario.catalogue)
        try:
            return simulate(ledger, clock, scenario, _progress())
        finally:
            ledger.close()
    except DatabaseProblem as problem:
        raise CommandError(f"--database: {problem}") from None
    except LedgerError as error:
        raise CommandError(f"the books refuse what they should not: {error}") from None


def _require_empty(url: str) -> None:
    """Refuse a database with anything in it: invented members must not get into real books.

    It is looked at before `open_ledger` would bring an older schema forward.
    """
    engine = open_engine(url)
    try:
        tables = inspect(engine).get_table_names()
    except DBAPIError as error:
        raise describe_failure(error) from None
    finally:
        engine.dispose()
    if tables:
        raise DatabaseProblem(
            "There is something in this database already.",
            "Name an empty one: a simulation invents members.",
        )


@contextmanager
def _database(given: str | None) -> Iterator[str]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="jhub-tokens-simulate-") as folder:
            yield f"sqlite:///{folder}/books.sqlite"
    elif "://" in given:
        yield given
    else:
        yield f"sqlite:///{Path(given).expanduser()}"


def _progress() -> Callable[[float], None]:
    """Return what shows the progress on a terminal, and nothing in a log or a pipe."""
    if not sys.stderr.isatty():
        return lambda share: None
    return lambda share: print(f"\r{share:4.0%}", end="", file=sys.stderr, flush=True)
