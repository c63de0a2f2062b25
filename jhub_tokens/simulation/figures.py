"""From a simulation that was played to its report: the books' own statements, added up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jhub_tokens.ledger import Ledger
from jhub_tokens.simulation.conservation import Account, check
from jhub_tokens.simulation.hub import Server
from jhub_tokens.simulation.people import Life
from jhub_tokens.simulation.play import WEEK_MS, Play
from jhub_tokens.simulation.report import (
    Advice,
    ArchetypeFigures,
    MemberFigures,
    Overrun,
    PlanFigures,
    ProfileFigures,
    Report,
    WeekFigures,
    Work,
)
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, GRAINS_PER_TOKEN

__all__ = ["make_report", "quantile"]

#: The share of member-months that an advised allotment carries.
ADVICE_PERCENT = 90


@dataclass(slots=True)
class _Month:
    """One billing period of one member."""

    from_ms: int
    to_ms: int
    allotted: int = 0
    used: int = 0
    lapsed: int = 0
    rolled: int = 0
    out_ms: int | None = None  # when they were first out of tokens


@dataclass(slots=True)
class _Member:
    """One member's months and what their statements say in all."""

    life: Life
    months: list[_Month] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    longest_overrun_ms: int = 0


def make_report(play: Play) -> Report:
    """Return the figures of a play that has run, and check that no token is missing."""
    scenario = play.scenario
    members = [_read(play.ledger, life, scenario.end_ms) for life in play.lives]
    overrun, conservation = check(play, {m.life.person.identity.name: m.account for m in members})
    return Report(
        seed=scenario.seed,
        months=scenario.months,
        start_ms=scenario.start_ms,
        end_ms=scenario.end_ms,
        zone=scenario.catalogue.zone,
        enforce=scenario.catalogue.enforce,
        plans=tuple(_plans(play, members)),
        archetypes=tuple(_archetypes(members)),
        profiles=tuple(_profiles(play)),
        weeks=tuple(_weeks(play, members)),
        refusals=dict(sorted(Counter(c for m in members for _, c in m.life.refusals).items())),
        acts=_acts(play),
        notices=_notices(play),
        overrun=Overrun(
            overrun,
            sum(member.account.repaid for member in members),
            sum(member.account.overrun > 0 for member in members),
            max((member.longest_overrun_ms for member in members), default=0),
        ),
        advice=tuple(_advice(play)),
        conservation=conservation,
        work=Work(play.events, sum(hub.snapshots for hub in play.hubs), play.passes),
        members=tuple(_member(member) for member in members),
    )


def quantile(values: Sequence[int], percent: int) -> int:
    """Return the smallest of `values` that at least `percent` % of them do not exceed."""
    ordered = sorted(values)
    if not ordered:
        return 0
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


# --- one member ------------------------------------------------------------------------------


def _read(ledger: Ledger, life: Life, end_ms: int) -> _Member:
    """Read a member's statements, one for each period."""
    member = _Member(life)
    member.account.reckoned = sum(run.cost_grains() for run in life.runs)
    for from_ms, to_ms in reversed(ledger.periods(life.member_id)):
        if from_ms >= end_ms:
            # The period after the last one has begun at the end, and has taken what was owed.
            after = ledger.statement(life.member_id, from_ms, to_ms).entries
            member.account.repaid -= sum(e.amount_grains for e in after if e.kind == "overrun")
            continue
        month = _Month(from_ms, to_ms)
        statement = ledger.statement(life.member_id, from_ms, min(to_ms, end_ms))
        for entry in statement.entries:
            amount = entry.amount_grains
            if entry.kind == "allotment":
                month.allotted += amount
            elif entry.kind == "expiry":
                month.lapsed -= amount
            elif entry.kind == "usage":
                member.account.used -= amount
            elif entry.kind == "return":
                member.account.returned += amount
            elif entry.kind == "overrun" and amount < 0:
                member.account.repaid -= amount
            elif entry.kind == "overrun":
                member.account.covered += amount
                lasted_ms = _ran_on_ms(life.runs, entry.at_ms, to_ms)
                member.longest_overrun_ms = max(member.longest_overrun_ms, lasted_ms)
        if to_ms <= end_ms:
            month.rolled = statement.closing_grains
        month.used = sum(_within(run, from_ms, to_ms) * run.rate_mtok_h for run in life.runs)
        month.out_ms = min(
            (at_ms for at_ms in _out_of_tokens(life) if from_ms <= at_ms < to_ms), default=None
        )
        member.months.append(month)
    return member


def _out_of_tokens(life: Life) -> list[int]:
    refused = (at_ms for at_ms, code in life.refusals if code == "balance")
    return sorted([*life.dry, *refused])


def _ran_on_ms(runs: Iterable[Server], dry_ms: int, period_end_ms: int) -> int:
    """Return how long servers that ran at `dry_ms` ran on."""
    ends = (
        run.ended_ms
        for run in runs
        if run.rate_mtok_h and run.ready_ms is not None and run.ended_ms is not None
        and run.ready_ms <= dry_ms < run.ended_ms
    )  # fmt: skip
    return max((min(ended_ms, period_end_ms) - dry_ms for ended_ms in ends), default=0)


def _within(run: Server, from_ms: int, to_ms: int) -> int:
    """Return for how long a run was ready within [`from_ms`, `to_ms`)."""
    if run.ready_ms is None or run.ended_ms is None:
        return 0
    return max(0, min(run.ended_ms, to_ms) - max(run.ready_ms, from_ms))


def _hours_ms(life: Life) -> int:
    return sum(_within(run, 0, 1 << 62) for run in life.runs)


def _member(member: _Member) -> MemberFigures:
    life = member.life
    return MemberFigures(
        name=life.person.identity.name,
        archetype=life.person.archetype.name,
        plan=life.person.plan,
        starts=len(life.starts),
        refused=len(life.refusals),
        refused_balance=sum(code == "balance" for _, code in life.refusals),
        not_tried=life.counts["not_tried"],
        stopped_dry=life.counts["stops"],
        out_of_tokens_ms=next(iter(_out_of_tokens(life)), None),
        hours_ms=_hours_ms(life),
        wanted_grains=sum(want.grains for want in life.wants),
        used_grains=member.account.reckoned,
        allotted_grains=sum(month.allotted for month in member.months),
        lapsed_grains=sum(month.lapsed for month in member.months),
        overrun_grains=member.account.overrun,
    )


# --- tables ----------------------------------------------------------------------------------


def _plans(play: Play, members: list[_Member]) -> Iterable[PlanFigures]:
    for name, plan in play.scenario.catalogue.plans.items():
        held = [member for member in members if member.life.person.plan == name]
        months = [month for member in held for month in member.months]
        if not held:
            continue
        used = [month.used for month in months]
        allotted = sum(month.allotted for month in months)
        yield PlanFigures(
            plan=name,
            members=len(held),
            member_months=len(months),
            allotment_grains=plan.allotment_mtok * GRAINS_PER_MILLITOKEN,
            used_p10_grains=quantile(used, 10),
            used_p50_grains=quantile(used, 50),
            used_p90_grains=quantile(used, 90),
            used_max_grains=max(used),
            used_percent=_percent(sum(used), allotted),
            members_dry=sum(any(m.out_ms is not None for m in h.months) for h in held),
            months_dry=sum(month.out_ms is not None for month in months),
            lapsed_grains=sum(month.lapsed for month in months),
            rolled_over_grains=sum(month.rolled for month in months),
        )


def _archetypes(members: list[_Member]) -> Iterable[ArchetypeFigures]:
    groups: dict[str, list[_Member]] = defaultdict(list)
    for member in members:
        groups[member.life.person.archetype.name].append(member)
    for name, group in groups.items():
        yield ArchetypeFigures(
            archetype=name,
            members=len(group),
            starts=sum(len(member.life.starts) for member in group),
            wanted_grains=sum(w.grains for member in group for w in member.life.wants),
            used_grains=sum(member.account.reckoned for member in group),
            members_dry=sum(any(m.out_ms is not None for m in g.months) for g in group),
        )


def _profiles(play: Play) -> Iterable[ProfileFigures]:
    starts = Counter(profile for life in play.lives for _, profile in life.starts)
    for name, profile in play.scenario.catalogue.profiles.items():
        runs = [run for life in play.lives for run in life.runs if run.profile == name]
        yield ProfileFigures(
            profile=name,
            rate_mtok_h=profile.rate_mtok_h,
            starts=starts[name],
            hours_ms=sum(_within(run, 0, 1 << 62) for run in runs),
            used_grains=sum(run.cost_grains() for run in runs),
        )


def _weeks(play: Play, members: list[_Member]) -> Iterable[WeekFigures]:
    tallies: dict[int, Counter[str]] = defaultdict(Counter)
    for member in members:
        for month in member.months:
            _count_weeks(member.life, month, play.scenario.end_ms, tallies)
    for week, tally in sorted(tallies.items()):
        yield WeekFigures(
            week, tally["starts"], tally["refused"], tally["dry"], tally["stops"], tally["used"]
        )


def _count_weeks(life: Life, month: _Month, end_ms: int, tallies: dict[int, Counter[str]]) -> None:
    last_ms = min(month.to_ms, end_ms)
    for week, from_ms in enumerate(range(month.from_ms, last_ms, WEEK_MS), start=1):
        to_ms = min(from_ms + WEEK_MS, last_ms)
        span = range(from_ms, to_ms)
        tally = tallies[week]
        tally["starts"] += sum(at_ms in span for at_ms, _ in life.starts)
        tally["refused"] += sum(at_ms in span for at_ms, code in life.refusals if code == "balance")
        tally["stops"] += sum(at_ms in span for at_ms in life.dry)
        tally["dry"] += month.out_ms is not None and month.out_ms in span
        tally["used"] += sum(_within(r, from_ms, to_ms) * r.rate_mtok_h for r in life.runs)


def _acts(play: Play) -> dict[str, int]:
    counts: Counter[str] = sum((life.counts for life in play.lives), Counter())
    return {
        "starts_asked": counts["asked"],
        "starts_failed": counts["failed"],
        "took_smaller": counts["smaller"],
        "visits_not_tried": counts["not_tried"],
        "stopped_after_warning": counts["heeded"],
        "stops_ordered": counts["stops"],
    }


def _notices(play: Play) -> dict[str, int]:
    kinds = Counter(
        notice.kind
        for life in play.lives
        for notice in play.ledger.notices(life.member_id, limit=1_000_000)
    )
    return dict(sorted(kinds.items()))


def _advice(play: Play) -> Iterable[Advice]:
    # By simulated months: a calendar month that the simulation only touches would look cheap.
    months = play.scenario.months_ms()
    for name, plan in play.scenario.catalogue.plans.items():
        wanted = [
            sum(want.grains for want in life.wants if from_ms <= want.at_ms < to_ms)
            for life in play.lives
            if life.person.plan == name
            for from_ms, to_ms in months
        ]
        if not wanted:
            continue
        allotment = plan.allotment_mtok * GRAINS_PER_MILLITOKEN
        needed = quantile(wanted, ADVICE_PERCENT)
        yield Advice(
            plan=name,
            allotment_grains=allotment,
            needed_p90_grains=-(-needed // GRAINS_PER_TOKEN) * GRAINS_PER_TOKEN,
            carried_percent=_percent(sum(want <= allotment for want in wanted), len(wanted)),
        )


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
