"""Medians, percentiles and a bootstrap interval: the few statistics that the benchmarks need."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Ratio", "percentile", "ratio_of_medians"]

RESAMPLES = 5_000
_SEED = 20240229  # so that the same samples give the same interval


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two medians with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]


def ratio_of_medians(ours: Sequence[float], plain: Sequence[float]) -> Ratio:
    """Return median(ours) / median(plain) with a percentile bootstrap interval.

    The samples are pairs taken one after the other, and are resampled as pairs: what slowed the
    machine for a while slowed both.
    """
    if len(ours) != len(plain) or not ours:
        raise ValueError("the samples must be pairs, and there must be some")
    dice = random.Random(_SEED)
    pairs = list(zip(ours, plain, strict=True))
    ratios = []
    for _ in range(RESAMPLES):
        drawn = dice.choices(pairs, k=len(pairs))
        ratios.append(
            statistics.median(pair[0] for pair in drawn)
            / statistics.median(pair[1] for pair in drawn)
        )
    return Ratio(
        statistics.median(ours) / statistics.median(plain),
        percentile(ratios, 2.5),
        percentile(ratios, 97.5),
    )
