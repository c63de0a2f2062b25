"""A month through the real ledger: the same for the same seed, and every token accounted for."""

import json
from datetime import date

import pytest

from jhub_tokens.simulation import Conditions
from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.simulation.conftest import catalogue, play, scenario

#: Everything that may go wrong does so all the time.
ROUGH = Conditions(
    failed_start=0.2,
    hung_stop=0.7,
    crash=0.3,
    notice_ms=(600_000, 7_200_000),
    lost=0.1,
    repeated=0.2,
)
ROUGH_CROWD = {
    "members": 3,
    "mix": "student:1,researcher:1,trainer:1",
    "plan_mix": "basic:2,pro:1",
    "months": 2,
    "conditions": ROUGH,
}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_report_on_either_database(database_url, usual):
    again = play(database_url, scenario())
    assert json.dumps(again.to_json()) == json.dumps(usual.to_json())


def test_another_seed_gives_another_report(tmp_path):
    one, two = (
        play(f"sqlite:///{tmp_path}/{seed}.sqlite", scenario(members=1, seed=seed))
        for seed in ("1", "2")
    )
    assert len(one.members) == len(two.members) == 1
    assert one.profiles != two.profiles
    assert one.conservation.findings == two.conservation.findings == ()


def test_the_month_was_worth_watching(usual):
    """Guards the others: in a month without refusals and stops they would show little."""
    assert usual.refusals["balance"] > 3
    assert usual.acts["stops_ordered"] > 2
    assert usual.acts["stopped_after_warning"] > 0
    assert usual.acts["took_smaller"] + usual.acts["visits_not_tried"] > 0
    assert {"time_left", "last_warning", "stopped_dry", "used_percent"} <= set(usual.notices)
    assert all(profile.starts for profile in usual.profiles)


def test_all_tables_tell_of_the_same_tokens(usual):
    consumed = usual.conservation.consumed_grains
    assert usual.conservation.findings == ()
    assert usual.conservation.reckoned_grains == consumed
    assert sum(profile.used_grains for profile in usual.profiles) == consumed
    assert sum(week.used_grains for week in usual.weeks) == consumed
    assert sum(group.used_grains for group in usual.archetypes) == consumed
    assert sum(member.used_grains for member in usual.members) == consumed
    for profile in usual.profiles:
        assert profile.used_grains == profile.rate_mtok_h * profile.hours_ms
    starts = sum(profile.starts for profile in usual.profiles)
    assert sum(week.starts for week in usual.weeks) == starts
    assert sum(member.starts for member in usual.members) == starts
    assert sum(week.stops for week in usual.weeks) == usual.acts["stops_ordered"]
    assert sum(week.refused_balance for week in usual.weeks) == usual.refusals["balance"]
    assert sum(week.ran_dry for week in usual.weeks) == sum(p.months_dry for p in usual.plans)


@pytest.mark.slow
def test_two_rough_months_add_up(database_url):
    """Crashes noticed late, lost nodes, hung stops, repeats; debts, rollover, two calendars."""
    report = play(
        database_url,
        scenario(catalogue(overrun="deduct"), **ROUGH_CROWD),
    )
    assert report.conservation.findings == ()
    assert report.overrun.granted_grains >= report.overrun.repaid_grains > 0
    assert report.overrun.longest_ms > 60_000
    assert sum(plan.rolled_over_grains for plan in report.plans) > 0
    assert report.acts["starts_failed"] > 0


def test_months_begin_on_any_day(tmp_path):
    """Anchored on the 31st, calendar months cut at both ends."""
    planned = scenario(members=2, months=3, mix="idle:1", start=date(2026, 12, 31))
    report = play(f"sqlite:///{tmp_path}/books.sqlite", planned)
    assert report.conservation.findings == ()
    months = {plan.plan: plan.member_months for plan in report.plans}
    assert months == {"basic": 3, "pro": 4}


def test_shadow_mode_stops_nobody(tmp_path):
    report = play(
        f"sqlite:///{tmp_path}/books.sqlite", scenario(catalogue(enforce=False), members=3)
    )
    assert report.conservation.findings == ()
    assert report.refusals["balance"] > 0  # as they would have been
    assert report.acts["stops_ordered"] == 0
    assert report.notices["would_stop"] > 0
    assert report.overrun.granted_grains > 0


def test_wishes_do_not_depend_on_the_limits(tmp_path, usual):
    ample = play(f"sqlite:///{tmp_path}/books.sqlite", scenario(catalogue(basic=9999, pro=9999)))
    assert ample.refusals.get("balance", 0) == ample.acts["stops_ordered"] == 0
    wanted = [member.wanted_grains for member in usual.members]
    assert [member.wanted_grains for member in ample.members] == wanted
    assert [a.needed_p90_grains for a in ample.advice] == [
        a.needed_p90_grains for a in usual.advice
    ]
    assert [a.carried_percent for a in ample.advice] == [100.0, 100.0]
    # With tokens without end they get about what they want: all but waits and mishaps.
    for member in ample.members:
        assert 0.75 * member.wanted_grains <= member.used_grains <= 1.02 * member.wanted_grains


def test_the_advice_holds(tmp_path, usual):
    """With the advised allotments nearly nobody runs dry any more."""
    advised = {a.plan: a.needed_p90_grains // GRAINS_PER_TOKEN for a in usual.advice}
    assert all(a.needed_p90_grains > a.allotment_grains for a in usual.advice)
    report = play(
        f"sqlite:///{tmp_path}/books.sqlite",
        # Some more, since a start must have a few minutes behind it.
        scenario(catalogue(**{plan: tokens + 10 for plan, tokens in advised.items()})),
    )
    assert [plan.members_dry for plan in report.plans] == [0, 0]
    assert sum(plan.members_dry for plan in usual.plans) >= 3
