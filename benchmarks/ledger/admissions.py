"""Durable admitted starts per second, against the same statements without our code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.copies import FIRST_SUFFIX, Model, copied, populate, suffix
from benchmarks.ledger.databases import PostgresSite, Site, open_sites
from benchmarks.ledger.pgbench import find_pgbench, run_pgbench, script
from benchmarks.ledger.recording import Operation, recording, replay, statements
from benchmarks.ledger.tables import Part, per_second
from benchmarks.ledger.worlds import catalogue, make_model
from benchmarks.statistics import ratio_of_medians
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, open_ledger

__all__ = ["AIM", "run"]

AIM = "≥ 0.5"
_CLIENTS = {"sqlite": (1,), "postgresql": (1, 8)}
_WARM_UP = 24  # a multiple of the clients
_NO_PGBENCH = "pgbench is not on this machine (Debian: apt install postgresql-client): left out"


def run(databases: tuple[str, ...], *, quick: bool) -> Part:
    """Measure admissions in turns: the ledger's, a raw driver's, pgbench's."""
    rounds, starts = (3, 48) if quick else (9, 240)
    part = Part(
        "admissions",
        f"Durable admitted starts per second ({rounds} rounds of {starts})",
        ("", "Ledger.admit", "same statements", "ours / theirs [95 %]", "aim"),
        notes=["each start is a transaction of its own, synced to the disk before the answer"],
    )
    model = make_model("idle")
    with open_sites(databases) as sites:
        for site in sites:
            measured = rounds * starts * len(_CLIENTS[site.kind])
            site.create("members")
            populate(site, "members", model, measured + _WARM_UP)
            site.analyze("members")
            _database(part, site, model, rounds, starts)
    return part


@dataclass(slots=True)
class _Contest:
    """Times of one number of clients, in seconds a round, by contestant."""

    clients: int
    times: dict[str, list[float]] = field(default_factory=dict)


def _database(part: Part, site: Site, model: Model, rounds: int, starts: int) -> None:
    recorded = _record(site, model, _WARM_UP + rounds * starts * len(_CLIENTS[site.kind]))
    part.notes.append(f"{site.kind}: {statements(recorded[-1])} statements an admission")
    driver = "sqlite3" if site.kind == "sqlite" else "psycopg"
    pgbench = find_pgbench() if isinstance(site, PostgresSite) else None
    if isinstance(site, PostgresSite) and pgbench is None:
        part.notes.append(_NO_PGBENCH)
    at = _WARM_UP
    names = ["ours", driver, *(["pgbench"] if pgbench else [])]
    for name in names:
        site.copy("members", name)
    ledger = open_ledger(site.url("ours"), ManualClock(model.now_ms), catalogue)
    connections = [site.connect(driver) for _ in range(max(_CLIENTS[site.kind]))]
    try:
        _ours(ledger, model, range(_WARM_UP), 1)
        replay(connections[0], recorded[:_WARM_UP])
        for clients in _CLIENTS[site.kind]:
            contest = _Contest(clients, {name: [] for name in names})
            for turn in range(rounds):
                numbers = range(at, at + starts)
                at += starts
                turns: dict[str, Callable[[], float]] = {
                    "ours": lambda n=numbers, c=clients: _ours(ledger, model, n, c),  # type: ignore[misc]
                    driver: lambda n=numbers, c=clients: _raw(connections, recorded, n, c),  # type: ignore[misc]
                }
                if pgbench and isinstance(site, PostgresSite):
                    turns["pgbench"] = lambda n=numbers, c=clients: run_pgbench(  # type: ignore[misc]
                        pgbench,
                        site.uri("pgbench"),
                        script(recorded[-1]),
                        clients=c,
                        transactions=len(n),
                        first=FIRST_SUFFIX + n[0],
                    )
                for name in names if turn % 2 else reversed(names):
                    contest.times[name].append(turns[name]())
            _rows(part, site, contest, starts, names[1:])
    finally:
        ledger.close()
        for connection in connections:
            connection.close()
    _check(site, {"ours": at, driver: at, "pgbench": at - _WARM_UP}, names)


def _rows(part: Part, site: Site, contest: _Contest, starts: int, others: Sequence[str]) -> None:
    ours = contest.times["ours"]
    clients = "1 client" if contest.clients == 1 else f"{contest.clients} clients"
    for other in others:
        theirs = contest.times[other]
        part.rows.append(
            (
                f"{site.kind}, {clients}, against {other}",
                per_second(ours, starts),
                per_second(theirs, starts),
                str(ratio_of_medians(theirs, ours)),  # of durations: the smaller is the faster
                AIM,
            )
        )
    part.data[f"{site.kind}-{contest.clients}"] = {"starts": starts, "seconds": contest.times}


def _record(site: Site, model: Model, count: int) -> list[Operation]:
    """Admit the same starts on a copy of the books and return what was said to the driver."""
    site.copy("members", "recorded")
    with recording() as recorder:
        ledger = open_ledger(site.url("recorded"), ManualClock(model.now_ms), catalogue)
        try:
            for number in range(count):
                with recorder.operation():
                    _admit(ledger, model, number)
        finally:
            ledger.close()
    site.drop("recorded")
    return recorder.operations


def _admit(ledger: Ledger, model: Model, number: int) -> None:
    digits = suffix(number)
    ledger.admit(
        copied(str(model.only("members")["member_id"]), digits),
        server_name="",
        start_key=f"start-{'0' * 24}{digits}",
        profile="cpu",
    )


def _ours(ledger: Ledger, model: Model, numbers: range, clients: int) -> float:
    def admit(share: Sequence[int], _client: int) -> None:
        for number in share:
            _admit(ledger, model, number)

    return _timed(admit, numbers, clients)


def _raw(connections: list[Any], recorded: list[Operation], numbers: range, clients: int) -> float:
    def say(share: Sequence[int], client: int) -> None:
        replay(connections[client], [recorded[number] for number in share])

    return _timed(say, numbers, clients)


def _timed(work: Callable[[Sequence[int], int], None], numbers: range, clients: int) -> float:
    """Have clients share the work, and return how many seconds it took them."""
    if clients == 1:
        begun = time.perf_counter()
        work(numbers, 0)
        return time.perf_counter() - begun
    ready = threading.Barrier(clients + 1)
    failures: list[BaseException] = []

    def client(index: int) -> None:
        try:
            ready.wait()
            work(numbers[index::clients], index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=client, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    if failures:
        raise BenchmarkError(f"a client failed: {failures[0]}") from failures[0]
    return took


def _check(site: Site, expected: dict[str, int], names: Sequence[str]) -> None:
    """See that everybody did the work: as many sessions as starts, and sound books of ours."""
    for name in names:
        connection = site.connect(name)
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM sessions")
        found = cursor.fetchone()[0]
        connection.close()
        if found != expected[name]:
            raise BenchmarkError(f"{name} made {found} sessions of {expected[name]}")
    ledger = open_ledger(site.url("ours"), ManualClock(0), catalogue)
    try:
        findings = ledger.audit()
    finally:
        ledger.close()
    if findings:
        raise BenchmarkError(f"the books are not clean: {findings[0]}")
