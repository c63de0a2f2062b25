"""What a member's servers consumed, as it travels and as a page shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from babel.dates import format_skeleton, get_day_names

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.ledger.usage import UsageView
from jhub_tokens.service import members, texts, views
from jhub_tokens.service.export_text import csv_row, exact_tokens
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.models import UsageQuery
from jhub_tokens.units import grains_to_tokens, rounded_differences
from jhub_tokens.wire import Amount, Usage, UsageDay, UsageHour, UsageSession

__all__ = [
    "HEAT_LEVELS",
    "UsagePageView",
    "period_label",
    "usage",
    "usage_csv",
    "usage_page",
]

#: How many periods a span has.
_PERIODS = {"month": 1, "quarter": 3, "year": 12}
#: How many shades the heat map has, beside none.
HEAT_LEVELS = 8
#: How many profiles have a colour of their own; the others share the last.
_COLOURS = 8
_COLUMNS = ("day", "profile", "title", "amount_tokens", "amount_grains")
_LOCALES = {"en": "en_GB", "zh": "zh_CN"}


async def usage(service: Service, member: MemberRecord, query: UsageQuery) -> Usage:
    """Return what a member consumed in some periods.

    Raises
    ------
    Problem
        If the member has no such period.
    """
    ledger, catalogue = service.books.ledger, service.books.catalogue

    def read() -> Usage:
        from_ms, to_ms, _spans = _span_of(ledger, catalogue, member.member_id, query)
        return _read(ledger, catalogue, member.member_id, from_ms, to_ms)

    return await service.workers.read(read)


def _read(ledger: Ledger, catalogue: Catalogue, member_id: str, from_ms: int, to_ms: int) -> Usage:
    return _wire(ledger.usage.span(member_id, from_ms, to_ms, catalogue.zone), member_id, catalogue)


def _span_of(
    ledger: Ledger, catalogue: Catalogue, member_id: str, query: UsageQuery
) -> tuple[int, int, list[tuple[int, int]]]:
    """Return the instants of the periods asked for, and all periods there are."""
    chosen = members.period_of(ledger, catalogue, member_id, query.period)
    spans = list(ledger.periods(member_id))
    place = spans.index(chosen)
    wanted = spans[place : place + _PERIODS[query.span]]
    return wanted[-1][0], wanted[0][1], spans


def _wire(view: UsageView, member_id: str, catalogue: Catalogue) -> Usage:
    def title(profile: str) -> str:
        known = catalogue.profiles.get(profile)
        return known.title if known else profile

    return Usage(
        member_id=member_id,
        from_ms=view.from_ms,
        to_ms=view.to_ms,
        as_of_ms=view.as_of_ms,
        zone=view.zone,
        used=Amount.of(view.used_grains),
        returned=Amount.of(view.returned_grains),
        sessions=view.session_count,
        days=[
            UsageDay(
                day=day.isoformat(), profile=profile, title=title(profile), amount=Amount.of(grains)
            )
            for (day, profile), grains in view.days.items()
            if grains
        ],
        hours=[
            UsageHour(weekday=weekday, hour=hour, amount=Amount.of(grains))
            for (weekday, hour), grains in sorted(view.hours.items())
            if grains
        ],
        dearest=[
            UsageSession(
                session_id=session.session_id,
                server_name=session.server_name,
                profile=session.profile,
                title=title(session.profile),
                rate_mtok_h=session.rate_mtok_h,
                from_ms=session.from_ms,
                to_ms=session.to_ms,
                end_reason=session.end_reason,
                amount=Amount.of(session.used_grains),
            )
            for session in view.sessions
        ],
    )


def usage_csv(usage: Usage) -> Iterator[str]:
    """Yield usage by day and profile as CSV."""
    yield csv_row(_COLUMNS)
    for item in usage.days:
        grains = item.amount.exact_grains
        yield csv_row((item.day, item.profile, item.title, Decimal(exact_tokens(grains)), grains))


# --- the page ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProfileShare:
    """One profile's part of the use, with its colour."""

    colour: int
    title: str
    grains: int
    percent: int


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What was used in one day or month, by profile as in `UsagePageView.shares`."""

    label: str
    tokens: list[str]
    total: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One day of the week: a shade and the tokens of each hour."""

    weekday: str
    cells: list[tuple[int, int]]  # level, grains
    grains: int


@dataclass(frozen=True, slots=True)
class TopSession:
    """A dear session, with its texts."""

    session: UsageSession
    when: str
    duration: str
    end: str


@dataclass(frozen=True, slots=True)
class UsagePageView:
    """Everything that the page shows."""

    usage: Usage
    span: str
    period: str  # the day on which the chosen one began
    periods: list[tuple[str, str, bool]]  # day, label, chosen
    earlier: str | None
    later: str | None
    label: str  # from when to when
    by_month: bool
    shares: list[ProfileShare]
    rows: list[UsageRow]
    chart: dict[str, object]
    heat: list[HeatRow]
    top: list[TopSession]


async def usage_page(service: Service, member: MemberRecord, query: UsageQuery) -> UsagePageView:
    """Read everything that the page of usage shows.

    Raises
    ------
    Problem
        If the member has no such period.
    """
    ledger, catalogue = service.books.ledger, service.books.catalogue
    return await service.workers.read(_read_page, ledger, catalogue, member.member_id, query)


def _read_page(
    ledger: Ledger, catalogue: Catalogue, member_id: str, query: UsageQuery
) -> UsagePageView:
    from_ms, to_ms, spans = _span_of(ledger, catalogue, member_id, query)
    found = _read(ledger, catalogue, member_id, from_ms, to_ms)
    zone, now_ms = catalogue.zone, found.as_of_ms
    days = [views.local_date(start, zone).isoformat() for start, _end in spans]
    place = next(index for index, (_start, end) in enumerate(spans) if end == to_ms)
    shares = _shares(found)
    by_month = query.span == "year"
    last_ms = min(to_ms, now_ms + 1) - 1
    buckets = _buckets(
        views.local_date(from_ms, zone), views.local_date(last_ms, zone), by_month=by_month
    )
    rows, series = _rows(found, shares, buckets, by_month=by_month)
    return UsagePageView(
        usage=found,
        span=query.span,
        period=days[place],
        periods=[
            (day, period_label(start, end, zone), index == place)
            for index, (day, (start, end)) in enumerate(zip(days, spans, strict=True))
        ],
        earlier=days[place + 1] if place + 1 < len(days) else None,
        later=days[place - 1] if place else None,
        label=period_label(from_ms, to_ms, zone),
        by_month=by_month,
        shares=shares,
        rows=rows,
        chart={
            "labels": [_bucket_label(bucket, by_month=by_month) for bucket in buckets],
            "series": [
                {"title": share.title, "colour": share.colour, "values": values}
                for share, values in zip(shares, series, strict=True)
            ],
        },
        heat=_heat(found),
        top=[_top(session, now_ms, zone) for session in found.dearest],
    )


def period_label(from_ms: int, to_ms: int, zone: str) -> str:
    """Return a period by its first and last day."""
    # Told without "today": a period has a name of its own, whenever it is read.
    long_ago_ms = from_ms - 2 * 86_400_000
    return " – ".join(texts.day_text(at_ms, long_ago_ms, zone) for at_ms in (from_ms, to_ms - 1))


def _shares(found: Usage) -> list[ProfileShare]:
    sums: dict[str, int] = defaultdict(int)
    for item in found.days:
        sums[item.title] += item.amount.exact_grains
    total = max(1, sum(sums.values()))
    ranked = sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        ProfileShare(min(index, _COLOURS - 1), title, grains, (grains * 200 + total) // (2 * total))
        for index, (title, grains) in enumerate(ranked)
    ]


def _buckets(first: date, last: date, *, by_month: bool) -> list[date]:
    """Return the days from one to another, or the first days of their months."""
    if not by_month:
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]
    months = [first.replace(day=1)]
    while (later := (months[-1] + timedelta(days=31)).replace(day=1)) <= last:
        months.append(later)
    return months


def _rows(
    found: Usage, shares: list[ProfileShare], buckets: list[date], *, by_month: bool
) -> tuple[list[UsageRow], list[list[str]]]:
    """Return the table's rows, the latest first, and the chart's values by profile."""
    sums: dict[tuple[date, str], int] = defaultdict(int)
    for item in found.days:
        day = date.fromisoformat(item.day)
        sums[day.replace(day=1) if by_month else day, item.title] += item.amount.exact_grains
    series = [
        [f"{grains_to_tokens(sums.get((bucket, share.title), 0)):f}" for bucket in buckets]
        for share in shares
    ]
    used = [bucket for bucket in buckets if any((bucket, s.title) in sums for s in shares)]
    # Rounded so that each column adds up to what stands below it.
    columns = [
        rounded_differences([sums.get((bucket, share.title), 0) for bucket in used])
        for share in shares
    ]
    rows = [
        UsageRow(
            _bucket_label(bucket, by_month=by_month),
            [f"{column[index]:,f}" for column in columns],
            f"{sum((column[index] for column in columns), Decimal(0)):,f}",
        )
        for index, bucket in enumerate(used)
    ]
    return rows[::-1], series


def _bucket_label(bucket: date, *, by_month: bool) -> str:
    skeleton = "yMMMM" if by_month else "MMMEd"
    return format_skeleton(skeleton, bucket, locale=_locale())


def _locale() -> str:
    return _LOCALES.get(i18n.language(), _LOCALES["en"])


def _heat(found: Usage) -> list[HeatRow]:
    grains = {(item.weekday, item.hour): item.amount.exact_grains for item in found.hours}
    most = max(grains.values(), default=0)

    def level(amount: int) -> int:
        return -(-amount * HEAT_LEVELS // most) if amount else 0  # rounded up: a little is seen

    names = get_day_names("abbreviated", locale=_locale())
    rows = []
    for weekday in range(7):
        amounts = [grains.get((weekday, hour), 0) for hour in range(24)]
        rows.append(HeatRow(str(names[weekday]), [(level(a), a) for a in amounts], sum(amounts)))
    return rows


def _top(session: UsageSession, now_ms: int, zone: str) -> TopSession:
    return TopSession(
        session,
        texts.instant_text(session.from_ms, now_ms, zone),
        texts.duration_text(session.to_ms - session.from_ms),
        texts.end_text(session.end_reason),
    )
