"""How long the hub's event loop is held up with hundreds of running servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.hubs import Hub, Pair, hub_pair
from benchmarks.memory import resident_mib
from benchmarks.report import Report, Row
from benchmarks.statistics import percentile

__all__ = ["run"]

_AIM_S = 0.010
_STARTS_AT_ONCE = 4
_LONGEST_KEPT = 20
_BUSY_TURN_S = 1.0
_VISITORS = 5


@dataclass(slots=True)
class _Phase:
    """A stretch of time on both hubs; each hub has its own, as one may take longer."""

    name: str
    title: str
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @contextmanager
    def on(self, hub: Hub) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.spans[hub.name] = (begun, time.monotonic())


def run(*, quick: bool) -> Report:
    """Probe both hubs' loops while servers are started, run, come and go, and are found again."""
    servers, members = (20, 40) if quick else (500, 1_000)
    steady_s = 4.0 if quick else 100.0
    busy_s = 4.0 if quick else 60.0
    settle_s = 2.0 if quick else 20.0
    adding = _Phase("adding", f"adding {members:,} users")
    filling = _Phase("starting", f"starting {servers} servers")
    steady = _Phase("steady", f"{servers} servers run, {steady_s:.0f} s")
    busy = _Phase("busy", f"the same, and members come and go, {busy_s:.0f} s")
    restart = _Phase("restart", f"restart with {servers} servers, to {settle_s:.0f} s after")
    with hub_pair(server="shared", probed=True) as hubs:
        names = [f"member-{number}" for number in range(servers)]
        users = [*names, *(f"idle-{number}" for number in range(members - servers)), *_visitors()]
        _both(hubs, lambda hub: _add(hub, users, adding))
        _both(hubs, lambda hub: _fill(hub, names, filling))
        time.sleep(3)
        _both(hubs, lambda hub: _rest(hub, steady_s, steady))
        _both(hubs, lambda hub: _come_and_go(hub, names, busy_s, busy))
        memory = {hub.name: resident_mib(hub.process) for hub in hubs}
        service_mib = resident_mib(hubs.ours.service)
        running = {hub.name: hub.ready_servers() for hub in hubs}
        for hub in hubs:
            found = hub.probed()
            for phase in (adding, filling, steady, busy):
                phase.probes[hub.name] = found
        _both(hubs, lambda hub: _restart(hub, settle_s, restart))
        running_after = {hub.name: hub.ready_servers() for hub in hubs}
    rows: list[Row] = []
    data: dict[str, Any] = {
        "running": running,
        "running_after_restart": running_after,
        "hub_mib": memory,
        "service_mib": service_mib,
    }
    for phase in (adding, filling, steady, busy, restart):
        found = {name: _summary(phase, name) for name in ("plain", "ours")}
        data[phase.name] = found
        rows += _rows(phase, found["plain"], found["ours"])
    plain_mib, ours_mib = memory["plain"], memory["ours"]
    rows.append(
        Row(
            f"hub process, {servers} servers",
            f"{plain_mib:.1f} MiB",
            f"{ours_mib:.1f} MiB",
            f"{ours_mib - plain_mib:+.1f} MiB",
        )
    )
    notes = [
        f"running at the end of the busy phase: {running}; after the restart: {running_after}",
        "late: how much later than after 1 ms the loop woke, whatever the cause, other processes"
        " included; held: the longest single callback, garbage collection apart, with the"
        " processor time that it used (the rest is waiting, for a processor above all)",
        "our own code: tasks of ours as a whole, and our functions in the hub's own tasks, each"
        " from one await to the next",
    ]
    return Report("loop", "The hub's event loop", rows, notes, data)


# --- what the hubs do -----------------------------------------------------------------------------


def _both(hubs: Pair, work: Callable[[Hub], None]) -> None:
    """Do the same on both hubs at the same time: what else the machine does, hits both."""
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(work, hubs):
            pass


def _add(hub: Hub, users: list[str], phase: _Phase) -> None:
    with phase.on(hub):
        hub.add_users(users)


def _fill(hub: Hub, names: list[str], phase: _Phase) -> None:
    with phase.on(hub), ThreadPoolExecutor(_STARTS_AT_ONCE) as pool:
        for _ in pool.map(hub.start_server, names):
            pass


def _rest(hub: Hub, duration_s: float, phase: _Phase) -> None:
    with phase.on(hub):
        time.sleep(duration_s)


def _come_and_go(hub: Hub, names: list[str], duration_s: float, phase: _Phase) -> None:
    """Each second a server is stopped and started, and a member looks at two pages."""
    with ExitStack() as stack:
        browsers = [stack.enter_context(closing(hub.sign_in(name))) for name in _visitors()]
        with phase.on(hub):
            begun = time.monotonic()
            turn = 0
            while (due := begun + turn * _BUSY_TURN_S) < begun + duration_s:
                time.sleep(max(0.0, due - time.monotonic()))
                name = names[turn % len(names)]
                hub.stop_server(name)
                hub.start_server(name)
                _look(browsers[turn % len(browsers)])
                turn += 1


def _look(browser: httpx.Client) -> None:
    for path in ("/hub/home", "/hub/spawn"):
        browser.get(path).raise_for_status()


def _visitors() -> list[str]:
    return [f"visitor-{number}" for number in range(_VISITORS)]


def _restart(hub: Hub, settle_s: float, phase: _Phase) -> None:
    hub.stop()
    with phase.on(hub):
        hub.start()
        hub.wait_ready()
        time.sleep(settle_s)
    phase.probes[hub.name] = hub.probed()


# --- what the probes saw --------------------------------------------------------------------------


def _summary(phase: _Phase, name: str) -> dict[str, Any]:
    begin, end = phase.spans[name]
    found = phase.probes[name]
    wakes = found["wakes"]
    late = [
        (wakes[at + 1], wakes[at + 2])
        for at in range(0, len(wakes), 3)
        if begin <= wakes[at] <= end
    ]

    def longest_of(kind: str) -> list[dict[str, Any]]:
        entries = (entry for entry in found[kind] if begin <= entry["at"] <= end)
        return sorted(entries, key=lambda entry: -entry["s"])

    own = longest_of("own")
    worst_s, worst_cpu_s = max(late, default=(0.0, 0.0))
    return {
        "duration_s": end - begin,
        "wakes": len(late),
        "late_max_s": worst_s,
        "late_max_cpu_s": worst_cpu_s,
        "late_p999_s": percentile([late_s for late_s, _ in late] or [0.0], 99.9),
        "late_over_10_ms": sum(late_s > _AIM_S for late_s, _ in late),
        "callbacks": longest_of("callbacks")[:_LONGEST_KEPT],
        "own": own[:_LONGEST_KEPT],
        "own_over_10_ms": sum(entry["s"] > _AIM_S and entry["outermost"] for entry in own),
        "own_cpu_over_10_ms": sum(entry["cpu_s"] > _AIM_S and entry["outermost"] for entry in own),
        "own_cpu": sorted(own, key=lambda entry: -entry["cpu_s"])[:_LONGEST_KEPT],
        "collections": longest_of("collections")[:_LONGEST_KEPT],
    }


def _rows(phase: _Phase, plain: dict[str, Any], ours: dict[str, Any]) -> list[Row]:
    added_s = ours["late_max_s"] - plain["late_max_s"]
    return [
        Row(
            f"{phase.title}: late, max",
            _ms(plain["late_max_s"]),
            _ms(ours["late_max_s"]),
            f"{added_s * 1000:+.1f} ms",
        ),
        Row(
            "    late, p99.9",
            _ms(plain["late_p999_s"]),
            _ms(ours["late_p999_s"]),
            f"{(ours['late_p999_s'] - plain['late_p999_s']) * 1000:+.1f} ms",
        ),
        Row(
            "    late by more than 10 ms",
            f"{plain['late_over_10_ms']} times",
            f"{ours['late_over_10_ms']} times",
        ),
        Row("    held, longest callback", _held(plain["callbacks"]), _held(ours["callbacks"])),
        Row(
            "    held by our own code, longest",
            "—",
            _held(ours["own"]),
            f"{ours['own_over_10_ms']} over 10 ms",
        ),
        Row(
            "    held by our own code, processor time",
            "—",
            _ms(ours["own_cpu"][0]["cpu_s"]) if ours["own_cpu"] else "< 2 ms",
            f"{ours['own_cpu_over_10_ms']} over 10 ms",
            "≤ 10 ms",
        ),
        Row(
            "    garbage collection, longest",
            _held(plain["collections"]),
            _held(ours["collections"]),
        ),
    ]


def _held(callbacks: list[dict[str, Any]]) -> str:
    if not callbacks:
        return "< 2 ms"
    return f"{_ms(callbacks[0]['s'])} (cpu {callbacks[0]['cpu_s'] * 1000:.1f})"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
