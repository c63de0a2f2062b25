"""The report for people: aligned tables; and one CSV row for each member."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from jhub_tokens.simulation.report import Advice, Report
from jhub_tokens.units import (
    GRAINS_PER_MILLITOKEN,
    MILLISECONDS_PER_HOUR,
    format_tokens,
    grains_to_tokens,
)

__all__ = ["as_csv", "as_text"]


def as_text(report: Report) -> str:
    """Return the report as tables."""
    parts = [
        _headline(report),
        _section("Plans (tokens of a member-month)", _plans(report)),
        _section("Members", _archetypes(report)),
        _section("Profiles", _profiles(report)),
        _section("Weeks of the billing month", _weeks(report)),
        _what_happened(report),
        _advice(report),
        _conservation(report),
    ]
    return "\n\n".join(parts)


def as_csv(report: Report) -> str:
    """Return one row for each member, with a header; tokens to three places."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            "name", "archetype", "plan", "starts", "refused", "refused_balance", "not_tried",
            "stopped_dry", "out_of_tokens_at", "hours", "wanted_tokens", "used_tokens",
            "allotted_tokens", "lapsed_tokens", "overrun_tokens",
        ]
    )  # fmt: skip
    for member in report.members:
        out_ms = member.out_of_tokens_ms
        writer.writerow(
            [
                member.name,
                member.archetype,
                member.plan,
                member.starts,
                member.refused,
                member.refused_balance,
                member.not_tried,
                member.stopped_dry,
                "" if out_ms is None else _local(out_ms, report.zone).isoformat(" ", "minutes"),
                f"{member.hours_ms / MILLISECONDS_PER_HOUR:.2f}",
                f"{grains_to_tokens(member.wanted_grains):f}",
                f"{grains_to_tokens(member.used_grains):f}",
                f"{grains_to_tokens(member.allotted_grains):f}",
                f"{grains_to_tokens(member.lapsed_grains):f}",
                f"{grains_to_tokens(member.overrun_grains):f}",
            ]
        )
    return stream.getvalue()


def _headline(report: Report) -> str:
    first = _local(report.start_ms, report.zone).date()
    months = "1 month" if report.months == 1 else f"{report.months} months"
    kinds = Counter(member.archetype for member in report.members)
    mix = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    lines = [
        f"{_count(len(report.members), 'member')}, {months} from {first} ({report.zone}), "
        f"seed {report.seed}",
        mix,
    ]
    if not report.enforce:
        lines.append("shadow mode (enforce: false): refusals are what would have been refused")
    return "\n".join(lines)


def _plans(report: Report) -> list[list[str]]:
    rows = [
        ["plan", "members", "allotment", "p10", "p50", "p90", "max", "used", "ran dry",
         "lapsed", "rolled over"]
    ]  # fmt: skip
    for plan in report.plans:
        rows.append(
            [
                plan.plan,
                str(plan.members),
                format_tokens(plan.allotment_grains),
                _tokens(plan.used_p10_grains),
                _tokens(plan.used_p50_grains),
                _tokens(plan.used_p90_grains),
                _tokens(plan.used_max_grains),
                f"{plan.used_percent} %",
                _dry(plan.members_dry, plan.months_dry, report.months),
                _tokens(plan.lapsed_grains),
                _tokens(plan.rolled_over_grains),
            ]
        )
    return rows


def _dry(members: int, months: int, length: int) -> str:
    return f"{members}" if length == 1 else f"{members} in {_count(months, 'month')}"


def _archetypes(report: Report) -> list[list[str]]:
    rows = [["who", "members", "starts", "wanted", "used", "ran dry"]]
    for group in report.archetypes:
        rows.append(
            [
                group.archetype,
                str(group.members),
                f"{group.starts:,}",
                _tokens(group.wanted_grains),
                _tokens(group.used_grains),
                str(group.members_dry),
            ]
        )
    return rows


def _profiles(report: Report) -> list[list[str]]:
    rows = [["profile", "tokens/h", "starts", "hours", "tokens"]]
    for profile in report.profiles:
        rows.append(
            [
                profile.profile,
                format_tokens(profile.rate_mtok_h * GRAINS_PER_MILLITOKEN, 3),
                f"{profile.starts:,}",
                f"{profile.hours_ms / MILLISECONDS_PER_HOUR:,.1f}",
                _tokens(profile.used_grains),
            ]
        )
    return rows


def _weeks(report: Report) -> list[list[str]]:
    rows = [["week", "starts", "refused", "ran dry", "stopped", "tokens"]]
    for week in report.weeks:
        rows.append(
            [
                str(week.week),
                f"{week.starts:,}",
                f"{week.refused_balance:,}",
                f"{week.ran_dry:,}",
                f"{week.stops:,}",
                _tokens(week.used_grains),
            ]
        )
    return rows


def _what_happened(report: Report) -> str:
    acts, notices, overrun = report.acts, report.notices, report.overrun
    refusals = ", ".join(f"{count:,} {code}" for code, count in report.refusals.items())
    warned = notices.get("time_left", 0) + notices.get("last_warning", 0)
    lines = [
        f"Refused: {refusals or 'nothing'}; {acts['took_smaller']:,} took a smaller profile, "
        f"{_count(acts['visits_not_tried'], 'visit')} not tried before the reset",
        f"Warned: {_count(warned, 'time')} that a balance runs out; "
        f"{_count(acts['stopped_after_warning'], 'server')} stopped by their owners for it",
        f"Stopped: {_count(acts['stops_ordered'], 'server')} of dry wallets",
        f"Failed starts, free: {acts['starts_failed']:,}",
    ]
    if overrun.members:
        repaid = f", {_tokens(overrun.repaid_grains)} deducted" if overrun.repaid_grains else ""
        lines.append(
            f"Overrun: {format_tokens(overrun.granted_grains, 3)} tokens of "
            f"{_count(overrun.members, 'member')}{repaid}; the longest lasted "
            f"{overrun.longest_ms / 1000:,.1f} s"
        )
    else:
        lines.append("Overrun: none")
    return "\n".join(lines)


def _advice(report: Report) -> str:
    rows = [["plan", "in the catalogue", "90 % would need", "carries now"]]
    rows += [
        [
            advice.plan,
            format_tokens(advice.allotment_grains),
            format_tokens(advice.needed_p90_grains),
            f"{advice.carried_percent} %",
        ]
        for advice in report.advice
    ]
    return "\n".join([_section("Advice (tokens a month)", rows), *map(_sentence, report.advice)])


def _sentence(advice: Advice) -> str:
    needed = format_tokens(advice.needed_p90_grains)
    allotment = format_tokens(advice.allotment_grains)
    if advice.needed_p90_grains > advice.allotment_grains:
        return f"{advice.plan}: raise {allotment} to {needed} for 9 of 10 member-months to suffice"
    return f"{advice.plan}: {allotment} suffice; {needed} would, for 9 of 10 member-months"


def _conservation(report: Report) -> str:
    books = report.conservation
    difference = books.consumed_grains - books.reckoned_grains
    work = report.work
    return (
        f"Books: issued {_tokens(books.issued_grains)} = balances {_tokens(books.balance_grains)}"
        f" + consumed {_tokens(books.consumed_grains)} + expired {_tokens(books.expired_grains)}\n"
        f"Rate × time from ready to end: {_tokens(books.reckoned_grains)} tokens, "
        f"difference {difference} grains; audit clean\n"
        f"{work.events:,} events, {work.snapshots:,} snapshots, "
        f"{work.warden_passes:,} passes of the warden"
    )


# --- words and columns -----------------------------------------------------------------------


def _section(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a table: names to the left, numbers to the right (they are all ASCII)."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _tokens(grains: int) -> str:
    return f"{grains_to_tokens(grains, 1):,f}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _local(at_ms: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
