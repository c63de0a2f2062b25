"""What a member's servers consumed: by day and profile, by hour of the week, and the dearest."""

from __future__ import annotations

from jhub_tokens.wire.base import Amount, Wire

__all__ = ["Usage", "UsageDay", "UsageHour", "UsageSession"]


class UsageDay(Wire):
    """What one profile consumed on one day."""

    day: str  # of the zone, such as 2026-11-24
    profile: str
    title: str
    amount: Amount


class UsageHour(Wire):
    """What was consumed in one hour of the week, over the whole span."""

    weekday: int  # Monday is 0
    hour: int  # of the zone
    amount: Amount


class UsageSession(Wire):
    """What one session consumed within the span."""

    session_id: str
    server_name: str
    profile: str
    title: str
    rate_mtok_h: int
    from_ms: int
    to_ms: int
    end_reason: str | None
    amount: Amount


class Usage(Wire):
    """What the member's own wallet paid for between two instants.

    The days come to `used`, and that to the use on the statements of the same periods.
    """

    member_id: str
    from_ms: int
    to_ms: int
    as_of_ms: int
    zone: str
    used: Amount
    returned: Amount  # refunds, and ends that were learned late
    sessions: int  # how many there were
    days: list[UsageDay]
    hours: list[UsageHour]
    dearest: list[UsageSession]
