"""What happens when people ask: their books, the members' list, grants and freezes."""

from __future__ import annotations

from urllib.parse import quote

import structlog
from tornado.web import HTTPError

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.service import views
from jhub_tokens.service.access import with_access
from jhub_tokens.service.admissions import standing_of
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import Problem, invalid
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.instants import read_instant_ms
from jhub_tokens.service.models import FreezeOrder, MembersQuery, StatementQuery
from jhub_tokens.service.statement_views import itemised_statement
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, parse_tokens_mtok
from jhub_tokens.wire import Amount, GrantOrder, GrantReceipt, MemberPage, Standing, Statement

__all__ = [
    "book_grant",
    "lacks_scope",
    "list_members",
    "may_grant",
    "member_of",
    "order_stop",
    "own_member",
    "period_of",
    "readable_member",
    "set_frozen",
    "standing",
    "statement",
]

log = structlog.get_logger(__name__)

PAGE_SIZE = 50


async def own_member(service: Service, caller: Caller) -> MemberRecord:
    """Return the caller's own membership.

    Raises
    ------
    Problem
        If the caller may not read it or has none yet.
    """
    if caller.kind != "user":
        raise Problem(403, "forbidden", _("A service has no membership of its own."))
    if not caller.may_read_own:
        raise lacks_scope(f"custom:jhub-tokens:read!user={caller.name}")
    return await member_of(service, caller)


async def member_of(service: Service, caller: Caller) -> MemberRecord:
    """Return the membership of the caller, whose right to it has been checked.

    Raises
    ------
    Problem
        If there is none yet.
    """
    ledger = service.books.ledger
    created = caller.created or await _created(service, caller.name)
    member = await service.workers.read(ledger.member_by_name, caller.name, created)
    if member is None:
        raise Problem(
            404,
            "no_membership",
            _("Your membership is still being set up."),
            remedy=_("Reload in a few seconds. If this stays, sign out of the hub and in again."),
        )
    return member


async def readable_member(service: Service, caller: Caller, member_id: str) -> MemberRecord:
    """Return a member by id (``me`` for the caller), if the caller may read the books.

    Raises
    ------
    Problem
        404 for those who may read all and name nobody, 403 for everybody else, so that ids
        cannot be told from guesses.
    """
    if member_id == "me":
        return await own_member(service, caller)
    ledger = service.books.ledger
    member = await service.workers.read(ledger.member, member_id)
    if caller.may_read_all:
        if member is None:
            raise _no_member()
        return member
    if member is not None and caller.may_read_own and member.name == caller.name:
        own = await own_member(service, caller)
        if own.member_id == member.member_id:
            return member
    if member is not None and caller.may_read_member(member.name):
        # A scope names a hub user of today, who may not be the one of these books.
        created = await _created(service, member.name)
        if created == member.hub_created:
            return member
    raise lacks_scope("custom:jhub-tokens:read")


async def standing(service: Service, member: MemberRecord) -> Standing:
    """Return a member's standing."""
    ledger, catalogue = service.books.ledger, service.books.catalogue
    found = await service.workers.read(standing_of, ledger, catalogue, member.member_id)
    return with_access(found, service.settings)


async def statement(service: Service, member: MemberRecord, query: StatementQuery) -> Statement:
    """Return a member's statement of a period, or of one up to an instant.

    Raises
    ------
    Problem
        If the member has no such period, or the instant is none.
    LedgerError
        If the instant is yet to come.
    """
    ledger, catalogue = service.books.ledger, service.books.catalogue
    period = query.period

    def read() -> Statement:
        if query.as_of:
            at_ms = read_instant_ms(query.as_of, catalogue.zone)
            view = ledger.statement_as_of(member.member_id, at_ms, query.basis)
            return views.statement(view, catalogue, query.basis)
        from_ms, to_ms = period_of(ledger, catalogue, member.member_id, period)
        return itemised_statement(ledger.itemised(member.member_id, from_ms, to_ms), catalogue)

    return await service.workers.read(read)


def period_of(ledger: Ledger, catalogue: Catalogue, member_id: str, period: str) -> tuple[int, int]:
    """Return start and end of a member's period, by the day on which it began.

    Raises
    ------
    Problem
        If there is no such period.
    """
    periods = ledger.periods(member_id)
    if period == "current" and periods:
        return periods[0]
    for start_ms, end_ms in periods:
        if views.local_date(start_ms, catalogue.zone).isoformat() == period:
            return start_ms, end_ms
    days = ", ".join(views.local_date(start, catalogue.zone).isoformat() for start, _end in periods)
    raise Problem(
        404,
        "no_period",
        _("No period of this member began on %(day)s.", day=period),
        field="period",
        remedy=_("Periods began on: %(days)s.", days=days) if days else "",
    )


async def list_members(service: Service, caller: Caller, query: MembersQuery) -> MemberPage:
    """Return one page of all members.

    Raises
    ------
    Problem
        If the caller may not read all.
    """
    if not caller.may_read_all:
        raise lacks_scope("custom:jhub-tokens:read")
    ledger, catalogue = service.books.ledger, service.books.catalogue
    rows, total = await service.workers.read(
        ledger.members,
        search=query.q,
        state=query.state,
        page=query.page,
        page_size=query.page_size,
    )
    return views.member_page(
        rows,
        total=total,
        page=query.page,
        page_size=query.page_size,
        now_ms=service.clock.now_ms(),
        catalogue=catalogue,
    )


async def book_grant(
    service: Service, caller: Caller, member_id: str, order: GrantOrder
) -> GrantReceipt:
    """Book a grant on the caller's order; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not grant, or the amount makes no sense.
    LedgerError
        If the books refuse.
    """
    may_grant(caller)
    amount_grains = parse_tokens_mtok(order.tokens) * GRAINS_PER_MILLITOKEN
    if amount_grains == 0:
        raise invalid("tokens", _("The amount is zero: nothing would be booked."))
    if order.kind == "topup" and amount_grains < 0:
        message = _("A top-up is positive. To take tokens back, book a correction.")
        raise invalid("tokens", message)
    ledger = service.books.ledger
    booked = await service.workers.write(
        ledger.grant,
        member_id,
        amount_grains=amount_grains,
        kind=order.kind,
        actor=caller.name,
        reason=order.reason,
        caller=caller.label,
        key=order.key,
    )
    service.metrics.grants.labels(order.kind).inc()
    log.info("granted", by=caller.label, member_id=member_id, grains=booked.amount_grains)
    service.written(may_stop=amount_grains < 0)
    return GrantReceipt(
        transaction_id=booked.transaction_id,
        amount=Amount.of(booked.amount_grains),
        balance=Amount.of(booked.balance_grains),
    )


async def set_frozen(
    service: Service, caller: Caller, member_id: str, order: FreezeOrder, *, frozen: bool
) -> Standing:
    """Freeze or unfreeze a membership; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not.
    """
    may_grant(caller)
    ledger = service.books.ledger
    member = await service.workers.read(ledger.member, member_id)
    if member is None:
        raise _no_member()
    member = await service.workers.write(
        ledger.set_frozen, member_id, frozen=frozen, actor=caller.name, reason=order.reason
    )
    log.info("frozen" if frozen else "unfrozen", by=caller.label, member_id=member_id)
    service.written(may_stop=True)
    return await standing(service, member)


async def order_stop(service: Service, caller: Caller, session_id: str) -> None:
    """Order any member's server to stop; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not.
    LedgerError
        If there is no such server, or it does not run.
    """
    may_grant(caller)
    servers = service.books.ledger.servers
    await service.workers.write(servers.order_stop, session_id, actor=caller.name)
    log.info("stop ordered", by=caller.label, session_id=session_id)
    service.written(may_stop=True)


def may_grant(caller: Caller) -> None:
    """Make sure that a caller may change members' money and plans.

    Raises
    ------
    Problem
        403 otherwise, with the scope that is missing.
    """
    if not caller.may_grant:
        raise lacks_scope("custom:jhub-tokens:grant")


async def _created(service: Service, name: str) -> str:
    """Ask the hub when its user `name` was created: narrow tokens do not tell.

    Asked each time: a name may belong to another user a moment later.
    """
    auth = service.hub_auth
    try:
        # The client's own request method knows the hub's address, token and certificates.
        user = await auth._api_request(
            "GET", f"{auth.api_url}/users/{quote(name, safe='')}", allow_403=True
        )
    except HTTPError:
        user = None
    if not user or not user.get("created"):
        raise Problem(
            403,
            "forbidden",
            _("The hub does not tell which member this is."),
            remedy=_(
                "Use a token that also has the scope read:users!user, or let the operator give "
                "this service the scope read:users."
            ),
        )
    return str(user["created"])


def lacks_scope(scope: str) -> Problem:
    """Return the refusal of somebody who lacks `scope`."""
    return Problem(
        403,
        "forbidden",
        _("You may not do this."),
        remedy=_("It needs the scope %(scope)s.", scope=scope),
    )


def _no_member() -> Problem:
    return Problem(404, "unknown_member", _("There is no such member."))
