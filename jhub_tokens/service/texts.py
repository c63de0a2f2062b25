"""Words for people: instants, durations, rates, hardware, notices and why a server ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from jhub_tokens.catalogue import Catalogue, Profile
from jhub_tokens.ledger.records import NoticeRecord
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
    "notice_severity",
    "notice_text",
    "rate_text",
    "source_text",
    "stop_text",
    "tokens_text",
]

Severity = Literal["info", "warning", "danger"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
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
    "superseded": "given up for a new start",
    "max_run": "stopped after its longest run",
    "left_team": "stopped because its member left the team",
    "day_limit": "stopped at the day's spending limit",
    "week_limit": "stopped at the week's spending limit",
    "team_cap": "stopped at the member's share of the team's tokens",
}

_STOPS: Mapping[str, str] = {
    "dry": "Your balance is used up.",
    "frozen": "Your membership was frozen.",
}

_SEVERITIES: Mapping[str, Severity] = {
    "used_percent": "info",
    "time_left": "warning",
    "last_warning": "danger",
    "stopped_dry": "danger",
    "would_stop": "warning",
    "stop_failed": "danger",
    "credited": "info",
    "renewed": "info",
    "frozen": "warning",
    "unfrozen": "info",
}


def instant_text(at_ms: int, now_ms: int, zone: str) -> str:
    """Return an instant as people say it, in `zone`: ``today 14:05 CET``, ``Tue 24 Nov 14:05 CET``.

    Seconds are told within ten minutes of now, the year when it is another one.
    """
    at, now = _local(at_ms, zone), _local(now_ms, zone)
    near = abs(at_ms - now_ms) < _SECONDS_WITHIN_MS
    clock = f"{at:%H:%M:%S}" if near else f"{at:%H:%M}"
    return f"{_day(at, now)} {clock} {at.tzname()}"


def day_text(at_ms: int, now_ms: int, zone: str) -> str:
    """Return the day of an instant in `zone`: ``today``, ``Tue 24 Nov``, ``Thu 1 Jan 2026``."""
    return _day(_local(at_ms, zone), _local(now_ms, zone))


def duration_text(duration_ms: int) -> str:
    """Return a duration in its two largest units: ``2 d 3 h``, ``1 h 5 min``, ``40 s``."""
    seconds = max(0, round(duration_ms / 1000))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break  # "2 d 5 s" would claim a precision that the gap denies
    return " ".join(parts[:2]) or "0 s"


def rate_text(rate_mtok_h: int) -> str:
    """Return a rate in tokens per hour: ``10 tokens/h``."""
    if rate_mtok_h == 0:
        return "free"
    text = format_tokens(rate_mtok_h * GRAINS_PER_MILLITOKEN, 3)
    return f"{text} token/h" if text == "1" else f"{text} tokens/h"


def tokens_text(grains: int) -> str:
    """Return an amount with its word: ``1 token``, ``2.5 tokens``."""
    text = format_tokens(grains)
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


def notice_severity(kind: str) -> Severity:
    """Return how loudly a notice of this kind is shown."""
    return _SEVERITIES.get(kind, "info")


def notice_text(notice: NoticeRecord, catalogue: Catalogue, now_ms: int) -> str:
    """Return what a notice says, complete in itself, with instants in the billing zone."""
    params = notice.params

    def instant(name: str) -> str:
        return instant_text(_int(params.get(name)), now_ms, catalogue.zone)

    match notice.kind:
        case "used_percent":
            return f"You have used {params.get('percent')} % of this period's tokens."
        case "time_left":
            left = duration_text(_int(params.get("threshold_ms")))
            return (
                f"At the present rate your balance lasts {left} more, until "
                f"{instant('dry_at_ms')}. Running servers are stopped then; save your work in time."
            )
        case "last_warning":
            return (
                f"Last warning: your balance is used up {instant('dry_at_ms')}, and your servers "
                f"are stopped {instant('stop_at_ms')}. Save your work now."
            )
        case "stopped_dry":
            servers, verb = _servers(params, catalogue)
            reset_ms = _int(params.get("renews_at_ms"))
            reset = f" New tokens arrive {instant('renews_at_ms')}." if reset_ms else ""
            return (
                f"{servers} {verb} stopped because your balance is used up. "
                f"Your files are kept.{reset}"
            )
        case "would_stop":
            servers, _ = _servers(params, catalogue)
            return (
                f"Your balance is used up. {servers} would have been stopped, but limits are not "
                "enforced on this hub."
            )
        case "stop_failed":
            detail = f": {params['detail']}" if params.get("detail") else ""
            return f"A server could not be stopped and is tried again{detail}."
        case "credited":
            grains = _int(params.get("grains"))
            reason = f" Reason: {params['reason']}" if params.get("reason") else ""
            if grains < 0:
                return f"{tokens_text(-grains)} taken from your balance.{reason}"
            return f"{tokens_text(grains)} added to your balance.{reason}"
        case "renewed":
            grains = _int(params.get("grains"))
            end = instant("period_end_ms")
            return f"A new period has begun with {tokens_text(grains)}; it ends {end}."
        case "frozen":
            reason = f" Reason: {params['reason']}" if params.get("reason") else ""
            return f"Your membership is frozen: servers are stopped and none can start.{reason}"
        case "unfrozen":
            return "Your membership is active again."
    return str(notice.kind).replace("_", " ")


def stop_text(reason: str) -> str:
    """Return why a server is stopped, for its member, from a stop order's reason."""
    return _STOPS.get(reason, reason)


def _servers(params: Mapping[str, object], catalogue: Catalogue) -> tuple[str, str]:
    """Return what a notice is about, and the verb that goes with it."""
    servers = params.get("servers")
    titles = []
    for server in servers if isinstance(servers, (list, tuple)) else []:
        profile = catalogue.profiles.get(str(server.get("profile")))
        title = profile.title if profile else str(server.get("profile"))
        name = str(server.get("server_name") or "")
        titles.append(f"{title} “{name}”" if name else title)
    if not titles:
        return "Your servers", "were"
    if len(titles) == 1:
        return f"Your server ({titles[0]})", "was"
    return f"Your servers ({', '.join(titles)})", "were"


def _int(value: object) -> int:
    return int(value) if isinstance(value, (int, float, str)) else 0


def _local(at_ms: int, zone: str) -> datetime:
    # Exact integer arithmetic: fromtimestamp() would round through a float.
    epoch = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))
    return (epoch + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone))


def _day(at: datetime, now: datetime) -> str:
    distance = (at.date() - now.date()).days
    near = {0: "today", 1: "tomorrow", -1: "yesterday"}.get(distance)
    if near:
        return near
    text = f"{_DAYS[at.weekday()]} {at.day} {_MONTHS[at.month - 1]}"
    return text if at.year == now.year else f"{text} {at.year}"


def _memory_text(memory_bytes: int) -> str:
    for unit, size in (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20)):
        if memory_bytes >= size:
            return f"{memory_bytes / size:.4g} {unit}"
    return f"{memory_bytes} bytes"
