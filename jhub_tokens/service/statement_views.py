"""The itemised statement as it travels, as a page shows it, and as CSV."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from zoneinfo import ZoneInfo

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger.itemised import ItemisedStatement, Segment
from jhub_tokens.service import texts, views
from jhub_tokens.service.export_text import csv_row, exact_tokens
from jhub_tokens.service.instants import iso_instant
from jhub_tokens.service.question_views import row_of
from jhub_tokens.units import rounded_differences
from jhub_tokens.wire import Amount, Statement, StatementLine, StatementSegment

__all__ = ["itemised_statement", "statement_csv", "sums_by_kind"]

#: Of what was so short the minutes alone would tell too little.
_SECONDS_BELOW_MS = 10 * 60_000
_COLUMNS = (
    "at", "kind", "text", "amount_tokens", "amount_grains", "balance_grains", "session_id",
    "profile", "from", "to", "rate_mtok_h", "by", "reason",
)  # fmt: skip


def itemised_statement(items: ItemisedStatement, catalogue: Catalogue) -> Statement:
    """Return a statement whose sessions have their segments and questions."""
    plain = views.statement(items.view, catalogue)
    now_ms = items.view.as_of_ms
    lines = []
    for line in plain.lines:
        session_id = line.session_id or ""
        if line.kind == "usage" and session_id:
            asked = items.questions.get(session_id)
            line = line.model_copy(
                update={
                    "segments": _segments(items, session_id, line, catalogue),
                    "question": None if asked is None else row_of(asked, catalogue, now_ms),
                }
            )
        lines.append(line)
    return plain.model_copy(update={"lines": lines})


def _segments(
    items: ItemisedStatement, session_id: str, line: StatementLine, catalogue: Catalogue
) -> list[StatementSegment]:
    found = items.segments.get(session_id, ())
    shown = rounded_differences([segment.amount_grains for segment in found])
    if shown:
        # As shown, the segments come to the line: what its own rounding took, the last one has.
        shown[-1] += -Decimal(line.tokens.replace(",", "")) - sum(shown)
    now_ms, zone = items.view.as_of_ms, catalogue.zone
    return [
        StatementSegment(
            from_ms=segment.from_ms,
            to_ms=segment.to_ms,
            span=_span(segment, now_ms, zone),
            amount=Amount.of(segment.amount_grains),
            tokens=f"{tokens:,f}",
            source=segment.source,
            grant=_grant(segment, now_ms, zone),
            grant_id=segment.grant_id,
            booked=segment.booked,
        )
        for segment, tokens in zip(found, shown, strict=True)
    ]


def _span(segment: Segment, now_ms: int, zone: str) -> str:
    """Return when a segment was, its day once if it is one."""
    begin, end = (
        texts.utc(ms).astimezone(ZoneInfo(zone)) for ms in (segment.from_ms, segment.to_ms)
    )
    if begin.date() != end.date():
        whole = texts.instant_text(segment.from_ms, now_ms, zone)
        return f"{whole} – {texts.instant_text(segment.to_ms, now_ms, zone)}"
    brief = segment.to_ms - segment.from_ms < _SECONDS_BELOW_MS
    clock = "%H:%M:%S" if brief else "%H:%M"
    day = texts.day_text(segment.from_ms, now_ms, zone)
    return f"{day} {begin:{clock}} – {end:{clock}} {end.tzname()}"


def _grant(segment: Segment, now_ms: int, zone: str) -> str:
    source = texts.source_text(segment.source)
    if segment.expires_ms is None:
        return source
    # Told by the last day on which it can be used.
    day = texts.day_text(segment.expires_ms - 1, now_ms, zone)
    return _("%(source)s until %(day)s", source=source, day=day)


def sums_by_kind(statement: Statement) -> list[tuple[str, Decimal]]:
    """Return what the shown lines of each kind come to: with the opening balance, the closing."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for line in statement.lines:
        sums[line.kind] += Decimal(line.tokens.replace(",", ""))
    return list(sums.items())


def statement_csv(statement: Statement) -> Iterator[str]:
    """Yield the lines of a statement as CSV, the opening balance first."""
    zone = statement.zone

    def instant(at_ms: int | None) -> str:
        return "" if at_ms is None else iso_instant(at_ms, zone)

    yield csv_row(_COLUMNS)
    opening = statement.opening.exact_grains
    yield csv_row((instant(statement.period_start_ms), "opening", "", 0, 0, opening, *[""] * 7))
    for line in statement.lines:
        yield csv_row(
            (
                instant(line.at_ms),
                line.kind,
                line.text,
                Decimal(exact_tokens(line.amount.exact_grains)),
                line.amount.exact_grains,
                line.balance.exact_grains,
                line.session_id or "",
                line.profile or "",
                instant(line.from_ms),
                instant(line.to_ms),
                "" if line.rate_mtok_h is None else line.rate_mtok_h,
                line.actor,
                line.reason,
            )
        )
