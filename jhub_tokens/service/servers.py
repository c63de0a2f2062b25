"""What happens when a running server asks about itself, by its own API token."""

from __future__ import annotations

import structlog

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.records import Language, LedgerError, MemberRecord
from jhub_tokens.ledger.servers import ServerState
from jhub_tokens.service import views
from jhub_tokens.service.auth import Caller, ServerOf
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.members import member_of
from jhub_tokens.wire import Amount, KeepOrder, ServerReport, ServerView

__all__ = ["ask_stop", "keep_running", "report", "stop_own"]

log = structlog.get_logger(__name__)

#: Far from any end, a server asks once a minute.
ASK_AGAIN_MS_MAX = 60_000
ASK_AGAIN_MS_MIN = 1_000


async def report(service: Service, caller: Caller, said: ServerReport) -> ServerView:
    """Note what a server reports of itself, and return how it stands.

    Raises
    ------
    Problem
        If the token is no server's, or its owner is no member.
    """
    server = _server_of(caller)
    member = await member_of(service, caller)
    books = service.books.ledger.servers
    active_ms = None
    if said.active_age_ms is not None:
        active_ms = service.clock.now_ms() - said.active_age_ms
    busy = sorted(set(said.busy))
    if await service.workers.write(books.report, member.member_id, server.name, busy, active_ms):
        service.written()
    return await _view(service, member, server)


async def keep_running(service: Service, caller: Caller, order: KeepOrder) -> ServerView:
    """Keep a server running even if idle; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the token is no server's, or its owner is no member.
    LedgerError
        If the plan does not allow it.
    """
    server = _server_of(caller)
    member = await member_of(service, caller)
    until_ms = None if order.for_ms is None else service.clock.now_ms() + order.for_ms
    books = service.books.ledger.servers
    # A server says nothing of languages: whoever reads a refusal in JupyterLab is its owner.
    with i18n.speaking(await _language(service, member)):
        await service.workers.write(books.keep_running, member.member_id, server.name, until_ms)
    log.info("keep running", by=caller.label, server=server.name, until_ms=until_ms)
    return await _view(service, member, server)


async def ask_stop(service: Service, caller: Caller) -> ServerView:
    """Order the caller's own server to stop; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the token is no server's, or its owner is no member.
    LedgerError
        If it does not run.
    """
    server = _server_of(caller)
    member = await member_of(service, caller)
    books = service.books.ledger.servers
    with i18n.speaking(await _language(service, member)):
        await service.workers.write(books.ask_stop, member.member_id, server.name)
    log.info("stop asked from inside", by=caller.label, server=server.name)
    service.written(may_stop=True)
    return await _view(service, member, server)


async def stop_own(service: Service, caller: Caller, server_name: str, session_id: str) -> None:
    """Order a server of the caller to stop, who asks for it from outside.

    Raises
    ------
    Problem
        If the caller is not here in person, or is no member.
    LedgerError
        If it does not run, or is another run of it than the one that was meant.
    """
    if not caller.may_change_own:
        message = _("Only members themselves stop their servers here.")
        raise Problem(403, "forbidden", message)
    member = await member_of(service, caller)
    books = service.books.ledger.servers

    def stop() -> None:
        state = books.state(member.member_id, server_name)
        if state.session is None or state.session.session_id != session_id:
            raise LedgerError("not_running", _("This run of the server is over already."))
        books.ask_stop(member.member_id, server_name)

    await service.workers.write(stop)
    log.info("stop asked from the console", by=caller.label, server=server_name)
    service.written(may_stop=True)


def _server_of(caller: Caller) -> ServerOf:
    server = caller.server
    if server is None:
        raise Problem(
            403,
            "forbidden",
            _("This route answers running servers only."),
            remedy=_("It needs a server's own API token with the scope custom:jhub-tokens:server."),
        )
    return server


async def _language(service: Service, member: MemberRecord) -> Language:
    books = service.books.ledger.member_settings
    return (await service.workers.read(books.of, member.member_id)).language


async def _view(service: Service, member: MemberRecord, server: ServerOf) -> ServerView:
    ledger, catalogue = service.books.ledger, service.books.catalogue

    def read() -> ServerView:
        language = ledger.member_settings.of(member.member_id).language
        with i18n.speaking(language):
            return _read(
                ledger, catalogue, member, server.name, language, service.settings.console_url
            )

    return await service.workers.read(read)


def _read(
    ledger: Ledger,
    catalogue: Catalogue,
    member: MemberRecord,
    server_name: str,
    language: Language,
    console_url: str,
) -> ServerView:
    state = ledger.servers.state(member.member_id, server_name)
    notices = ledger.notices(member.member_id, unseen_only=True)
    session, cut = state.session, state.cut
    return ServerView(
        member=member.name,
        server_name=server_name,
        plan_title=state.plan.spoken().title,
        team=state.team,
        balance=Amount.of(state.balance_grains),
        allotment=Amount.of(state.allotment_grains),
        burn_mtok_h=state.burn_mtok_h,
        runs_out_at_ms=state.dry_ms,
        session=None if session is None else views.running(session, catalogue, state.now_ms),
        ends_at_ms=cut.at_ms if cut else None,
        stop_at_ms=cut.due_ms if cut else None,
        end_reason=cut.reason if cut else None,
        stopping=state.stop_reason,
        warn_before_ms=list(state.warn_before_ms),
        save_before_ms=state.save_before_ms,
        enforced=catalogue.enforce,
        keep_until_ms=state.keep_until_ms,
        keep_latest_ms=state.keep_latest_ms,
        stop_when_done=state.plan.stop_when_done,
        notices=views.notice_items(notices, catalogue, state.now_ms),
        language=language,
        console_url=console_url,
        ask_again_ms=_ask_again_ms(state),
        as_of_ms=state.now_ms,
    )


def _ask_again_ms(state: ServerState) -> int:
    """Return how long a server may wait: an end that comes nearer must reach it in time to save."""
    if state.session is None:
        return 5 * ASK_AGAIN_MS_MIN  # admitted or just started: it will be known soon
    return max(ASK_AGAIN_MS_MIN, min(ASK_AGAIN_MS_MAX, state.save_before_ms // 4))
