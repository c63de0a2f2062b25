"""Billing periods join without gap or overlap, and start where a person would say."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jhub_tokens.periods import PeriodKind, period, period_at

# Whole and half-hour zones, both hemispheres, a half-hour daylight saving (Lord Howe), midnight
# transitions (Beirut, Havana, Santiago, São Paulo of old), a day left out (Apia, 30 Dec 2011),
# a negative daylight saving (Dublin), and changes of the standard offset (Casablanca, Kathmandu).
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Shanghai",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "America/Havana",
    "America/Santiago",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Pacific/Chatham",
)
KINDS: tuple[PeriodKind, ...] = get_args(PeriodKind)


def ms(local: datetime, zone: str) -> int:
    return round(local.replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def wall(instant_ms: int, zone: str) -> datetime:
    return datetime.fromtimestamp(instant_ms / 1000, ZoneInfo(zone)).replace(tzinfo=None)


def test_month_ends_are_counted_from_the_anchor():
    anchor_ms = ms(datetime(2026, 1, 31, 9, 30), "Europe/Berlin")
    starts = [
        wall(period(anchor_ms, n, "Europe/Berlin", "anchored")[0], "Europe/Berlin")
        for n in range(5)
    ]
    assert starts == [
        datetime(2026, 1, 31, 9, 30),
        datetime(2026, 2, 28, 9, 30),
        datetime(2026, 3, 31, 9, 30),
        datetime(2026, 4, 30, 9, 30),
        datetime(2026, 5, 31, 9, 30),
    ]


def test_a_leap_day_anchor_comes_back_on_the_28th_and_29th():
    anchor_ms = ms(datetime(2024, 2, 29), "UTC")
    assert wall(period(anchor_ms, 12, "UTC", "anchored")[0], "UTC") == datetime(2025, 2, 28)
    assert wall(period(anchor_ms, 48, "UTC", "anchored")[0], "UTC") == datetime(2028, 2, 29)


def test_calendar_months_begin_on_the_first_whatever_the_anchor():
    anchor_ms = ms(datetime(2026, 12, 31, 23, 59, 59), "Asia/Shanghai")
    start_ms, end_ms = period(anchor_ms, 0, "Asia/Shanghai", "calendar")
    assert wall(start_ms, "Asia/Shanghai") == datetime(2026, 12, 1)
    assert wall(end_ms, "Asia/Shanghai") == datetime(2027, 1, 1)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("day", range(1, 32))
def test_every_anchor_day_of_every_month_over_four_years(zone: str, day: int):
    for month in range(1, 13):
        if day > monthrange(2024, month)[1]:
            continue
        anchor_ms = ms(datetime(2024, month, day), zone)
        anchor = wall(anchor_ms, zone)  # 01:00 where this midnight itself is left out
        previous_end_ms = None
        for n in range(48):
            start_ms, end_ms = period(anchor_ms, n, zone, "anchored")
            assert previous_end_ms in (None, start_ms)
            assert start_ms < end_ms
            previous_end_ms = end_ms
            year, month0 = divmod(anchor.year * 12 + anchor.month - 1 + n, 12)
            expected = anchor.replace(
                year=year, month=month0 + 1, day=min(day, monthrange(year, month0 + 1)[1])
            )
            shown = wall(start_ms, zone)
            # Only a wall-clock time that does not exist may come out later than asked for.
            assert shown == expected or not exists(expected, zone), (shown, expected)
            assert period_at(anchor_ms, start_ms, zone, "anchored") == (n, start_ms, end_ms)
            assert period_at(anchor_ms, end_ms - 1, zone, "anchored") == (n, start_ms, end_ms)


def exists(local: datetime, zone: str) -> bool:
    """Independently of the code under test: does the wall clock ever show `local`?"""
    at = local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    candidates = (at + timedelta(minutes=m) for m in range(-26 * 60, 26 * 60 + 1, 15))
    return any(c.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local for c in candidates)


@pytest.mark.parametrize(
    ("zone", "anchor", "n", "expected_utc"),
    [
        # 02:30 on 29 March 2026 is left out in Berlin: the first instant after it is 03:00.
        ("Europe/Berlin", datetime(2026, 2, 28, 2, 30), 1, None),
        ("Europe/Berlin", datetime(2026, 1, 29, 2, 30), 2, datetime(2026, 3, 29, 1, 0)),
        # 02:30 on 25 October 2026 happens twice: the first one is still summer time.
        ("Europe/Berlin", datetime(2026, 9, 25, 2, 30), 1, datetime(2026, 10, 25, 0, 30)),
        # Midnight of 8 March 2026 is left out in Havana: 01:00 is the first instant of the day.
        ("America/Havana", datetime(2026, 2, 8), 1, datetime(2026, 3, 8, 5, 0)),
        # Midnight of 1 November 2026 happens twice in Havana (clocks go 01:00 back to 00:00).
        ("America/Havana", datetime(2026, 10, 1), 1, datetime(2026, 11, 1, 4, 0)),
        # 30 December 2011 does not exist in Apia at all: the 31st begins where it would have.
        ("Pacific/Apia", datetime(2011, 11, 30, 12, 0), 1, datetime(2011, 12, 30, 10, 0)),
        # Half an hour left out on Lord Howe, 4 October 2026, 02:00 to 02:30.
        ("Australia/Lord_Howe", datetime(2026, 9, 4, 2, 10), 1, datetime(2026, 10, 3, 15, 30)),
    ],
)
def test_clock_changes(zone: str, anchor: datetime, n: int, expected_utc: datetime | None):
    start_ms, _ = period(ms(anchor, zone), n, zone, "anchored")
    if expected_utc is None:
        assert wall(start_ms, zone) == datetime(2026, 3, 28, 2, 30)
    else:
        assert datetime.fromtimestamp(start_ms / 1000, UTC).replace(tzinfo=None) == expected_utc


def test_an_anchor_in_the_second_of_two_equal_hours_starts_no_earlier_than_itself():
    second = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    anchor_ms = round(second.timestamp() * 1000)
    assert period(anchor_ms, 0, "Europe/Berlin", "anchored")[0] == anchor_ms
    assert period_at(anchor_ms, anchor_ms - 1, "Europe/Berlin", "anchored")[0] == -1


def test_unknown_zone_and_far_years_are_refused():
    with pytest.raises(ZoneInfoNotFoundError):
        period(0, 0, "Europe/Nowhere", "anchored")
    with pytest.raises(OverflowError):
        period(0, 12 * 9000, "UTC", "anchored")


@settings(max_examples=300)
@given(
    anchor_ms=st.integers(0, 4_000_000_000_000),
    distance_ms=st.integers(-1_500_000_000_000, 1_500_000_000_000),
    zone=st.sampled_from(ZONES),
    kind=st.sampled_from(KINDS),
)
def test_every_instant_is_in_exactly_one_period(
    anchor_ms: int, distance_ms: int, zone: str, kind: PeriodKind
):
    at_ms = anchor_ms + distance_ms
    n, start_ms, end_ms = period_at(anchor_ms, at_ms, zone, kind)
    assert start_ms <= at_ms < end_ms
    assert (start_ms, end_ms) == period(anchor_ms, n, zone, kind)
    assert period(anchor_ms, n - 1, zone, kind)[1] == start_ms
    assert period(anchor_ms, n + 1, zone, kind)[0] == end_ms
    assert 26 * 86_400_000 <= end_ms - start_ms <= 33 * 86_400_000
    assert period_at(anchor_ms, anchor_ms, zone, kind)[0] == 0
