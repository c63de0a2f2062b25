"""Finance: reports by month and dimension, what is prepaid, trial balances, closed months."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Connection, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.erasure import erase_member, erasures
from jhub_tokens.ledger.exports import Cursor, ExportPage, export_page
from jhub_tokens.ledger.figures import span_figures
from jhub_tokens.ledger.finance_records import (
    BY,
    Basis,
    ClosedMonth,
    Dimension,
    Erasure,
    Figure,
    FinanceReport,
    MoneyRow,
    Prepaid,
    ReportRow,
    TrialBalance,
)
from jhub_tokens.ledger.months import (
    check_month,
    close_month,
    closed_figures,
    closed_months,
    month_to_close,
    standing_figures,
)
from jhub_tokens.ledger.posting import effective_ms
from jhub_tokens.ledger.reads import add_up, exact_sum
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.store import unbound
from jhub_tokens.ledger.wallet import OVERRUN
from jhub_tokens.periods import month_span, next_month

__all__ = ["ALLOTTED", "BOUGHT", "MONTHS_MAX", "FinanceBooks"]

#: Sources of grants that somebody paid for, and those that plans give.
BOUGHT = ("topup", "voucher")
ALLOTTED = ("plan", "rollover", "upgrade", "trial")
#: Months that one report may span.
MONTHS_MAX = 120
_AMOUNTS = (
    "granted", "taken_back", "consumed", "refunded", "returned", "expired", "overrun", "change",
)  # fmt: skip


class FinanceBooks:
    """What accountants do with the books. Reading locks nobody; closing waits for milliseconds.

    Parameters
    ----------
    runner
        Runs operations on the books.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def close_month(self, month: str, *, actor: str, reason: str) -> ClosedMonth:
        """Close a calendar month of the billing zone for good. Idempotent.

        What is learned of it later is posted to the first open month, so that its figures never
        change.

        Raises
        ------
        LedgerError
            ``bad_month``, ``no_reason``, ``month_runs``, ``not_in_order`` or
            ``month_unsettled``; nothing was closed then.
        """
        return close_month(self._runner, month, actor=actor, reason=reason)

    def closed_months(self) -> tuple[ClosedMonth, ...]:
        """Return the closed months, the latest first."""
        return self._runner.read(_closed_months)

    def month_to_close(self) -> str | None:
        """Return the month whose turn it is to be closed, over or not; None: nothing is booked."""
        return self._runner.read(month_to_close)

    def report(
        self, from_month: str, to_month: str, by: Sequence[Dimension] = ("plan",)
    ) -> FinanceReport:
        """Return the report of a span of months, both included.

        Raises
        ------
        LedgerError
            ``bad_month``, ``bad_span`` or ``bad_dimension``.
        """
        return self._runner.read(_report, from_month, to_month, by)

    def span(self, from_month: str, to_month: str) -> tuple[int, int]:
        """Return start and end of a span of months, both included; raises as `report` does."""
        return self._runner.read(_span_of, from_month, to_month)

    def figures(self, month: str) -> tuple[Figure, ...]:
        """Return a month's figures as fine as they are: those written down if it is closed."""
        return self._runner.read(_month_figures, month)

    def prepaid(self, at_ms: int) -> Prepaid:
        """Return what was bought and not spent before `at_ms`, as posted."""
        return self._runner.read(_prepaid_at, at_ms)

    def trial_balance(self, at_ms: int, basis: Basis = "effective") -> TrialBalance:
        """Return every account as of an instant, as booked and not projected."""
        return self._runner.read(_trial_balance, at_ms, basis)

    def export_page(
        self, from_ms: int, to_ms: int, *, names: bool = False, after: Cursor | None = None
    ) -> ExportPage:
        """Return a page of the transactions posted within [`from_ms`, `to_ms`), with entries.

        `after` is the `next` of the page before. Without `names`, nothing in it is personal.
        """
        return self._runner.read(export_page, from_ms, to_ms, names, after)

    def erase_member(
        self, member_id: str, *, actor: str, reason: str, write_off: bool = False
    ) -> Erasure:
        """Erase a member's personal data; the books stay whole. Idempotent.

        With `write_off`, what the member owes is written off: invoices that nobody has paid are
        void, and tokens that a refunded payment asks back stay missing.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``no_reason``, ``servers_run``, ``tokens_bought``, ``fees_run`` or
            ``owes``; nothing was erased then.
        """
        return self._runner.write(
            erase_member, member_id, actor=actor, reason=reason, write_off=write_off
        )

    def erasures(self) -> tuple[Erasure, ...]:
        """Return the erasures, the latest first."""
        return self._runner.read(erasures)


def _closed_months(
    connection: Connection, catalogue: Catalogue, now_ms: int
) -> tuple[ClosedMonth, ...]:
    return closed_months(connection)


# --- months ------------------------------------------------------------------------------------


def _span(
    month: str, zone: str, closed: dict[str, ClosedMonth]
) -> tuple[int, int, ClosedMonth | None]:
    """Return start and end of a month, and its close if there was one."""
    done = closed.get(month)
    if done is not None:
        return done.start_ms, done.end_ms, done
    start_ms, end_ms = month_span(month, zone)
    # The first open month begins where the last closed one ended, whatever the zone is now.
    last_ms = max((item.end_ms for item in closed.values()), default=start_ms)
    last = max(closed, default="")
    if last and next_month(last) == month:
        start_ms = last_ms
    return start_ms, end_ms, None


def _span_of(
    connection: Connection, catalogue: Catalogue, now_ms: int, from_month: str, to_month: str
) -> tuple[int, int]:
    closed = {done.month: done for done in closed_months(connection)}
    months = _months(from_month, to_month)
    return _span(months[0], catalogue.zone, closed)[0], _span(months[-1], catalogue.zone, closed)[1]


def _month_figures(
    connection: Connection, catalogue: Catalogue, now_ms: int, month: str
) -> tuple[Figure, ...]:
    check_month(month)
    unbound(connection)
    closed = {done.month: done for done in closed_months(connection)}
    start_ms, end_ms, done = _span(month, catalogue.zone, closed)
    if done is not None and done.digest:
        return tuple(closed_figures(connection, month))
    return tuple(span_figures(connection, start_ms, end_ms) + standing_figures(connection, end_ms))


def _months(from_month: str, to_month: str) -> list[str]:
    check_month(from_month)
    check_month(to_month)
    months = [from_month]
    while months[-1] < to_month and len(months) <= MONTHS_MAX:
        months.append(next_month(months[-1]))
    if months[-1] != to_month or len(months) > MONTHS_MAX:
        message = _("A report spans 1 to %(most)s months, the first one first.", most=MONTHS_MAX)
        raise LedgerError("bad_span", message, "to")
    return months


# --- the report --------------------------------------------------------------------------------


def _report(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    from_month: str,
    to_month: str,
    by: Sequence[Dimension],
) -> FinanceReport:
    for name in by:
        if name not in BY:
            message = _(
                "There is no dimension “%(name)s”. Choose among %(names)s.",
                name=name[:40],
                names=", ".join(BY),
            )
            raise LedgerError("bad_dimension", message, "by")
    unbound(connection)
    closed = {done.month: done for done in closed_months(connection)}
    rows, money, total = _Rows(by), _Money(by), _Rows(())
    breakage: dict[str, int] = defaultdict(int)
    spans = [
        (month, *_span(month, catalogue.zone, closed)) for month in _months(from_month, to_month)
    ]
    standing: list[Figure] = []
    for month, start_ms, end_ms, done in spans:
        written = done is not None and bool(done.digest)
        figures = (
            closed_figures(connection, month)
            if written
            else span_figures(connection, start_ms, end_ms)
        )
        for figure in figures:
            if figure.section == "entries":
                rows.add(month, figure)
                total.add(month, figure)
                if figure.account == "grant" and figure.kind == "expiry":
                    breakage[figure.source] -= figure.amount
            elif figure.section in ("money", "fees_due"):
                money.add(month, figure)
        standing = [f for f in figures if f.section in ("balance", "vouchers", "prepaid_money")]
        if not written and month == to_month:
            standing = standing_figures(connection, end_ms)
    allotted = sum(breakage[source] for source in ALLOTTED)
    bought = sum(breakage[source] for source in BOUGHT)
    dones = [done for *_, done in spans]
    return FinanceReport(
        spans[0][1],
        spans[-1][2],
        catalogue.zone,
        tuple(by),
        all(done is not None and done.digest for done in dones),
        tuple((done.month, done.digest) for done in dones if done is not None and done.digest),
        rows.rows(),
        next(iter(total.rows()), ReportRow(*("",) * 6, *(0,) * 8)),
        money.rows(),
        allotted,
        bought,
        sum(breakage.values()) - allotted - bought,
        _prepaid(spans[-1][2], standing),
    )


class _Rows:
    """Gathers tokens by some dimensions."""

    def __init__(self, by: Iterable[Dimension]) -> None:
        self.by = frozenset(by)
        self.place = _by_grant if "source" in self.by else _by_account
        self.sums: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, month: str, figure: Figure) -> None:
        """Add a figure about entries."""
        values = {"month": month, **{name: getattr(figure, name) for name in BY[1:]}}
        sums = self.sums[tuple(values[name] if name in self.by else "" for name in BY)]
        for name, amount in self.place(figure):
            sums[name] += amount

    def rows(self) -> tuple[ReportRow, ...]:
        """Return the rows with anything in them, in order."""
        made = []
        for keys, sums in sorted(self.sums.items()):
            amounts = [sums[name] for name in _AMOUNTS]
            granted, taken_back, consumed, refunded, returned, expired, overrun, change = amounts
            assert change == (
                granted - taken_back + overrun - consumed + refunded + returned - expired
            ), "every entry is in one column"
            month, plan, profile, team, cost_centre, source = keys
            if any(amounts):
                made.append(ReportRow(month, plan, profile, team, cost_centre, source, *amounts))
        return tuple(made)


Place = Callable[[Figure], Iterable[tuple[str, int]]]


def _by_account(figure: Figure) -> Iterable[tuple[str, int]]:
    """Tell in which columns the entries of an account go."""
    account, kind, amount = figure.account, figure.kind, figure.amount
    if account == "grant":
        yield "change", amount
    elif account == "expired":
        yield "expired", amount
    elif account == "consumed":
        name = {"refund": "refunded", "return": "returned"}.get(kind)
        yield (name, -amount) if name else ("consumed", amount)
    elif account == f"issued:{OVERRUN}":
        yield "overrun", -amount
    elif kind == "reversal":
        yield "taken_back", amount
    else:
        yield "granted", -amount


def _by_grant(figure: Figure) -> Iterable[tuple[str, int]]:
    """Tell the same from the side of the grants, which know their source."""
    if figure.account != "grant":
        return
    yield "change", figure.amount
    match figure.kind:
        case "usage":
            yield "consumed", -figure.amount
        case "expiry":
            yield "expired", -figure.amount
        case "refund":
            yield "refunded", figure.amount
        case "return":
            yield "returned", figure.amount
        case "overrun":
            yield "overrun", figure.amount
        case "reversal":
            yield "taken_back", -figure.amount
        case _:
            yield "granted", figure.amount


class _Money:
    """Gathers money by month, plan and cost centre, as far as they are asked for."""

    def __init__(self, by: Iterable[Dimension]) -> None:
        self.by = frozenset(by)
        self.sums: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, month: str, figure: Figure) -> None:
        """Add a figure about money."""
        values = (("month", month), ("plan", figure.plan), ("cost_centre", figure.cost_centre))
        keys = tuple(value if name in self.by else "" for name, value in values)
        name = "fees_due" if figure.section == "fees_due" else figure.kind
        self.sums[(*keys, figure.currency)][name] += figure.amount

    def rows(self) -> tuple[MoneyRow, ...]:
        """Return the rows in order."""
        made = []
        for keys, sums in sorted(self.sums.items()):
            disputes = sums["dispute"] + sums["dispute_won"]
            parts = (sums["topup"], sums["fee"], sums["refund"], disputes)
            month, plan, cost_centre, currency = keys
            made.append(
                MoneyRow(month, plan, cost_centre, currency, *parts, sum(parts), sums["fees_due"])
            )
        return tuple(made)


# --- instants ----------------------------------------------------------------------------------


def _prepaid_at(connection: Connection, catalogue: Catalogue, now_ms: int, at_ms: int) -> Prepaid:
    unbound(connection)
    return _prepaid(at_ms, standing_figures(connection, at_ms))


def _prepaid(at_ms: int, standing: Sequence[Figure]) -> Prepaid:
    by_source = tuple((f.source, f.amount) for f in standing if f.section == "balance")
    return Prepaid(
        at_ms,
        by_source,
        sum(amount for source, amount in by_source if source in BOUGHT),
        sum(f.amount for f in standing if f.section == "vouchers"),
        tuple((f.currency, f.amount) for f in standing if f.section == "prepaid_money"),
    )


def _trial_balance(
    connection: Connection, catalogue: Catalogue, now_ms: int, at_ms: int, basis: Basis
) -> TrialBalance:
    unbound(connection)
    t, e = schema.transactions, schema.entries
    # An instant ends the millisecond before it, as months do.
    before = t.c.booked_ms < at_ms if basis == "booked" else effective_ms() < at_ms
    query = (
        select(e.c.account, *exact_sum(e.c.amount_grains))
        .join(t, t.c.transaction_id == e.c.transaction_id)
        .where(before)
        .group_by(e.c.account)
    )
    sums = [(account, add_up(high, low)) for account, high, low in connection.execute(query)]
    assert sum(amount for _account, amount in sums) == 0, "the accounts sum to zero"
    return TrialBalance(at_ms, basis, tuple(sorted(sums)))
