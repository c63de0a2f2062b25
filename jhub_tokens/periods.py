"""Billing periods: when a member's month begins and ends.

An *anchored* period n starts at the anchor's local date and time plus n months, always counted
from the anchor (31 January, 28 February, 31 March), with the day clamped to the month's end. A
*calendar* period is a whole calendar month; period 0 is the anchor's own. Periods are half-open,
`start <= instant < end`, and each one ends exactly where the next one starts.

Clocks are put forward and back at other moments in every zone. A local start that does not exist
is the first instant that does; one that happens twice is the first of the two.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, assert_never
from zoneinfo import ZoneInfo

__all__ = [
    "PeriodKind",
    "day_start_ms",
    "month_of",
    "month_span",
    "months_between",
    "next_month",
    "period",
    "period_at",
    "week_start_ms",
]

PeriodKind = Literal["anchored", "calendar"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
#: The mean Gregorian month: good for a first guess, which is then settled exactly.
_MEAN_MONTH_MS = 2_629_746_000


def period(anchor_ms: int, n: int, zone: str, kind: PeriodKind) -> tuple[int, int]:
    """Return the start and the end of period `n`, in milliseconds since the epoch.

    Parameters
    ----------
    anchor_ms
        When the subscription began.
    n
        Number of the period; 0 holds the anchor, earlier ones are negative.
    zone
        IANA name of the subscription's billing zone.
    kind
        ``"anchored"`` or ``"calendar"``.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        If there is no such zone.
    OverflowError
        If the period lies outside the years 1 to 9999.
    """
    return _start_ms(anchor_ms, n, zone, kind), _start_ms(anchor_ms, n + 1, zone, kind)


def period_at(anchor_ms: int, at_ms: int, zone: str, kind: PeriodKind) -> tuple[int, int, int]:
    """Return number, start and end of the period that holds the instant `at_ms`.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        If there is no such zone.
    OverflowError
        If the period lies outside the years 1 to 9999.
    """
    # The guess drifts by at most one period in a century or so; the loops settle it exactly.
    n = (at_ms - anchor_ms) // _MEAN_MONTH_MS
    while _start_ms(anchor_ms, n, zone, kind) > at_ms:
        n -= 1
    while _start_ms(anchor_ms, n + 1, zone, kind) <= at_ms:
        n += 1
    start_ms, end_ms = period(anchor_ms, n, zone, kind)
    assert start_ms <= at_ms < end_ms
    return n, start_ms, end_ms


def day_start_ms(at_ms: int, zone: str, days: int = 0) -> int:
    """Return the first instant of the local day that holds `at_ms`, or of one `days` later.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        If there is no such zone.
    """
    tz = ZoneInfo(zone)
    today = _wall(at_ms, tz)
    return _first_instant_ms(datetime(today.year, today.month, today.day) + timedelta(days), tz)


def week_start_ms(at_ms: int, zone: str, weeks: int = 0) -> int:
    """Return the first instant of the local week (from Monday) of `at_ms`, or of a later one.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        If there is no such zone.
    """
    weekday = _wall(at_ms, ZoneInfo(zone)).weekday()
    return day_start_ms(at_ms, zone, 7 * weeks - weekday)


def month_of(at_ms: int, zone: str) -> str:
    """Return the calendar month of an instant, such as ``2026-11``.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        If there is no such zone.
    """
    wall = _wall(at_ms, ZoneInfo(zone))
    return f"{wall.year:04}-{wall.month:02}"


@lru_cache(maxsize=4096)
def month_span(month: str, zone: str) -> tuple[int, int]:
    """Return the first instant of a calendar month such as ``2026-11``, and of the next one.

    Raises
    ------
    ValueError
        If there is no such month.
    """
    tz = ZoneInfo(zone)
    start = datetime.strptime(month, "%Y-%m")
    return _first_instant_ms(start, tz), _first_instant_ms(_add_months(start, 1), tz)


def next_month(month: str) -> str:
    """Return the month after ``2026-11``: ``2026-12``."""
    return _add_months(datetime.strptime(month, "%Y-%m"), 1).strftime("%Y-%m")


def months_between(from_ms: int, to_ms: int, zone: str) -> list[int]:
    """Return the first instants of the months that begin within (`from_ms`, `to_ms`)."""
    found: list[int] = []
    if to_ms - from_ms < 1:
        return found
    _, end_ms = month_span(month_of(from_ms, zone), zone)
    while end_ms < to_ms:
        found.append(end_ms)
        _, end_ms = month_span(month_of(end_ms, zone), zone)
    return found


@lru_cache(maxsize=16_384)
def _start_ms(anchor_ms: int, n: int, zone: str, kind: PeriodKind) -> int:
    tz = ZoneInfo(zone)
    # The anchor is read on the wall clock of its zone; what is left of it below a millisecond
    # does not exist, so nothing is rounded here.
    anchor = (_EPOCH + anchor_ms * _MILLISECOND).astimezone(tz)
    match kind:
        case "anchored":
            if n == 0:
                # The anchor itself, even where its wall-clock time happens twice and it is the
                # second one: a subscription must not begin an hour before it was made.
                return anchor_ms
            local = anchor.replace(tzinfo=None, fold=0)
        case "calendar":
            local = datetime(anchor.year, anchor.month, 1)
        case _:
            assert_never(kind)
    return _first_instant_ms(_add_months(local, n), tz)


def _add_months(local: datetime, months: int) -> datetime:
    year, month0 = divmod(local.year * 12 + local.month - 1 + months, 12)
    if not 1 <= year <= 9998:  # one year of margin: a month ends in the next one
        raise OverflowError(f"a period in the year {year} is outside the calendar")
    return local.replace(
        year=year, month=month0 + 1, day=min(local.day, _days_in(year, month0 + 1))
    )


def _days_in(year: int, month: int) -> int:
    next_month = datetime(year + month // 12, month % 12 + 1, 1)
    return (next_month - timedelta(days=1)).day


def _first_instant_ms(local: datetime, tz: ZoneInfo) -> int:
    """Return the first instant whose wall clock in `tz` shows `local` or, in a gap, later."""
    # fold=0 is the first of two, and in a gap reads `local` with the offset before it, which
    # lands just as far after the gap as `local` lies after the gap's begin.
    instant_ms = _instant_ms(local, tz)
    if _wall(instant_ms, tz) == local:
        return instant_ms
    # A gap: with the offset after it (fold=1), `local` falls before the gap. The first instant
    # that exists is where the wall clock jumps over `local`, between these two.
    low_ms, high_ms = _instant_ms(local.replace(fold=1), tz), instant_ms
    while high_ms - low_ms > 1:
        middle_ms = (low_ms + high_ms) // 2
        if _wall(middle_ms, tz) < local:
            low_ms = middle_ms
        else:
            high_ms = middle_ms
    return high_ms


def _instant_ms(local: datetime, tz: ZoneInfo) -> int:
    return (local.replace(tzinfo=tz).astimezone(UTC) - _EPOCH) // _MILLISECOND


def _wall(instant_ms: int, tz: ZoneInfo) -> datetime:
    wall = (_EPOCH + instant_ms * _MILLISECOND).astimezone(tz)
    return wall.replace(tzinfo=None, fold=0)
