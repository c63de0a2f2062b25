"""Instants as people write them, in the billing zone where they name none."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from jhub_tokens.i18n import _
from jhub_tokens.periods import day_start_ms
from jhub_tokens.service.errors import Problem, invalid

__all__ = ["day_end_ms", "iso_instant", "read_instant_ms"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def read_instant_ms(text: str, zone: str, field: str = "as_of") -> int:
    """Read an instant.

    Parameters
    ----------
    text
        ``2026-11-30`` (the end of that day), ``2026-11-30T12:00`` in `zone`,
        ``2026-11-30T12:00+01:00``, or milliseconds since the epoch.

    Raises
    ------
    Problem
        If it is none of these.
    """
    try:
        if text.isascii() and text.isdigit():
            if int(text) >= 1 << 53:
                raise ValueError
            return int(text)
        if _DAY.fullmatch(text):
            return day_end_ms(text, zone)
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=ZoneInfo(zone))
        return (instant.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise _bad(field) from None


def day_end_ms(day: str, zone: str) -> int:
    """Return the end of a day such as ``2027-03-31``; raises `ValueError` if there is none."""
    noon = datetime.combine(date.fromisoformat(day), datetime.min.time(), ZoneInfo(zone)).replace(
        hour=12
    )
    return day_start_ms(int(noon.timestamp() * 1000), zone, 1)


def iso_instant(at_ms: int, zone: str) -> str:
    """Return an instant as ISO 8601 writes it, to the millisecond, in a zone."""
    local = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone))
    return local.isoformat(timespec="milliseconds")


def _bad(field: str) -> Problem:
    return invalid(
        field,
        _(
            "There is no such instant; write 2026-11-30 for the end of a day, or an instant like "
            "2026-11-30T12:00 or 2026-11-30T12:00+01:00."
        ),
    )
