"""Words for people: instants, what lines and grants are called, and why a server ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from jhub_tokens import i18n
from jhub_tokens.i18n import N_, _
from jhub_tokens.service.zones import display_zone
from jhub_tokens.units import AmountError, AmountTooLarge
from jhub_tokens.words import duration_text, hardware_text, rate_text, tokens_text, unit_names

__all__ = [
    "KINDS",
    "SOURCES",
    "amount_error_text",
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
    "unit_names",
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
#: So near, the minute alone would tell too little.
_SECONDS_WITHIN_MS = 10 * 60_000

#: What a line of the statement is.
KINDS: Mapping[str, str] = {
    "allotment": N_("Monthly tokens"),
    "topup": N_("Top-up"),
    "adjustment": N_("Correction"),
    "usage": N_("Usage"),
    "expiry": N_("Expired"),
    "rollover": N_("Rolled over"),
    "refund": N_("Refund"),
    "voucher": N_("Voucher"),
    "reversal": N_("Payment reversed"),
    "overrun": N_("Overrun"),
    "return": N_("Returned"),
    "upgrade": N_("Upgrade of the plan"),
    "trial": N_("Trial"),
}

#: Where a grant comes from.
SOURCES: Mapping[str, str] = {
    "plan": N_("Monthly tokens"),
    "topup": N_("Top-up"),
    "adjustment": N_("Correction"),
    "refund": N_("Refund"),
    "voucher": N_("Voucher"),
    "rollover": N_("Rolled over"),
    "overrun": N_("Overrun"),
    "upgrade": N_("Upgrade of the plan"),
    "trial": N_("Trial"),
}

_ENDS: Mapping[str, str] = {
    "stopped": N_("stopped"),
    "exited": N_("shut down from inside"),
    "failed": N_("failed"),
    "cancelled": N_("cancelled"),
    "lost": N_("lost"),
    "dry": N_("stopped because the balance was used up"),
    "frozen": N_("stopped because the membership was frozen"),
    "max_run": N_("stopped because its longest run had passed"),
    "day_limit": N_("stopped because a day's limit was reached"),
    "week_limit": N_("stopped because a week's limit was reached"),
    "team_cap": N_("stopped because a share of the team's tokens was spent"),
    "left_team": N_("stopped because the member was no longer in the team"),
    "asked": N_("stopped because its member asked for it"),
    "idle": N_("stopped because nothing used it any more"),
    "ordered": N_("stopped because an administrator ordered it"),
    "superseded": N_("given up for a new start"),
    "taken_over": N_("metered from here on"),
    "oom": N_("ended because it ran out of memory"),
    "evicted": N_("ended because its node ran short of resources or was emptied"),
    "node_lost": N_("ended because its node failed or was shut down"),
    "preempted": N_("ended because its spot node was taken back"),
    "displaced": N_("ended because its place was needed for more urgent work"),
    "crashed": N_("ended because its own process failed"),
    "deleted": N_("ended because it was deleted in the cluster"),
}

_STOPS: Mapping[str, str] = {
    "dry": N_("Your balance is used up."),
    "frozen": N_("Your membership was frozen."),
    "max_run": N_("Its longest run has passed."),
    "day_limit": N_("What may be spent in a day is spent."),
    "week_limit": N_("What may be spent in a week is spent."),
    "team_cap": N_("Your share of the team's tokens is spent."),
    "left_team": N_("You are no longer in the team that paid."),
    "asked": N_("You asked for it."),
    "idle": N_("Nothing used it any more."),
    "ordered": N_("An administrator stopped it."),
}


def amount_error_text(error: AmountError) -> str:
    """Return what is wrong with what was typed into a field for tokens."""
    if isinstance(error, AmountTooLarge):
        return _(error.message, text=error.text)
    return _("Write a number of tokens, such as 12 or 0.5.")


def instant_text(at_ms: int, now_ms: int | None, zone: str, language: str | None = None) -> str:
    """Return an instant as people say it, in `zone`: ``today 14:05 CET``, ``Tue 24 Nov 14:05 CET``.

    Whoever looks may have chosen another zone, see `zones`. Seconds are told within ten minutes
    of now, the year when it is another one. Without
    `now_ms` it is told whole, for a text that is read later.
    """
    zone = display_zone(zone)
    at = _local(at_ms, zone)
    language = language or i18n.language()
    if now_ms is None:
        return f"{_day(at, None, language)} {at:%H:%M:%S} {at.tzname()}"
    near = abs(at_ms - now_ms) < _SECONDS_WITHIN_MS
    clock = f"{at:%H:%M:%S}" if near else f"{at:%H:%M}"
    return f"{_day(at, _local(now_ms, zone), language)} {clock} {at.tzname()}"


def day_text(at_ms: int, now_ms: int, zone: str) -> str:
    """Return the day of an instant in `zone`: ``today``, ``Tue 24 Nov``, ``Thu 1 Jan 2026``."""
    return _day(_local(at_ms, zone), _local(now_ms, zone), i18n.language())


def kind_text(kind: str) -> str:
    """Return what a line of the statement is called."""
    return _(KINDS[kind]) if kind in KINDS else kind.capitalize()


def source_text(source: str) -> str:
    """Return what the source of a grant is called."""
    return _(SOURCES[source]) if source in SOURCES else source.capitalize()


def end_text(end_reason: str | None) -> str:
    """Return why a session ended, empty while it runs."""
    if end_reason is None:
        return ""
    return _(_ENDS[end_reason]) if end_reason in _ENDS else end_reason.replace("_", " ")


def stop_text(reason: str) -> str:
    """Return why a server is stopped, for its member, from a stop order's reason."""
    return _(_STOPS[reason]) if reason in _STOPS else reason


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
