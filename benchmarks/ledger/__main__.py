"""Run the ledger's benchmarks: ``python -m benchmarks.ledger [part …] [--quick]``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger import admissions, memory, passes, reads, settle, sizes
from benchmarks.ledger.databases import DATABASES
from benchmarks.ledger.tables import Part
from benchmarks.report import machine_facts, render
from jhub_tokens.ledger import DatabaseProblem

__all__ = ["main"]

_PARTS: dict[str, Callable[..., Part]] = {
    "admissions": admissions.run,
    "settle": settle.run,
    "pass": passes.run,
    "reads": reads.run,
    "memory": memory.run,
    "sizes": sizes.run,
}


def main() -> int:
    """Measure what is asked for, print each part as it is done, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ledger",
        description="Measure the books against the same statements without our code, a peer, "
        "and their own size.",
    )
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=f"{', '.join(_PARTS)}; default: all"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes: that it works, not how fast it is"
    )
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there, too")
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in _PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; choose from {', '.join(_PARTS)}")
    if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: {arguments.json.parent} is no directory; make it first")
    # Whoever ends us ends the database server as well: it is stopped on the way out.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    databases = DATABASES if arguments.database == "both" else (arguments.database,)
    facts = machine_facts()
    parts = []
    try:
        for name, run in _PARTS.items():
            if arguments.parts and name not in arguments.parts:
                continue
            print(f"Measuring {name} …", file=sys.stderr, flush=True)
            begun = time.monotonic()
            part = run(databases, quick=arguments.quick)
            part.data["took_s"] = round(time.monotonic() - begun, 1)
            parts.append(part)
            print(f"\n{part.render()}\n", flush=True)
    except (BenchmarkError, DatabaseProblem) as error:
        print(f"benchmarks.ledger: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbenchmarks.ledger: interrupted; nothing is left running", file=sys.stderr)
        return 130
    facts["load_after"] = [round(load, 2) for load in os.getloadavg()]
    print(render(facts, []))
    if arguments.json is not None:
        results = {"facts": facts, "parts": [part.as_json() for part in parts]}
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
