"""An invented member while the simulation runs: what they want, do and remember."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from jhub_tokens.catalogue import Profile
from jhub_tokens.simulation.archetypes import Visit
from jhub_tokens.simulation.hub import Server, SimulatedHub
from jhub_tokens.simulation.scenario import Person

__all__ = ["Life", "Want", "pick"]


@dataclass(frozen=True, slots=True)
class Want:
    """What a visit would use if tokens were endless."""

    at_ms: int
    grains: int


@dataclass(slots=True, eq=False)
class Life:
    """One person's month: their plans for it, and what came of them."""

    number: int
    person: Person
    member_id: str
    hub: SimulatedHub
    rng: random.Random  # for what they do; what they want has one of its own
    profiles: list[Profile]  # of their plan, the lowest rate first
    coming: Iterator[Visit]
    servers: dict[str, Server] = field(default_factory=dict)  # open ones, by server name
    waits_to_ms: int = 0  # they do not try again before
    busy_to_ms: int = 0  # when all that they wanted so far would be done
    wants: list[Want] = field(default_factory=list)
    runs: list[Server] = field(default_factory=list)  # all that were ready
    starts: list[tuple[int, str]] = field(default_factory=list)  # instant, profile
    refusals: list[tuple[int, str]] = field(default_factory=list)  # instant, code
    dry: list[int] = field(default_factory=list)  # instants of stop orders of a dry wallet
    counts: Counter[str] = field(default_factory=Counter)


def pick(tastes: tuple[float, float, float], taste: float, count: int) -> int:
    """Return which of `count` profiles is wanted: the smallest, a middle one or the largest."""
    smallest, middle, _ = tastes
    if taste < smallest:
        return 0
    return count // 2 if taste < smallest + middle else count - 1
