"""Archetypes: how invented members work, as numbers that an operator can read and change.

These are assumptions, not measurements. They say when somebody comes, how long they stay, what
hardware they like, and what they do about a warning or a refusal. Whoever knows their members
better changes a number here, or the mix.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from jhub_tokens.units import MILLISECONDS_PER_HOUR

__all__ = ["ARCHETYPES", "Archetype", "Visit", "visits"]

VISIT_H_MIN = 10 / 60
VISIT_H_MAX = 72.0


@dataclass(frozen=True, slots=True)
class Archetype:
    """One way of working.

    Parameters
    ----------
    name
        As it is written in a mix.
    summary
        One line for the documentation.
    comes_on
        The chance of a visit on each day of the week, Monday first.
    comes_at_h
        Local hours between which visits begin, and the hour around which most do.
    stays_h
        Median length of a visit.
    spread
        Standard deviation of the length's logarithm: 0 is always the same, 1 very different.
    tastes
        How often the smallest, a middle and the largest profile of the plan is wanted.
    forgets
        The chance that a server is left running until its owner comes back.
    forgotten_h_max
        How long a forgotten server runs at most.
    second_server
        The chance to start another server while one runs, instead of using that one.
    takes_smaller
        The chance to take a smaller profile that the balance carries, after a refusal.
    waits_for_reset
        The chance not to try again before the reset, after a refusal with nothing to take.
    heeds_warning
        The chance that a warning makes them stop by themselves, if they are at work.
    """

    name: str
    summary: str
    comes_on: tuple[float, float, float, float, float, float, float]
    comes_at_h: tuple[float, float, float]
    stays_h: float
    spread: float
    tastes: tuple[float, float, float]
    forgets: float
    forgotten_h_max: float
    second_server: float
    takes_smaller: float
    waits_for_reset: float
    heeds_warning: float


#: By name, the most sparing first: where plans are mixed, the bigger ones go to the last.
ARCHETYPES = {
    archetype.name: archetype
    for archetype in (
        Archetype(
            name="idle",
            summary="looks in now and then, and leaves the server running",
            comes_on=(0.2, 0.2, 0.2, 0.2, 0.2, 0.05, 0.05),
            comes_at_h=(9.0, 18.0, 11.0),
            stays_h=0.5,
            spread=0.5,
            tastes=(0.95, 0.05, 0.0),
            forgets=0.7,
            forgotten_h_max=72.0,
            second_server=0.0,
            takes_smaller=1.0,
            waits_for_reset=0.9,
            heeds_warning=0.1,
        ),
        Archetype(
            name="student",
            summary="an hour or two of coursework on most days, evenings included",
            comes_on=(0.55, 0.6, 0.6, 0.6, 0.45, 0.2, 0.3),
            comes_at_h=(9.0, 22.5, 15.0),
            stays_h=1.5,
            spread=0.6,
            tastes=(0.85, 0.1, 0.05),
            forgets=0.05,
            forgotten_h_max=24.0,
            second_server=0.05,
            takes_smaller=0.8,
            waits_for_reset=0.5,
            heeds_warning=0.5,
        ),
        Archetype(
            name="researcher",
            summary="half a working day or more, on small and middle hardware",
            comes_on=(0.8, 0.85, 0.85, 0.85, 0.75, 0.15, 0.15),
            comes_at_h=(7.5, 19.0, 9.5),
            stays_h=3.5,
            spread=0.5,
            tastes=(0.65, 0.3, 0.05),
            forgets=0.05,
            forgotten_h_max=24.0,
            second_server=0.2,
            takes_smaller=0.6,
            waits_for_reset=0.3,
            heeds_warning=0.6,
        ),
        Archetype(
            name="trainer",
            summary="trains models: long runs on the largest hardware, through the night",
            comes_on=(0.4, 0.4, 0.4, 0.4, 0.5, 0.2, 0.2),
            comes_at_h=(9.0, 21.0, 17.0),
            stays_h=8.0,
            spread=0.6,
            tastes=(0.05, 0.25, 0.7),
            forgets=0.1,
            forgotten_h_max=24.0,
            second_server=0.25,
            takes_smaller=0.2,
            waits_for_reset=0.5,
            heeds_warning=0.1,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One piece of work that a member wants to do, whatever the balance.

    `works_to_ms` is when they go, `ends_ms` when the server would stop if tokens were endless:
    later, if it is forgotten. `taste` in [0, 1) picks the profile.
    """

    starts_ms: int
    works_to_ms: int
    ends_ms: int
    taste: float
    second: bool


def visits(
    archetype: Archetype, rng: random.Random, zone: str, from_ms: int, to_ms: int
) -> Iterator[Visit]:
    """Yield the visits that begin in [`from_ms`, `to_ms`), in order of time; one a day at most.

    What is wanted depends on the archetype and the random numbers alone, so two catalogues with
    the same seed meet the same wishes.
    """
    arrivals = _arrivals(archetype, rng, zone, from_ms, to_ms)
    visit = next(arrivals, None)
    while visit is not None:
        coming = next(arrivals, None)
        back_ms = to_ms if coming is None else coming.starts_ms
        if visit.ends_ms > visit.works_to_ms:  # forgotten, until they come back
            ends_ms = max(visit.works_to_ms, min(visit.ends_ms, back_ms))
        else:
            ends_ms = visit.works_to_ms
        ends_ms = min(ends_ms, to_ms)
        works_to_ms = min(visit.works_to_ms, to_ms)
        yield Visit(visit.starts_ms, works_to_ms, ends_ms, visit.taste, visit.second)
        visit = coming


def _arrivals(
    archetype: Archetype, rng: random.Random, zone: str, from_ms: int, to_ms: int
) -> Iterator[Visit]:
    """Yield the visits with forgotten servers left running as long as they ever are."""
    tz = ZoneInfo(zone)
    day = datetime.fromtimestamp(from_ms / 1000, UTC).astimezone(tz).date()
    earliest_h, latest_h, mostly_h = archetype.comes_at_h
    while True:
        if rng.random() < archetype.comes_on[day.weekday()]:
            hour = rng.triangular(earliest_h, latest_h, mostly_h)
            stays_h = archetype.stays_h * math.exp(archetype.spread * rng.gauss(0.0, 1.0))
            taste, forgets, second = rng.random(), rng.random(), rng.random()
            local = datetime.combine(day, time()) + timedelta(hours=hour)
            starts_ms = int(local.replace(tzinfo=tz).timestamp() * 1000)
            if starts_ms >= to_ms:
                return
            works_to_ms = starts_ms + _hours_ms(min(VISIT_H_MAX, max(VISIT_H_MIN, stays_h)))
            left_h = archetype.forgotten_h_max if forgets < archetype.forgets else 0.0
            if starts_ms >= from_ms:
                yield Visit(
                    starts_ms,
                    works_to_ms,
                    works_to_ms + _hours_ms(left_h),
                    taste,
                    second < archetype.second_server,
                )
        day += timedelta(days=1)
        if datetime.combine(day, time()).replace(tzinfo=tz).timestamp() * 1000 >= to_ms:
            return


def _hours_ms(hours: float) -> int:
    return int(hours * MILLISECONDS_PER_HOUR)
