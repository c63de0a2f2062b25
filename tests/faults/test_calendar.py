"""Every anchor day, month and zone: periods without a gap, an overlap or a drift.

What is right is decided here by asking the zone itself: of all instants whose wall clock shows
the wanted date and time the first one, or the end of the gap in which there is none.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.periods import period, period_at
from tests.faults.worlds import new_worlds  # noqa: F401  (a fixture)
from tests.ledger.conftest import CATALOGUE, HOUR_MS

MONTHS = 60
DAYS = range(1, 32)
#: A day that was skipped, midnights that do not exist, half hours, quarter hours, far ends.
ZONES = """
Africa/Cairo Africa/Casablanca Africa/Johannesburg America/Anchorage America/Asuncion
America/Caracas America/Chicago America/Godthab America/Havana America/Los_Angeles
America/Mexico_City America/New_York America/Santiago America/Sao_Paulo America/St_Johns
Antarctica/Troll Asia/Amman Asia/Beirut Asia/Calcutta Asia/Damascus Asia/Gaza Asia/Kathmandu
Asia/Pyongyang Asia/Shanghai Asia/Tehran Asia/Tokyo Atlantic/Azores Australia/Adelaide
Australia/Lord_Howe Australia/Sydney Europe/Berlin Europe/Dublin Europe/Istanbul Europe/London
Europe/Moscow Pacific/Apia Pacific/Auckland Pacific/Chatham Pacific/Fakaofo Pacific/Kiritimati
UTC
""".split()  # noqa: SIM905  (a list of names reads better so)
#: The first years hold Apia's lost day and São Paulo's lost midnights, the second are to come.
YEARS = (2010, 2026)


def to_ms(moment):
    return int(moment.timestamp()) * 1_000


def wall(instant_ms, tz):
    """Return what a clock on the wall shows, without its zone."""
    return datetime.fromtimestamp(instant_ms // 1_000, UTC).astimezone(tz).replace(tzinfo=None)


def add_months(local, count):
    year, month = divmod(local.year * 12 + local.month - 1 + count, 12)
    for day in (local.day, 30, 29, 28):
        try:
            return local.replace(year=year, month=month + 1, day=min(day, local.day))
        except ValueError:
            continue
    raise AssertionError("a month has 28 days")


@cache
def offsets_around(zone, day):
    """Return the offsets that the zone has within two days of a date."""
    tz = ZoneInfo(zone)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    around = (noon + timedelta(hours=hours) for hours in range(-48, 49, 24))
    return {moment.astimezone(tz).utcoffset() for moment in around}


def is_right(instant_ms, local, zone):
    """Tell whether an instant is the first that shows `local`, or ends the gap it lies in."""
    tz = ZoneInfo(zone)
    readings = (local - offset for offset in offsets_around(zone, local.date()))
    candidates = [to_ms(reading.replace(tzinfo=UTC)) for reading in readings]
    shown = [candidate for candidate in candidates if wall(candidate, tz) == local]
    if shown:
        return instant_ms == min(shown)
    return wall(instant_ms, tz) > local > wall(instant_ms - 1_000, tz)


def starts_of(zone, anchor, kind):
    """Return the starts of all periods as the package has them, chained by their ends."""
    starts, end_ms = [], None
    for n in range(MONTHS):
        start_ms, next_ms = period(anchor, n, zone, kind)
        assert end_ms is None or start_ms == end_ms, "a gap or an overlap"
        assert start_ms < next_ms
        starts.append(start_ms)
        end_ms = next_ms
    return starts


def naive_starts(zone, anchor, _kind):
    """A month after the month before, and a local time is taken as it comes."""
    tz = ZoneInfo(zone)
    starts, local = [], wall(anchor, tz)
    for _ in range(MONTHS):
        starts.append(to_ms(local.replace(tzinfo=tz, fold=1)))
        local = add_months(local, 1)
    return starts


def count_wrong(starts, zone, year, hour):
    """Return (periods looked at, wrong ones) over all anchor days."""
    tz = ZoneInfo(zone)
    looked = wrong = 0
    for day in DAYS:
        first = datetime(year, 1, day, hour, 30 if hour else 0)
        anchor = to_ms(first.replace(tzinfo=tz))
        local = wall(anchor, tz)
        found = starts(zone, anchor, "anchored")
        looked += len(found)
        wrong += sum(
            not is_right(start_ms, add_months(local, n), zone) for n, start_ms in enumerate(found)
        )
    return looked, wrong


def zones(thorough):
    return sorted(available_timezones()) if thorough else ZONES


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("hour", [0, 2])
def test_no_gap_no_overlap_no_drift(year, hour, thorough, figure):
    if hour and not thorough:
        pytest.skip("the books anchor at midnight; half past two is for the thorough run")
    looked = wrong = 0
    for zone in zones(thorough):
        counts = count_wrong(starts_of, zone, year, hour)
        looked, wrong = looked + counts[0], wrong + counts[1]
    assert wrong == 0
    clock = "02:30" if hour else "midnight"
    figure(
        f"periods from {year}, {clock}, {len(DAYS)} anchor days, {len(zones(thorough))} zones",
        f"{looked} periods, {wrong} wrong",
    )


def test_control_a_chained_calendar_drifts(figure):
    _, drifted = count_wrong(naive_starts, "UTC", 2010, 0)
    looked, wrong = count_wrong(naive_starts, "America/Sao_Paulo", 2010, 0)
    assert 0 < drifted < wrong
    figure("control: months chained, zone changes ignored", f"{wrong} of {looked} wrong")


def test_calendar_months_and_the_period_of_an_instant(thorough):
    for zone in zones(thorough):
        tz = ZoneInfo(zone)
        anchor = to_ms(datetime(2010, 1, 17, 9, 30, tzinfo=tz))
        first = datetime(2010, 1, 1)
        for n, start_ms in enumerate(starts_of(zone, anchor, "calendar")):
            assert is_right(start_ms, add_months(first, n), zone), (zone, n)
            for instant_ms, number in ((start_ms, n), (start_ms - 1, n - 1)):
                assert period_at(anchor, instant_ms, zone, "calendar")[0] == number, (zone, n)


# --- servers that run while the clock on the wall changes -----------------------------------

CHANGES = {
    "Europe/Berlin": "2026-10-25T00:59",
    "America/New_York": "2026-11-01T05:59",
    "Australia/Lord_Howe": "2026-10-03T15:29",
    "America/Santiago": "2027-04-04T02:59",
    "Africa/Cairo": "2027-04-29T21:59",  # midnight does not exist
    "Pacific/Auckland": "2027-04-03T13:59",
}


def test_a_server_burns_the_time_that_passed_across_each_change(new_world, figure):
    wrong = 0
    for zone, before in CHANGES.items():
        world = new_world()
        world.catalogue = parse_catalogue(
            CATALOGUE.format(enforce="true", overrun="waive").replace("Europe/Berlin", zone),
            "zone.yaml",
        )
        change_ms = to_ms(datetime.fromisoformat(before).replace(tzinfo=UTC))
        tz = ZoneInfo(zone)
        at = [datetime.fromtimestamp(change_ms / 1_000 + s, UTC) for s in (-3_600, 7_200)]
        walls = [moment.astimezone(tz).replace(tzinfo=None) for moment in at]
        assert walls[1] - walls[0] != timedelta(hours=3), "no change of the clock here"
        world.clock.set_ms(change_ms - HOUR_MS)
        member, identity = world.join()
        key = world.hub.run(member, identity, "gpu")
        world.pass_time(3 * HOUR_MS + 1, step_ms=20 * 60_000)
        world.hub.end(key)
        spent = 100 * 3_600_000_000 - world.balance(member)
        wrong += spent != 10_000 * (3 * HOUR_MS + 1)
    assert wrong == 0
    figure(
        f"servers running while clocks change, {new_world.database}",
        f"{len(CHANGES)} zones, {wrong} charged otherwise than by elapsed milliseconds",
    )
