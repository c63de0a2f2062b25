"""Run it: ``make bench-kubernetes``, or ``python -m benchmarks.kubernetes`` with a `KUBECONFIG`."""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.hubs import BenchmarkError
from benchmarks.kubernetes.places import Place, places
from benchmarks.kubernetes.requests import Asked, AuditLog
from benchmarks.report import Report, Row, machine_facts, render
from benchmarks.statistics import percentile, ratio_of_medians

__all__ = ["main"]

_AIM = "median ≤ 1.05"
_SEED = 11
_MEMBERS = 5
_AT_ONCE = 10


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kubernetes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="starts on each hub (default: 20)")
    parser.add_argument("--idle", type=int, default=50, help="servers while idle (default: 50)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there, too")
    arguments = parser.parse_args()
    if not os.environ.get("KUBECONFIG"):
        parser.error("set KUBECONFIG, or use: make bench-kubernetes")
    path = os.environ.get("JHUB_TOKENS_TEST_AUDIT_LOG")
    log = AuditLog(Path(path)) if path else None
    facts = machine_facts()
    try:
        with places(_MEMBERS + arguments.idle) as (plain, ours):
            report = _measure(plain, ours, arguments.rounds, arguments.idle, log)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    facts["load_after"] = [round(load, 2) for load in os.getloadavg()]
    print(render(facts, [report]))
    if arguments.json is not None:
        results = {"facts": facts, "benchmarks": [report.as_json()]}
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(plain: Place, ours: Place, rounds: int, idle: int, log: AuditLog | None) -> Report:
    names = [f"member-{number}" for number in range(_MEMBERS)]
    for place in (plain, ours):
        place.hub.add_users(names)
    times: dict[str, list[float]] = {f"{p.hub.name} {w}": [] for p in (plain, ours) for w in _WHAT}
    asked: dict[str, Asked] = {key: Asked(Counter()) for key in times}
    lots = random.Random(_SEED)
    # The first start of each member makes the claim.
    for number in range(-_MEMBERS, rounds):
        order = [plain, ours]
        lots.shuffle(order)
        for place in order:
            name = names[number % _MEMBERS]
            for what, act in (("start", place.hub.start_server), ("stop", place.hub.stop_server)):
                mark = log.mark() if log else 0
                took_s = _timed(act, name)
                if number < 0:
                    continue
                key = f"{place.hub.name} {what}"
                times[key].append(took_s)
                if log:
                    asked[key].by_kind += log.since(mark, place.namespace.name).by_kind
        print(f"{max(0, number + 1)}/{rounds}", file=sys.stderr, flush=True)
    rows = [row for what in _WHAT for row in _time_rows(what, times)]
    notes = [
        f"{rounds} starts and stops on each hub, taking turns, the first by lot; all with a claim"
        " that is there",
        "[low, high]: 95 % bootstrap interval of the ratio of medians, resampled in pairs",
    ]
    if log:
        rows += [_request_row(f"requests for each {what}", what, asked, rounds) for what in _WHAT]
        idle_asked = {f"{p.hub.name} idle": _idle(p, idle, log) for p in (plain, ours)}
        label = f"requests in an idle minute, {idle} servers"
        rows.append(_request_row(label, "idle", idle_asked, 1))
        asked |= idle_asked
        for key, found in asked.items():
            notes.append(f"{key}: {found.each(1 if key.endswith('idle') else rounds)}")
    else:
        notes.append("no requests were counted: JHUB_TOKENS_TEST_AUDIT_LOG is not set")
    data = {"times_s": times, "requests": {k: dict(v.by_kind) for k, v in asked.items()}}
    return Report("kubernetes", "Pods on a cluster", rows, notes, data)


_WHAT = ("start", "stop")
_TITLES = {"start": "start to ready", "stop": "stop to gone"}


def _timed(act: Callable[[str], object], name: str) -> float:
    begun = time.perf_counter()
    act(name)
    return time.perf_counter() - begun


def _idle(place: Place, servers: int, log: AuditLog) -> Asked:
    """Count what is asked for in a minute in which nothing happens but looking."""
    names = [f"idle-{number}" for number in range(servers)]
    place.hub.add_users(names)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(place.hub.start_server, names))
        time.sleep(20)  # the last one's events are over
        mark = log.mark()
        time.sleep(60)
        found = log.since(mark, place.namespace.name)
        list(pool.map(place.hub.stop_server, names))
    return found


def _time_rows(what: str, times: dict[str, list[float]]) -> list[Row]:
    plain, ours = times[f"plain {what}"], times[f"ours {what}"]
    ratio = ratio_of_medians(ours, plain)
    slow = percentile(plain, 95), percentile(ours, 95)
    title = _TITLES[what]
    return [
        Row(
            f"{title}, median",
            f"{statistics.median(plain):.2f} s",
            f"{statistics.median(ours):.2f} s",
            f"× {ratio}",
            _AIM,
        ),
        Row(
            f"{title}, p95",
            f"{slow[0]:.2f} s",
            f"{slow[1]:.2f} s",
            f"× {slow[1] / slow[0]:.3f}",
        ),
    ]


def _request_row(label: str, what: str, asked: dict[str, Asked], count: int) -> Row:
    plain, ours = (asked[f"{name} {what}"].total / count for name in ("plain", "ours"))
    aims = {"start": "≤ +2", "stop": "≤ +2", "idle": "no more"}
    return Row(label, f"{plain:.2f}", f"{ours:.2f}", f"{ours - plain:+.2f}", aims[what])


if __name__ == "__main__":
    sys.exit(main())
