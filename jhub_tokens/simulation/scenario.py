"""The scenario: who the invented members are, which plan each holds, and what can go wrong."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

from jhub_tokens.catalogue import AssignRule, Catalogue
from jhub_tokens.periods import period, period_at
from jhub_tokens.simulation.archetypes import ARCHETYPES, Archetype
from jhub_tokens.wire import Identity

__all__ = [
    "DEFAULT_MIX",
    "MEMBERS_MAX",
    "MONTHS_MAX",
    "Conditions",
    "Person",
    "Scenario",
    "ScenarioError",
    "draw_ms",
    "make_scenario",
    "parse_mix",
]

DEFAULT_MIX = "student:70,researcher:20,trainer:5,idle:5"
MEMBERS_MAX = 100_000
MONTHS_MAX = 120
FIRST_DAY = date(2000, 1, 1)
LAST_DAY = date(2199, 12, 31)

_PART = re.compile(r"\s*(?P<name>[^:,\s]+)\s*:\s*(?P<share>\d{1,9}(\.\d{1,6})?)\s*")
_GROUP = "simulated-plan-"


class ScenarioError(ValueError):
    """A scenario that cannot be played; the message names what to write instead."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the machines do: how long starts and stops take, and how often something goes wrong.

    Chances are per start or run, durations in milliseconds as (median, longest).
    """

    start_ms: tuple[int, int] = (15_000, 60_000)
    pull: float = 0.05  # an image has to be pulled first
    pull_ms: tuple[int, int] = (120_000, 360_000)
    failed_start: float = 0.01
    stop_ms: tuple[int, int] = (5_000, 20_000)
    hung_stop: float = 0.01  # the server does not stop in time, which makes overrun
    hung_stop_ms: tuple[int, int] = (90_000, 600_000)
    crash: float = 0.01  # it ends by itself, and that is noticed late
    notice_ms: tuple[int, int] = (20_000, 300_000)
    lost: float = 0.002  # it vanishes with its node: nobody ever learns when it ended
    repeated: float = 0.01  # a snapshot arrives twice


@dataclass(frozen=True, slots=True)
class Person:
    """An invented member."""

    identity: Identity
    archetype: Archetype
    plan: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that decides a simulation, but for the books it is played on."""

    catalogue: Catalogue  # with the rules that give each person their plan
    people: tuple[Person, ...]
    seed: str
    months: int
    start_ms: int
    end_ms: int
    conditions: Conditions = Conditions()

    def months_ms(self) -> list[tuple[int, int]]:
        """Return start and end of each simulated month."""
        zone = self.catalogue.zone
        return [period(self.start_ms, n, zone, "anchored") for n in range(self.months)]

    def renewals_ms(self) -> list[int]:
        """Return the instants between start and end at which billing periods begin."""
        found = set()
        for kind in {plan.period for plan in self.catalogue.plans.values()}:
            at_ms = self.start_ms
            while at_ms < self.end_ms:
                found.add(at_ms)
                _, _, at_ms = period_at(self.start_ms, at_ms, self.catalogue.zone, kind)
        return sorted(found - {self.start_ms})


def draw_ms(rng: random.Random, span_ms: tuple[int, int]) -> int:
    """Return a duration around the median of `span_ms`, never above its second item."""
    median_ms, longest_ms = span_ms
    return min(longest_ms, round(median_ms * math.exp(0.6 * rng.gauss(0.0, 1.0))))


def parse_mix(text: str, known: Collection[str], what: str) -> dict[str, Fraction]:
    """Read a mix such as ``student:70,idle:5`` into shares by name; they need not sum to 100.

    Raises
    ------
    ScenarioError
        If it cannot be read, or names something that is not `known`.
    """
    shares: dict[str, Fraction] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ScenarioError(
                f"'{part.strip()}' is no share; write names and numbers such as "
                f"{':3,'.join(list(known)[:2])}:1"
            )
        name = match["name"]
        if name not in known:
            raise ScenarioError(f"there is no {what} '{name}'; there are {', '.join(known)}")
        if name in shares:
            raise ScenarioError(f"'{name}' is there twice; name each {what} once")
        shares[name] = Fraction(match["share"])
    if not sum(shares.values()):
        raise ScenarioError("all shares are 0; give at least one more than that")
    return shares


def make_scenario(
    catalogue: Catalogue,
    *,
    members: int = 100,
    months: int = 1,
    seed: str = "1",
    mix: str = DEFAULT_MIX,
    plan_mix: str | None = None,
    start: date,
    conditions: Conditions | None = None,
) -> Scenario:
    """Invent the members and place them in time.

    Where plans are mixed, the bigger allotments go to those who use most. Without `plan_mix`
    everybody holds the default plan. The start is the beginning of the day in the catalogue's
    zone, the end so many months later.

    Raises
    ------
    ScenarioError
        If something is out of range or a mix cannot be read; the message begins with the option.
    """
    if not 1 <= members <= MEMBERS_MAX:
        raise ScenarioError(f"--members: {members} is out of range; write 1 to {MEMBERS_MAX:,}")
    if not 1 <= months <= MONTHS_MAX:
        raise ScenarioError(f"--months: {months} is out of range; write 1 to {MONTHS_MAX}")
    if not FIRST_DAY <= start <= LAST_DAY:
        raise ScenarioError(f"--start: {start} is out of range; write {FIRST_DAY} to {LAST_DAY}")
    archetypes = _shared_out("--mix", mix, list(ARCHETYPES), "archetype", members)
    plans = sorted(catalogue.plans, key=lambda name: catalogue.plans[name].allotment_mtok)
    held = _shared_out(
        "--plan-mix", plan_mix or f"{catalogue.default_plan}:1", plans, "plan", members
    )
    people = []
    digits = len(str(members))
    for number, (name, plan) in enumerate(zip(archetypes, held, strict=True), start=1):
        identity = Identity(
            hub_user_id=number,
            created=start.isoformat(),
            name=f"{name}-{number:0{digits}}",
            groups=[f"{_GROUP}{plan}"],
        )
        people.append(Person(identity, ARCHETYPES[name], plan))
    rules = tuple(AssignRule(plan=plan, groups=(f"{_GROUP}{plan}",)) for plan in plans)
    start_ms = _day_start_ms(start, catalogue.zone)
    return Scenario(
        catalogue.model_copy(update={"assign": rules}),
        tuple(people),
        seed,
        months,
        start_ms,
        period(start_ms, months, catalogue.zone, "anchored")[0],
        conditions or Conditions(),
    )


def _shared_out(option: str, mix: str, known: list[str], what: str, count: int) -> list[str]:
    """Return `count` names by their shares, in the order in which they are `known`."""
    try:
        shares = parse_mix(mix, known, what)
    except ScenarioError as error:
        raise ScenarioError(f"{option}: {error}") from None
    parts = _apportion(shares, count)
    return [name for name in known for _ in range(parts.get(name, 0))]


def _apportion(shares: Mapping[str, Fraction], count: int) -> dict[str, int]:
    """Return whole numbers in proportion to `shares` that sum to `count` (largest remainders)."""
    total = sum(shares.values())
    exact = {name: share * count / total for name, share in shares.items()}
    parts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: parts[name] - exact[name])
    for name in by_remainder[: count - sum(parts.values())]:
        parts[name] += 1
    return parts


def _day_start_ms(day: date, zone: str) -> int:
    # A midnight that happens twice is the first; one that does not exist is read with the
    # offset before the gap, which is the instant at which the clocks jump over it.
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return int(local.timestamp()) * 1000
