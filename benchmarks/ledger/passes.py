"""What one pass of the warden costs while 100,000 servers run: it should grow with what is due."""

from __future__ import annotations

import statistics
import time

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.copies import populate
from benchmarks.ledger.databases import Site, open_sites
from benchmarks.ledger.tables import Part, milliseconds
from benchmarks.ledger.worlds import catalogue, make_model
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, open_ledger

__all__ = ["run"]

_BATCH = 200  # as the service's warden asks for
_FEW = 1_000
_SAMPLE = 50
_AIM_NOTHING_S = 0.005


def run(databases: tuple[str, ...], *, quick: bool) -> Part:
    """Time passes with nothing, a little and much due, with few and with many servers running."""
    running = 10_000 if quick else 100_000
    rounds = {0: 30, 10: 3, 100: 1} if quick else {0: 100, 10: 10, 1_000: 3}
    part = Part(
        "pass",
        "One pass of the warden, until nothing is due",
        ("", f"{_FEW:,} running", f"{running:,} running", "for each due", "more / few", "aim"),
        notes=[
            "median [smallest, largest]; the servers are copies made in SQL, whose books the audit"
            " found clean on a sample, before and after a pass"
        ],
    )
    with open_sites(databases) as sites:
        for site in sites:
            _check_sample(site)
            few = _measure(site, _FEW, rounds)
            many = _measure(site, running, rounds)
            part.data[site.kind] = {"few": few, "many": many, "running": running}
            for due in rounds:
                ratio = statistics.median(many[due]) / statistics.median(few[due])
                each = statistics.median(many[due]) / due * 1000 if due else None
                part.rows.append(
                    (
                        f"{site.kind}, {due:,} due",
                        milliseconds(few[due]),
                        milliseconds(many[due]),
                        "" if each is None else f"{each:.2f} ms",
                        f"× {ratio:.2f}",
                        "≤ ×1.5" if due else f"< {_AIM_NOTHING_S * 1000:.0f} ms",
                    )
                )
    return part


def _measure(site: Site, running: int, rounds: dict[int, int]) -> dict[int, list[float]]:
    """Return the durations of passes by how much was due."""
    model, due_model = make_model("running"), make_model("due")
    name = f"running_{running}"
    site.create(name)
    populate(site, name, model, running)
    site.analyze(name)
    ledger = open_ledger(site.url(name), ManualClock(due_model.now_ms), catalogue)
    times: dict[int, list[float]] = {due: [] for due in rounds}
    try:
        first = running
        populate(site, name, due_model, _BATCH, first=first)
        first += _BATCH
        _pass(ledger, _BATCH)  # statements are compiled once, connections made
        for due, turns in rounds.items():
            for _ in range(turns):
                if due:
                    populate(site, name, due_model, due, first=first)
                    first += due
                times[due].append(_pass(ledger, due))
    finally:
        ledger.close()
    site.drop(name)
    return times


def _pass(ledger: Ledger, due: int) -> float:
    advanced = 0
    begun = time.perf_counter()
    while done := ledger.advance_due(_BATCH).wallets:
        advanced += done
        if done < _BATCH:
            break
    took_s = time.perf_counter() - begun
    if advanced != due:
        raise BenchmarkError(f"{due} wallets were due, {advanced} were advanced")
    return took_s


def _check_sample(site: Site) -> None:
    """See that the audit finds nothing in books that were filled as those to be measured."""
    site.create("sample")
    model = make_model("due")
    populate(site, "sample", make_model("running"), _SAMPLE)
    populate(site, "sample", model, _SAMPLE, first=_SAMPLE)
    ledger = open_ledger(site.url("sample"), ManualClock(model.now_ms), catalogue)
    try:
        findings = ledger.audit()
        advanced = ledger.advance_due(_BATCH).wallets
        findings += ledger.audit()
    finally:
        ledger.close()
    if findings:
        raise BenchmarkError(f"the books are not clean: {findings[0]}")
    if advanced != _SAMPLE:
        raise BenchmarkError(f"{_SAMPLE} wallets were due, {advanced} were advanced")
    site.drop("sample")
