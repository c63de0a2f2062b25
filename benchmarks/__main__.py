"""Run the benchmarks: ``python -m benchmarks [spawn|loop|…|all] [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import lab, loop, memory, spawn
from benchmarks.hubs import BenchmarkError
from benchmarks.report import Report, machine_facts, render
from jhub_tokens.commands import CommandError

__all__ = ["main"]

_BENCHMARKS: dict[str, Callable[..., Report]] = {
    "spawn": spawn.run,
    "loop": loop.run,
    "memory": memory.run,
    "lab": lab.run,
}


def main() -> int:
    """Measure what is asked for, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare a JupyterHub with jhub-tokens to the same hub without it.",
    )
    parser.add_argument(
        "which", nargs="?", default="all", choices=[*_BENCHMARKS, "all"], help="default: all"
    )
    parser.add_argument(
        "--quick", action="store_true", help="about a minute: that it works, not how fast it is"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there, too")
    arguments = parser.parse_args()
    if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: {arguments.json.parent} is no directory; make it first")
    # Whoever ends us ends the hubs as well: their processes are stopped on the way out.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    facts = machine_facts()
    reports = []
    try:
        for name, run in _BENCHMARKS.items():
            if arguments.which in (name, "all"):
                print(f"Measuring {name} …", file=sys.stderr, flush=True)
                reports.append(run(quick=arguments.quick))
    except (BenchmarkError, CommandError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbenchmarks: interrupted; nothing is left running", file=sys.stderr)
        return 130
    facts["load_after"] = [round(load, 2) for load in os.getloadavg()]
    print(render(facts, reports))
    if arguments.json is not None:
        results = {"facts": facts, "benchmarks": [report.as_json() for report in reports]}
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
