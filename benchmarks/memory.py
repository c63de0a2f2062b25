"""Memory of the hub process and of the token service, with few and with 1,000 members."""

from __future__ import annotations

import time
from typing import Any

import psutil

from benchmarks.hubs import Hub, hub_pair
from benchmarks.report import Report, Row

__all__ = ["resident_mib", "run"]

_SETTLE_S = 10.0
_QUICK_SETTLE_S = 1.0


def run(*, quick: bool) -> Report:
    """Measure resident memory before and after 1,000 members were made."""
    members = 50 if quick else 1_000
    settle_s = _QUICK_SETTLE_S if quick else _SETTLE_S
    with hub_pair(server="shared") as hubs:
        time.sleep(settle_s)
        before = {hub.name: _sizes(hub) for hub in hubs}
        names = [f"member-{number}" for number in range(members)]
        for hub in hubs:
            hub.add_users(names)
        time.sleep(settle_s)
        after = {hub.name: _sizes(hub) for hub in hubs}
        known = hubs.ours.members()
    rows = []
    for title, sizes in (("at start", before), (f"at {members:,} members", after)):
        plain, ours = sizes["plain"]["hub_mib"], sizes["ours"]["hub_mib"]
        service = sizes["ours"]["service_mib"]
        rows += [
            Row(f"hub process, {title}", _mib(plain), _mib(ours), f"{ours - plain:+.1f} MiB"),
            Row(f"token service, {title}", "—", _mib(service)),
        ]
    return Report(
        "memory",
        "Resident memory (RSS)",
        rows,
        [f"members made through the hub's API; the token service knew {known:,} of them"],
        {"members": members, "before": before, "after": after},
    )


def resident_mib(process: psutil.Process) -> float:
    """Return how much physical memory a process holds."""
    return float(process.memory_info().rss) / 2**20


def _sizes(hub: Hub) -> dict[str, Any]:
    sizes = {"hub_mib": resident_mib(hub.process)}
    if hub.ours:
        sizes["service_mib"] = resident_mib(hub.service)
    return sizes


def _mib(value: float) -> str:
    return f"{value:.1f} MiB"
