"""Running sessions settled per second, against the same statements and against a peer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.copies import Model, copied, populate, suffix
from benchmarks.ledger.databases import Site, open_sites
from benchmarks.ledger.peer import PEER, bill_with_peer
from benchmarks.ledger.recording import Operation, recording, replay, statements
from benchmarks.ledger.tables import Part, per_second
from benchmarks.ledger.worlds import HubTold, catalogue, make_model
from benchmarks.statistics import Ratio, ratio_of_medians
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, open_ledger
from jhub_tokens.wire import EndSeen, Identity, ServerSeen

__all__ = ["run"]

_BATCH = 200  # as the service's warden asks for
_WARM_UP = 20
_AIM_RAW, _AIM_PEER = "≥ 0.5", "≥ 10"

Prepare = Callable[[Ledger, Model], Callable[[], None]]


def run(databases: tuple[str, ...], *, quick: bool) -> Part:
    """Settle due servers in turns: the ledger, a raw driver, and the peer's billing task."""
    rounds, servers = (2, 100) if quick else (5, 1000)
    part = Part(
        "settle",
        f"Running servers settled per second ({rounds} rounds of {servers:,}, each on new books)",
        ("", "ours", "theirs", "ours / theirs [95 %]", "aim"),
    )
    peer_s = bill_with_peer(servers, rounds)
    part.data["peer"] = {"version": PEER, "servers": servers, "seconds": peer_s}
    part.notes += [
        "advance_due: each server is charged and its member gets a notice, "
        f"{_BATCH} wallets a transaction; observe: all servers end in one snapshot",
        f"{PEER}: its own billing task over as many due users, on the hub's SQLite; of the hub it "
        "gets stand-ins that cost nothing",
    ]
    model = make_model("due")
    with open_sites(databases) as sites:
        for site in sites:
            site.create("servers")
            populate(site, "servers", model, servers + _WARM_UP)
            site.analyze("servers")
            for name, prepare in (("advance_due", _prepare_due), ("observe", _prepare_ends)):
                contest = _contest(site, model, prepare, rounds)
                _rows(part, f"{site.kind}, {name}", contest, servers, peer_s)
                part.data[f"{site.kind}-{name}"] = {
                    "ours": contest.ours_s,
                    "raw": contest.raw_s,
                    "statements": contest.statements,
                }
    return part


@dataclass(slots=True)
class _Contest:
    ours_s: list[float] = field(default_factory=list)
    raw_s: list[float] = field(default_factory=list)
    statements: int = 0


def _contest(site: Site, model: Model, prepare: Prepare, rounds: int) -> _Contest:
    contest = _Contest()
    warm_up, settling = _record(site, model, prepare)
    contest.statements = statements(settling)
    for turn in range(rounds):
        if turn % 2:
            contest.ours_s.append(_ours(site, model, prepare))
        contest.raw_s.append(_raw(site, warm_up, settling))
        if not turn % 2:
            contest.ours_s.append(_ours(site, model, prepare))
    return contest


def _rows(part: Part, title: str, contest: _Contest, servers: int, peer_s: list[float]) -> None:
    ours = per_second(contest.ours_s, servers)
    each = contest.statements / servers
    part.rows.append(
        (
            f"{title}, against the same statements ({each:.1f} a server)",
            ours,
            per_second(contest.raw_s, servers),
            str(ratio_of_medians(contest.raw_s, contest.ours_s)),
            _AIM_RAW,
        )
    )
    part.rows.append(
        (
            f"{title}, against {PEER}",
            ours,
            per_second(peer_s, servers),
            _times(ratio_of_medians(peer_s, contest.ours_s)),
            _AIM_PEER,
        )
    )


def _times(ratio: Ratio) -> str:
    return f"× {ratio.value:.1f} [{ratio.low:.1f}, {ratio.high:.1f}]"


# --- what is done ---------------------------------------------------------------------------------


def _prepare_due(ledger: Ledger, model: Model) -> Callable[[], None]:
    """Warm up with some due wallets; return what settles the others as the warden does."""
    del model
    ledger.advance_due(_WARM_UP)

    def settle() -> None:
        while ledger.advance_due(_BATCH).wallets:
            pass

    return settle


def _prepare_ends(ledger: Ledger, model: Model) -> Callable[[], None]:
    """Warm up with some servers' ends; return what tells of all the others' ends."""
    start_key = str(model.only("sessions")["start_key"])
    running = ledger.totals()["sessions_running"]
    keys = [copied(start_key, suffix(number)) for number in range(running)]
    servers = [_seen(model, key) for key in keys]
    hub = HubTold(ledger)
    hub.tell(servers[_WARM_UP:], [_end(key) for key in keys[:_WARM_UP]])
    snapshot = hub.snapshot([], [_end(key) for key in keys[_WARM_UP:]])

    def settle() -> None:
        ledger.observe(snapshot)

    return settle


def _seen(model: Model, start_key: str) -> ServerSeen:
    member = model.only("members")
    identity = Identity(
        hub_user_id=member["hub_user_id"], created=member["hub_created"], name=member["name"]
    )
    return ServerSeen(member=identity, start_key=start_key, ready_age_ms=3_600_000, alive_age_ms=0)


def _end(start_key: str) -> EndSeen:
    return EndSeen(start_key=start_key, ready_age_ms=3_600_000, ended_age_ms=0)


def _ours(site: Site, model: Model, prepare: Prepare) -> float:
    site.copy("servers", "ours")
    ledger = open_ledger(site.url("ours"), ManualClock(model.now_ms), catalogue)
    try:
        settle = prepare(ledger, model)
        begun = time.perf_counter()
        settle()
        took_s = time.perf_counter() - begun
        if left := ledger.advance_due(_BATCH).wallets:
            raise BenchmarkError(f"{left} wallets were left")
        if findings := ledger.audit():
            raise BenchmarkError(f"the books are not clean: {findings[0]}")
    finally:
        ledger.close()
    site.drop("ours")
    return took_s


def _raw(site: Site, warm_up: Operation, settling: Operation) -> float:
    site.copy("servers", "raw")
    connection: Any = site.connect("raw")
    try:
        replay(connection, [warm_up])
        begun = time.perf_counter()
        replay(connection, [settling])
        took_s = time.perf_counter() - begun
    finally:
        connection.close()
    site.drop("raw")
    return took_s


def _record(site: Site, model: Model, prepare: Prepare) -> tuple[Operation, Operation]:
    site.copy("servers", "recorded")
    with recording() as recorder:
        ledger = open_ledger(site.url("recorded"), ManualClock(model.now_ms), catalogue)
        try:
            with recorder.operation():
                settle = prepare(ledger, model)
            with recorder.operation():
                settle()
        finally:
            ledger.close()
    site.drop("recorded")
    warm_up, settling = recorder.operations
    return warm_up, settling
