"""Who the members are, and when they come."""

import random
from collections import Counter
from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from jhub_tokens.simulation import ARCHETYPES, ScenarioError
from jhub_tokens.simulation.archetypes import visits
from jhub_tokens.simulation.figures import quantile
from jhub_tokens.simulation.people import pick
from tests.simulation.conftest import scenario

BERLIN = "Europe/Berlin"


def test_shares_become_whole_members():
    people = scenario(members=7, mix="student:1,idle:1.5", plan_mix="basic:2,pro:1").people
    assert Counter(person.archetype.name for person in people) == {"idle": 4, "student": 3}
    assert Counter(person.plan for person in people) == {"basic": 5, "pro": 2}
    assert len({person.identity.name for person in people}) == 7
    # The bigger plans are with those who use most.
    assert {person.archetype.name for person in people if person.plan == "pro"} == {"student"}


def test_everybody_holds_the_default_plan_unless_told():
    assert {person.plan for person in scenario(plan_mix=None).people} == {"basic"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"members": 0}, "--members: 0 is out of range; write 1 to 100,000"),
        ({"members": 100_001}, "--members: 100001 is out of range"),
        ({"months": 0}, "--months: 0 is out of range; write 1 to 120"),
        ({"start": date(1970, 1, 1)}, "--start: 1970-01-01 is out of range"),
        ({"mix": "wizard:5"}, "--mix: there is no archetype 'wizard'; there are idle, student"),
        ({"mix": "student:many"}, "--mix: 'student:many' is no share"),
        ({"mix": "student:-1"}, "--mix: 'student:-1' is no share"),
        ({"mix": ""}, "--mix: '' is no share"),
        ({"mix": "student:0"}, "--mix: all shares are 0"),
        ({"mix": "student:1,student:2"}, "--mix: 'student' is there twice"),
        ({"plan_mix": "gold:1"}, "--plan-mix: there is no plan 'gold'; there are basic, pro"),
    ],
)
def test_a_scenario_that_cannot_be_played(options, expected):
    with pytest.raises(ScenarioError) as caught:
        scenario(**options)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("archetype", ARCHETYPES.values(), ids=lambda a: a.name)
def test_visits_are_in_order_and_at_their_hours(archetype):
    from_ms, to_ms = (
        int(datetime(2026, month, 1, tzinfo=ZoneInfo(BERLIN)).timestamp() * 1000)
        for month in (3, 12)
    )
    came = list(visits(archetype, random.Random("1"), BERLIN, from_ms, to_ms))
    assert len(came) > 20
    earliest_h, latest_h, _ = archetype.comes_at_h
    for visit in came:
        assert from_ms <= visit.starts_ms < visit.works_to_ms <= visit.ends_ms <= to_ms
        local = datetime.fromtimestamp(visit.starts_ms / 1000, UTC).astimezone(ZoneInfo(BERLIN))
        assert earliest_h - 0.01 <= local.hour + local.minute / 60 <= latest_h + 0.01
    for visit, coming in pairwise(came):
        assert visit.starts_ms < coming.starts_ms
        # What was forgotten ends when they come back, if not before.
        if visit.ends_ms > visit.works_to_ms:
            assert visit.ends_ms <= coming.starts_ms
    forgotten = sum(visit.ends_ms > visit.works_to_ms for visit in came) / len(came)
    assert 0.3 * archetype.forgets < forgotten < 2 * archetype.forgets


def test_chances_and_tastes_are_such():
    assert [len(set(ARCHETYPES)), next(iter(ARCHETYPES))] == [4, "idle"]
    for archetype in ARCHETYPES.values():
        assert abs(sum(archetype.tastes) - 1) < 1e-9
        assert all(0 <= chance <= 1 for chance in archetype.comes_on)
        low_h, high_h, mode_h = archetype.comes_at_h
        assert 0 <= low_h <= mode_h <= high_h < 24


def test_what_is_wanted_fits_the_plan():
    tastes = (0.5, 0.3, 0.2)
    assert {pick(tastes, taste / 10, 1) for taste in range(10)} == {0}
    assert [pick(tastes, taste, 2) for taste in (0.1, 0.6, 0.9)] == [0, 1, 1]
    assert [pick(tastes, taste, 3) for taste in (0.1, 0.6, 0.9)] == [0, 1, 2]


def test_quantiles_are_values_that_occur():
    assert quantile([], 90) == 0
    assert quantile([5], 10) == 5
    assert [quantile(range(1, 11), percent) for percent in (10, 50, 90, 100)] == [1, 5, 9, 10]
    assert quantile([1, 2, 3], 90) == 3
