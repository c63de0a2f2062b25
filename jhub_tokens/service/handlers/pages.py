"""Members' own pages: the console and the statement."""

from __future__ import annotations

from dataclasses import dataclass

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.records import GrantView, MemberRecord
from jhub_tokens.service import members, views
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.service.models import NoticesSeen, StatementQuery
from jhub_tokens.service.operations import query_values
from jhub_tokens.service.texts import day_text, duration_text, instant_text
from jhub_tokens.wire import Standing, Statement

__all__ = [
    "ConsoleHandler",
    "ConsoleView",
    "NoticesSeenHandler",
    "PageNotFoundHandler",
    "StatementPage",
    "StatementPageView",
    "console_view",
    "statement_view",
]


@dataclass(frozen=True, slots=True)
class GrantLine:
    """A grant as the console shows it."""

    source: str
    granted_grains: int
    remaining_grains: int
    expires: str


@dataclass(frozen=True, slots=True)
class ConsoleView:
    """What the console shows of one member."""

    standing: Standing
    grants: list[GrantLine]
    at_hand_grains: int  # used and left together: what the bar is full of
    used_permille: int
    period_permille: int
    period_left: str
    started: dict[str, str]  # session id → since when it is metered
    top_up: str


@dataclass(frozen=True, slots=True)
class StatementPageView:
    """A statement and the periods there are."""

    statement: Statement
    periods: list[tuple[str, str, bool]]  # day, label, chosen


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
    wallet = ledger.wallet_view(member_id)
    standing = views.standing(wallet, ledger.notices(member_id, unseen_only=True), catalogue)
    now_ms, zone = wallet.as_of_ms, catalogue.zone

    def line(grant: GrantView) -> GrantLine:
        expires = instant_text(grant.expires_ms, now_ms, zone) if grant.expires_ms else "never"
        return GrantLine(grant.source, grant.granted_grains, grant.remaining_grains, expires)

    at_hand = wallet.used_grains + wallet.balance_grains
    length_ms = max(1, wallet.period_end_ms - wallet.period_start_ms)
    return ConsoleView(
        standing=standing,
        grants=[line(grant) for grant in wallet.grants if grant.remaining_grains > 0],
        at_hand_grains=at_hand,
        used_permille=wallet.used_grains * 1000 // at_hand if at_hand > 0 else 0,
        period_permille=(now_ms - wallet.period_start_ms) * 1000 // length_ms,
        period_left=duration_text(wallet.period_end_ms - now_ms),
        started={
            session.session_id: instant_text(session.ready_ms, now_ms, zone)
            for session in wallet.sessions
            if session.ready_ms is not None
        },
        top_up=catalogue.top_up,
    )


def _read_statement(
    ledger: Ledger, catalogue: Catalogue, member_id: str, period: str
) -> StatementPageView:
    from_ms, to_ms = members.period_of(ledger, catalogue, member_id, period)
    statement = views.statement(ledger.statement(member_id, from_ms, to_ms), catalogue)
    periods = []
    for start_ms, end_ms in ledger.periods(member_id):
        day = views.local_date(start_ms, catalogue.zone).isoformat()
        # The last day is the one before the period's end, which is exclusive.
        label = " – ".join(
            day_text(at_ms, start_ms - 2 * 86_400_000, catalogue.zone)
            for at_ms in (start_ms, end_ms - 1)
        )
        periods.append((day, label, start_ms == from_ms))
    return StatementPageView(statement=statement, periods=periods)


class ConsoleHandler(PageHandler):
    """Balance, running servers, notices."""

    active = "console"

    async def get(self) -> None:
        """Show the signed-in member's console."""
        member = await members.own_member(self.service, self.person)
        self.show("console.html", view=await console_view(self.service, member), errors={}, kept={})


class NoticesSeenHandler(PageHandler):
    """Marks notices as seen."""

    async def post(self) -> None:
        """Mark the notices named by the form, of the signed-in member only."""
        if not self.person.may_mark_seen:
            raise Problem(403, "forbidden", "Only members themselves mark notices as seen.")
        seen = NoticesSeen(notice_ids=self.get_body_arguments("notice_id"))
        member = await members.own_member(self.service, self.person)
        await self.service.workers.write(
            self.ledger.mark_notices_seen, member.member_id, seen.notice_ids
        )
        self.redirect(self.service.settings.base_url, status=303)


class StatementPage(PageHandler):
    """Every token of one period."""

    active = "statement"

    async def get(self) -> None:
        """Show the signed-in member's statement."""
        query = StatementQuery.model_validate(query_values(StatementQuery, self.request))
        member = await members.own_member(self.service, self.person)
        view = await statement_view(self.service, member, query.period)
        self.show("statement.html", view=view, member=None)


class PageNotFoundHandler(PageHandler):
    """Whatever there is not."""

    async def prepare(self) -> None:
        """Say so to those who are signed in; others sign in first."""
        await super().prepare()
        if self.caller is not None:
            raise Problem(404, "not_found", "There is no such page.")
