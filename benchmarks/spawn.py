"""Time to spawn: from the request to start a server to the hub's answer that it is ready."""

from __future__ import annotations

import random
import statistics
import sys
from dataclasses import asdict, dataclass

from benchmarks.hubs import Hub, Pair, Server, hub_pair
from benchmarks.report import Report, Row
from benchmarks.statistics import percentile, ratio_of_medians

__all__ = ["run"]

_MEMBERS = 5
_WARM_UPS = 2
_AIM = "median ≤ 1.05"
#: Decides who goes first in each round, so that neither always finds a warmer machine.
_SEED = 7


@dataclass(frozen=True, slots=True)
class _Variant:
    key: str
    measure: str
    server: Server
    look_often: bool
    rounds: int
    quick_rounds: int
    aim: str


_VARIANTS = (
    _Variant("singleuser", "JupyterLab, hub as it is", "singleuser", False, 30, 0, _AIM),
    _Variant("close", "JupyterLab, looked at every 20 ms", "singleuser", True, 30, 1, _AIM),
    _Variant("instant", "server that answers at once", "shared", False, 200, 10, ""),
)


def run(*, quick: bool) -> Report:
    """Measure the time to spawn in all variants."""
    rows: list[Row] = []
    counts: list[str] = []
    data = {}
    for variant in _VARIANTS:
        rounds = variant.quick_rounds if quick else variant.rounds
        if not rounds:
            continue
        with hub_pair(server=variant.server, look_often=variant.look_often) as hubs:
            samples = _measure(hubs, rounds, 0 if quick else _WARM_UPS, variant.measure)
        rows += _rows(variant, samples)
        counts.append(f"{variant.measure}: {rounds}")
        data[variant.key] = {
            **{f"{name}_s": values for name, values in samples.items()},
            "ratio_of_medians": asdict(ratio_of_medians(samples["ours"], samples["plain"])),
        }
    notes = [
        f"spawns on each hub: {'; '.join(counts)}; both hubs run side by side and take turns, the"
        " first by lot",
        "[low, high]: 95 % bootstrap interval of the ratio of medians, resampled in pairs",
        "a hub as it is looks at random times whether a server is up; every 20 ms takes the dice"
        " out of both; the server that answers at once leaves the hub's own work and ours",
    ]
    return Report("spawn", "Time to spawn (request to ready)", rows, notes, data)


def _measure(hubs: Pair, rounds: int, warm_ups: int, measure: str) -> dict[str, list[float]]:
    names = [f"member-{number}" for number in range(_MEMBERS)]
    for hub in hubs:
        hub.add_users(names)
    samples: dict[str, list[float]] = {hub.name: [] for hub in hubs}
    lots = random.Random(_SEED)
    for number in range(-warm_ups, rounds):
        order = list(hubs)
        lots.shuffle(order)
        for hub in order:
            took_s = _spawn_once(hub, names[number % _MEMBERS])
            if number >= 0:
                samples[hub.name].append(took_s)
        if sys.stderr.isatty():
            print(f"\r{measure}: {max(0, number + 1)}/{rounds} ", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return samples


def _spawn_once(hub: Hub, name: str) -> float:
    took_s = hub.start_server(name)
    hub.stop_server(name)
    return took_s


def _rows(variant: _Variant, samples: dict[str, list[float]]) -> list[Row]:
    plain, ours = samples["plain"], samples["ours"]
    ratio = ratio_of_medians(ours, plain)
    added_s = statistics.median(ours) - statistics.median(plain)
    slow = percentile(plain, 95), percentile(ours, 95)
    return [
        Row(
            f"{variant.measure}, median",
            _ms(statistics.median(plain)),
            _ms(statistics.median(ours)),
            f"× {ratio}, {added_s * 1000:+.0f} ms",
            variant.aim,
        ),
        Row(f"{variant.measure}, p95", _ms(slow[0]), _ms(slow[1]), f"× {slow[1] / slow[0]:.3f}"),
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"
