"""Members' own pages: the overview and the statement."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.records import GrantView, LedgerError, MemberRecord, WalletView
from jhub_tokens.service import members, servers, views
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.service.live import stamp_text
from jhub_tokens.service.models import NoticesSeen, PeriodQuery
from jhub_tokens.service.operations import query_values
from jhub_tokens.service.question_views import CATEGORY_TITLES
from jhub_tokens.service.statement_views import itemised_statement, sums_by_kind
from jhub_tokens.service.texts import duration_text, instant_text, unit_names
from jhub_tokens.service.usage import period_label
from jhub_tokens.units import GRAINS_PER_MILLITOKEN
from jhub_tokens.wire import NoticeItem, RunningSession, Standing, Statement

__all__ = [
    "ConsoleHandler",
    "ConsoleView",
    "NoticesSeenHandler",
    "PageNotFoundHandler",
    "ServerStopPage",
    "StatementPage",
    "StatementPageView",
    "console_view",
    "statement_view",
]

#: Before so much of a period is over, its pace foretells nothing.
_PACE_AFTER_MS = 86_400_000
#: More notices than these would push the balance out of sight.
_NOTICES_FIRST = 2
_URGENCY = ("danger", "warning", "info")


@dataclass(frozen=True, slots=True)
class GrantLine:
    """A grant as the console shows it."""

    source: str
    granted_grains: int
    remaining_grains: int
    expires: str
    expires_in: str  # empty: never


@dataclass(frozen=True, slots=True)
class ServerLine:
    """A server that runs or is about to, as the console shows it."""

    session: RunningSession
    since: str  # empty while it starts
    payer: str  # the team that pays, empty: the member's own wallet


@dataclass(frozen=True, slots=True)
class Forecast:
    """What comes if things go on as they are."""

    left_grains: int | None  # at the period's end at the present rate; None: nothing burns
    pace_grains: int | None  # what will have been used at the period's mean pace; None: too early
    renewal_grains: int  # what the next period begins with
    next_plan: str  # whose renewal it is


@dataclass(frozen=True, slots=True)
class ConsoleView:
    """What the console shows of one member."""

    standing: Standing
    stamp: str  # changes with each write of what is shown
    first_notices: list[NoticeItem]  # the most urgent, which stand above all else
    more_notices: list[NoticeItem]
    grants: list[GrantLine]
    servers: list[ServerLine]
    at_hand_grains: int  # used and left together: what the bar is full of
    used_permille: int
    period_permille: int
    period_left: str
    started: dict[str, str]  # session id → since when it is metered
    forecast: Forecast
    top_up: str
    units: tuple[str, str, str, str]  # of days, hours, minutes, seconds


@dataclass(frozen=True, slots=True)
class StatementPageView:
    """A statement and the periods there are."""

    statement: Statement
    periods: list[tuple[str, str, bool]]  # day, label, chosen
    label: str
    period: str
    sums: list[tuple[str, Decimal]]  # by kind: with the opening balance, the closing one


async def console_view(service: Service, member: MemberRecord) -> ConsoleView:
    """Read everything that the console shows."""
    ledger, catalogue = service.books.ledger, service.books.catalogue
    return await service.workers.read(_read_console, ledger, catalogue, member.member_id)


async def statement_view(service: Service, member: MemberRecord, period: str) -> StatementPageView:
    """Read a statement and the list of periods.

    Raises
    ------
    Problem
        If the member has no such period.
    """
    ledger, catalogue = service.books.ledger, service.books.catalogue
    return await service.workers.read(_read_statement, ledger, catalogue, member.member_id, period)


def _read_console(ledger: Ledger, catalogue: Catalogue, member_id: str) -> ConsoleView:
    # Before all else: what is written meanwhile is sent once more, not missed.
    stamp = stamp_text(ledger.wallet_stamps([member_id]).get(member_id))
    wallet = ledger.wallet_view(member_id)
    notices = ledger.notices(member_id, unseen_only=True)
    standing = views.standing(wallet, notices, catalogue, ledger.payers(member_id))
    now_ms, zone = wallet.as_of_ms, catalogue.zone

    def line(grant: GrantView) -> GrantLine:
        expires_ms = grant.expires_ms
        return GrantLine(
            grant.source,
            grant.granted_grains,
            grant.remaining_grains,
            _("never") if expires_ms is None else instant_text(expires_ms, now_ms, zone),
            "" if expires_ms is None else duration_text(expires_ms - now_ms),
        )

    def since(session: RunningSession) -> str:
        ready_ms = session.ready_at_ms
        return "" if ready_ms is None else instant_text(ready_ms, now_ms, zone)

    running = [ServerLine(session, since(session), "") for session in standing.sessions]
    running += [
        ServerLine(session, since(session), team.title)
        for team in standing.teams
        for session in team.sessions
    ]
    urgent = sorted(standing.notices, key=lambda notice: _URGENCY.index(notice.severity))
    at_hand = wallet.used_grains + wallet.balance_grains
    length_ms = max(1, wallet.period_end_ms - wallet.period_start_ms)
    return ConsoleView(
        standing=standing,
        stamp=stamp,
        first_notices=urgent[:_NOTICES_FIRST],
        more_notices=urgent[_NOTICES_FIRST:],
        grants=[line(grant) for grant in wallet.grants if grant.remaining_grains > 0],
        servers=running,
        at_hand_grains=at_hand,
        used_permille=wallet.used_grains * 1000 // at_hand if at_hand > 0 else 0,
        period_permille=(now_ms - wallet.period_start_ms) * 1000 // length_ms,
        period_left=duration_text(wallet.period_end_ms - now_ms),
        started={
            session.session_id: instant_text(session.ready_ms, now_ms, zone)
            for session in wallet.sessions
            if session.ready_ms is not None
        },
        forecast=_forecast(wallet),
        top_up=catalogue.top_up,
        units=unit_names(),
    )


def _forecast(wallet: WalletView) -> Forecast:
    elapsed_ms = wallet.as_of_ms - wallet.period_start_ms
    length_ms = wallet.period_end_ms - wallet.period_start_ms
    early = elapsed_ms < _PACE_AFTER_MS
    return Forecast(
        left_grains=wallet.left_at_end_grains if wallet.burn_mtok_h else None,
        pace_grains=None if early else wallet.used_grains * length_ms // elapsed_ms,
        renewal_grains=wallet.next_plan.allotment_mtok * GRAINS_PER_MILLITOKEN,
        next_plan=wallet.next_plan.spoken().title,
    )


def _read_statement(
    ledger: Ledger, catalogue: Catalogue, member_id: str, period: str
) -> StatementPageView:
    from_ms, to_ms = members.period_of(ledger, catalogue, member_id, period)
    statement = itemised_statement(ledger.itemised(member_id, from_ms, to_ms), catalogue)
    zone = catalogue.zone
    periods = [
        (
            views.local_date(start_ms, zone).isoformat(),
            period_label(start_ms, end_ms, zone),
            start_ms == from_ms,
        )
        for start_ms, end_ms in ledger.periods(member_id)
    ]
    return StatementPageView(
        statement=statement,
        periods=periods,
        label=period_label(from_ms, to_ms, zone),
        period=views.local_date(from_ms, zone).isoformat(),
        sums=sums_by_kind(statement),
    )


class ConsoleHandler(PageHandler):
    """Balance, running servers, notices."""

    active = "console"

    async def get(self) -> None:
        """Show the signed-in member's console."""
        member = await members.own_member(self.service, self.person)
        self.show("console.html", view=await console_view(self.service, member), errors={}, kept={})


class ServerStopPage(PageHandler):
    """The stop buttons' target."""

    async def post(self) -> None:
        """Order the server to stop and go back to the console."""
        name = self.field("server_name")
        try:
            await servers.stop_own(self.service, self.person, name, self.field("session_id"))
        except LedgerError as refusal:
            if refusal.code != "not_running":
                raise
            self.redirect_with("", _("This server is not running any more."))
            return
        self.redirect_with("", _("The server is being stopped. Your files are kept."))


class NoticesSeenHandler(PageHandler):
    """Marks notices as seen."""

    async def post(self) -> None:
        """Mark the notices named by the form, of the signed-in member only."""
        if not self.person.may_mark_seen:
            message = _("Only members themselves mark notices as seen.")
            raise Problem(403, "forbidden", message)
        seen = NoticesSeen(notice_ids=self.get_body_arguments("notice_id"))
        member = await members.own_member(self.service, self.person)
        await self.service.workers.write(
            self.ledger.mark_notices_seen, member.member_id, seen.notice_ids
        )
        self.service.live.poke()  # the member's other tabs
        self.redirect(self.service.settings.base_url, status=303)


class StatementPage(PageHandler):
    """Every token of one period."""

    active = "statement"

    async def get(self) -> None:
        """Show the signed-in member's statement."""
        query = PeriodQuery.model_validate(query_values(PeriodQuery, self.request))
        member = await members.own_member(self.service, self.person)
        view = await statement_view(self.service, member, query.period)
        self.show("statement.html", view=view, member=None, categories=CATEGORY_TITLES)


class PageNotFoundHandler(PageHandler):
    """Whatever there is not."""

    async def prepare(self) -> None:
        """Say so to those who are signed in; others sign in first."""
        await super().prepare()
        if self.caller is not None:
            raise Problem(404, "not_found", _("There is no such page."))
