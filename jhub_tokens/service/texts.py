"""Words for people: instants, durations, rates, hardware, and why a server ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from jhub_tokens.catalogue import Profile
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens

__all__ = [
    "KINDS",
    "SOURCES",
    "day_text",
    "duration_text",
    "end_text",
    "hardware_text",
    "instant_text",
    "kind_text",
    "rate_text",
    "source_text",
    "stop_text",
    "tokens_text",
    "utc",
]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_DAYS_ZH = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")
#: Days that have a name of their own, by their distance from today.
_NEAR: Mapping[str, Mapping[int, str]] = {
    "en": {0: "today", 1: "tomorrow", -1: "yesterday"},
    "zh": {0: "今天", 1: "明天", -1: "昨天"},
}
#: Days, hours, minutes, seconds.
_UNITS: Mapping[str, tuple[str, str, str, str]] = {
    "en": ("d", "h", "min", "s"),
    "zh": ("天", "小时", "分钟", "秒"),
}
#: So near, the minute alone would tell too little.
_SECONDS_WITHIN_MS = 10 * 60_000

#: What a line of the statement is.
KINDS: Mapping[str, str] = {
    "allotment": "Monthly tokens",
    "topup": "Top-up",
    "adjustment": "Correction",
    "usage": "Usage",
    "expiry": "Expired",
    "rollover": "Rolled over",
    "refund": "Refund",
    "voucher": "Voucher",
    "reversal": "Payment reversed",
    "overrun": "Overrun",
    "return": "Returned",
    "upgrade": "Upgrade of the plan",
    "trial": "Trial",
}

#: Where a grant comes from.
SOURCES: Mapping[str, str] = {
    "plan": "Monthly tokens",
    "topup": "Top-up",
    "adjustment": "Correction",
    "refund": "Refund",
    "voucher": "Voucher",
    "rollover": "Rolled over",
    "overrun": "Overrun",
    "upgrade": "Upgrade of the plan",
    "trial": "Trial",
}

_ENDS: Mapping[str, str] = {
    "stopped": "stopped",
    "exited": "shut down from inside",
    "failed": "failed",
    "cancelled": "cancelled",
    "lost": "lost",
    "dry": "stopped because the balance was used up",
    "frozen": "stopped because the membership was frozen",
    "max_run": "stopped because its longest run had passed",
    "day_limit": "stopped because a day's limit was reached",
    "week_limit": "stopped because a week's limit was reached",
    "team_cap": "stopped because a share of the team's tokens was spent",
    "left_team": "stopped because the member was no longer in the team",
    "asked": "stopped because its member asked for it",
    "superseded": "given up for a new start",
    "taken_over": "metered from here on",
}

_STOPS: Mapping[str, str] = {
    "dry": "Your balance is used up.",
    "frozen": "Your membership was frozen.",
    "max_run": "Its longest run has passed.",
    "day_limit": "What may be spent in a day is spent.",
    "week_limit": "What may be spent in a week is spent.",
    "team_cap": "Your share of the team's tokens is spent.",
    "left_team": "You are no longer in the team that paid.",
    "asked": "You asked for it.",
}


def instant_text(at_ms: int, now_ms: int | None, zone: str, language: str = "en") -> str:
    """Return an instant as people say it, in `zone`: ``today 14:05 CET``, ``Tue 24 Nov 14:05 CET``.

    Seconds are told within ten minutes of now, the year when it is another one. Without
    `now_ms` it is told whole, for a text that is read later.
    """
    at = _local(at_ms, zone)
    if now_ms is None:
        return f"{_day(at, None, language)} {at:%H:%M:%S} {at.tzname()}"
    near = abs(at_ms - now_ms) < _SECONDS_WITHIN_MS
    clock = f"{at:%H:%M:%S}" if near else f"{at:%H:%M}"
    return f"{_day(at, _local(now_ms, zone), language)} {clock} {at.tzname()}"


def day_text(at_ms: int, now_ms: int, zone: str) -> str:
    """Return the day of an instant in `zone`: ``today``, ``Tue 24 Nov``, ``Thu 1 Jan 2026``."""
    return _day(_local(at_ms, zone), _local(now_ms, zone), "en")


def duration_text(duration_ms: int, language: str = "en") -> str:
    """Return a duration in its two largest units: ``2 d 3 h``, ``1 h 5 min``, ``40 s``."""
    seconds = max(0, round(duration_ms / 1000))
    parts = []
    units = _UNITS.get(language, _UNITS["en"])
    for unit, size in zip(units, (86_400, 3_600, 60, 1), strict=True):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break  # "2 d 5 s" would claim a precision that the gap denies
    return " ".join(parts[:2]) or f"0 {units[-1]}"


def rate_text(rate_mtok_h: int) -> str:
    """Return a rate in tokens per hour: ``10 tokens/h``."""
    if rate_mtok_h == 0:
        return "free"
    text = format_tokens(rate_mtok_h * GRAINS_PER_MILLITOKEN, 3)
    return f"{text} token/h" if text == "1" else f"{text} tokens/h"


def tokens_text(grains: int, language: str = "en") -> str:
    """Return an amount with its word: ``1 token``, ``2.5 tokens``."""
    text = format_tokens(grains)
    if language == "zh":
        return f"{text} 个代币"
    return f"{text} token" if text in ("1", "-1") else f"{text} tokens"


def hardware_text(profile: Profile) -> str:
    """Return a profile's hardware: ``4 cores · 8 GB · 1 × T4 or A100``."""
    parts = [f"{profile.cpu:g} core" + ("" if profile.cpu == 1 else "s")]
    parts.append(_memory_text(profile.memory_bytes))
    if profile.gpus:
        models = " or ".join(profile.gpu_models) or "GPU"
        parts.append(f"{profile.gpus} × {models}")
    return " · ".join(parts)


def kind_text(kind: str) -> str:
    """Return what a line of the statement is called."""
    return KINDS.get(kind, kind.capitalize())


def source_text(source: str) -> str:
    """Return what the source of a grant is called."""
    return SOURCES.get(source, source.capitalize())


def end_text(end_reason: str | None) -> str:
    """Return why a session ended, empty while it runs."""
    if end_reason is None:
        return ""
    return _ENDS.get(end_reason, end_reason.replace("_", " "))


def stop_text(reason: str) -> str:
    """Return why a server is stopped, for its member, from a stop order's reason."""
    return _STOPS.get(reason, reason)


def utc(at_ms: int) -> datetime:
    """Return an instant as a datetime in UTC."""
    # Exact integer arithmetic: fromtimestamp() would round through a float.
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def _local(at_ms: int, zone: str) -> datetime:
    return utc(at_ms).astimezone(ZoneInfo(zone))


def _day(at: datetime, now: datetime | None, language: str) -> str:
    if now is not None:
        near = _NEAR.get(language, _NEAR["en"]).get((at.date() - now.date()).days)
        if near:
            return near
    with_year = now is None or at.year != now.year
    if language == "zh":
        year = f"{at.year}年" if with_year else ""
        return f"{year}{at.month}月{at.day}日（{_DAYS_ZH[at.weekday()]}）"
    text = f"{_DAYS[at.weekday()]} {at.day} {_MONTHS[at.month - 1]}"
    return f"{text} {at.year}" if with_year else text


def _memory_text(memory_bytes: int) -> str:
    for unit, size in (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20)):
        if memory_bytes >= size:
            return f"{memory_bytes / size:.4g} {unit}"
    return f"{memory_bytes} bytes"
