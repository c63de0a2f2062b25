"""What happens when the hub side asks: offers, admissions, snapshots, stop orders.

Each function here is one visit to the books by a worker thread, or composes such visits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import structlog

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.records import (
    MemberRecord,
    NotAdmitted,
    ObserveReport,
    Payer,
    StopOrderRecord,
)
from jhub_tokens.service import offer_views, views
from jhub_tokens.service.access import with_access
from jhub_tokens.service.cluster.availability import Board
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.refusals import STATUS_OF_REFUSAL, Situation, explain
from jhub_tokens.service.zones import showing_in
from jhub_tokens.wire import (
    Admission,
    AdmitRequest,
    Identity,
    Offers,
    Refusal,
    Snapshot,
    SnapshotReceipt,
    Standing,
    StopOrders,
)
from jhub_tokens.wire.labels import member_digest

__all__ = ["admit", "offers", "overview", "situation_of", "standing_of", "stops", "take_snapshot"]

log = structlog.get_logger(__name__)


def situation_of(
    ledger: Ledger,
    catalogue: Catalogue,
    member_id: str,
    payer: Payer | None = None,
    board: Board | None = None,
) -> Situation:
    """Read a wallet that a member may use, and what each profile would do to it."""
    team = payer.team if payer else None
    return Situation(
        catalogue=catalogue,
        wallet=payer.wallet if payer else ledger.wallet_view(member_id),
        prospects=ledger.prospects(member_id, list(catalogue.profiles.values()), team),
        payer=team,
        board=board,
    )


def _paying_situation(
    ledger: Ledger, catalogue: Catalogue, member_id: str, team: str | None, board: Board | None
) -> Situation:
    """Read the situation of the wallet that was to pay; of the member's own if there is none."""
    payers = {payer.team: payer for payer in ledger.payers(member_id)} if team else {}
    return situation_of(ledger, catalogue, member_id, payers.get(team or ""), board)


def standing_of(
    ledger: Ledger, catalogue: Catalogue, member_id: str, language: str | None = None
) -> Standing:
    """Read a member's standing with the notices not seen yet, in the language they have chosen."""
    notices = ledger.notices(member_id, unseen_only=True)
    with i18n.speaking(language):
        return views.standing(
            ledger.wallet_view(member_id), notices, catalogue, ledger.payers(member_id), language
        )


async def overview(service: Service, identity: Identity) -> Standing:
    """Return the standing of a hub user, who becomes a member if not one yet."""
    ledger, catalogue = service.books.ledger, service.books.catalogue
    member = await service.workers.write(ledger.ensure_member, identity)

    def read() -> Standing:
        with _as_chosen(ledger, member) as language:
            standing = standing_of(ledger, catalogue, member.member_id, language)
        return with_access(standing, service.settings)

    return await service.workers.read(read)


async def offers(service: Service, identity: Identity) -> Offers:
    """Return what a hub user may start now, who becomes a member if not one yet."""
    ledger, catalogue = service.books.ledger, service.books.catalogue
    member = await service.workers.write(ledger.ensure_member, identity)
    board = _board(service, catalogue)

    def read() -> Offers:
        notices = ledger.notices(member.member_id, unseen_only=True)
        payers = ledger.payers(member.member_id)
        situations = [
            situation_of(ledger, catalogue, member.member_id, payer, board)
            for payer in (None, *payers)
        ]
        with _as_chosen(ledger, member) as language:
            found = offer_views.offers(situations, notices, payers, language)
        standing = with_access(found.standing, service.settings)
        return found.model_copy(update={"standing": standing})

    return await service.workers.read(read)


@contextmanager
def _as_chosen(ledger: Ledger, member: MemberRecord) -> Iterator[str | None]:
    """Speak a member's language and tell instants in their zone, where they have chosen one.

    The language that they have chosen is given; None: none.
    """
    language, zone = ledger.member_settings.speech_of(member.name, member.hub_created)
    with i18n.speaking(language), showing_in(zone):
        yield language


async def admit(service: Service, request: AdmitRequest) -> Admission:
    """Admit a start.

    Raises
    ------
    Problem
        If the start is refused, with the whole refusal.
    """
    ledger, catalogue = service.books.ledger, service.books.catalogue
    board = _board(service, catalogue)
    answer = await service.workers.write(_admit, ledger, catalogue, request, board)
    who = {"member": request.member.name, "server": request.server_name}
    if isinstance(answer, Refusal):
        service.metrics.refusals.labels(answer.code).inc()
        log.info("start refused", **who, code=answer.code, profile=request.profile[:60])
        raise Problem(
            STATUS_OF_REFUSAL[answer.code],
            answer.code,
            answer.message,
            remedy=answer.remedy,
            refusal=answer,
        )
    if service.cluster is not None and service.cluster.volumes is not None:
        digest = member_digest(request.member.hub_user_id, request.member.created)
        restored = await service.cluster.volumes.restored_claims(digest)
        answer = answer.model_copy(update={"restored_claims": restored})
    service.metrics.admissions.labels(answer.profile).inc()
    log.info("start admitted", **who, session=answer.session_id, profile=answer.profile)
    service.written()
    return answer


def _board(service: Service, catalogue: Catalogue) -> Board | None:
    """Return what is free in the cluster now, None if that is not known."""
    return None if service.cluster is None else service.cluster.board(catalogue)


def _admit(
    ledger: Ledger, catalogue: Catalogue, request: AdmitRequest, board: Board | None
) -> Admission | Refusal:
    member = ledger.ensure_member(request.member)
    with _as_chosen(ledger, member):
        return _admit_member(ledger, catalogue, request, member, board)


def _admit_member(
    ledger: Ledger,
    catalogue: Catalogue,
    request: AdmitRequest,
    member: MemberRecord,
    board: Board | None,
) -> Admission | Refusal:
    wanted = request.profile
    payer = request.payer or None
    if not wanted:
        situation = _paying_situation(ledger, catalogue, member.member_id, payer, board)
        # Who does not choose wants to work.
        files = {name for name, profile in catalogue.profiles.items() if profile.files}
        choices = [name for name in situation.plan.profiles if name not in files]
        if len(choices) != 1:
            return explain("no_profile", situation, None)
        wanted = choices[0]
    profile = catalogue.profiles.get(wanted)
    try:
        session, shadow = ledger.admit(
            member.member_id,
            server_name=request.server_name,
            start_key=request.start_key,
            profile=wanted,
            image=request.image,
            gpu_model=request.gpu_model,
            payer=payer,
            max_run_ms=request.max_run_ms,
            hub=request.hub,
        )
    except NotAdmitted as refused:
        situation = _paying_situation(ledger, catalogue, member.member_id, payer, board)
        return explain(refused.code, situation, profile, refused=refused, asked=wanted)
    situation = _paying_situation(ledger, catalogue, member.member_id, payer, board)
    own = ledger.wallet_view(member.member_id).plan if situation.payer else situation.plan
    keys = ledger.ssh_keys.lines([member.member_id])[member.member_id]
    return offer_views.admission(session, shadow, situation, own, keys)


async def take_snapshot(service: Service, snapshot: Snapshot) -> SnapshotReceipt:
    """Book what the hub sees; return the receipt with the standing stop orders."""
    ledger = service.books.ledger

    def work() -> SnapshotReceipt:
        for failed in snapshot.failed_stops:
            ledger.record_stop_failure(failed.order_id, failed.detail)
        report = ledger.observe(snapshot.counted_to(service.clock.now_ms()))
        keys = ledger.ssh_keys.lines({session.member_id for session in report.sessions})
        standing = ledger.standing_stops()
        _measure_stops(service, report, standing)
        return views.receipt(report, standing, keys, service.clock.now_ms())

    receipt = await service.workers.write(work)
    service.metrics.snapshots.inc()
    service.metrics.snapshot_at.set(service.clock.now_ms() / 1000)
    service.written(may_stop=True)
    return receipt


def _measure_stops(
    service: Service, report: ObserveReport, standing: Iterable[StopOrderRecord]
) -> None:
    """Measure the stops that a snapshot told of; tell of those that came late."""
    for ended in report.stops_ended:
        service.metrics.stop_seconds.labels(ended.reason).observe(ended.took_ms / 1000)
        if ended.late_ms:
            service.metrics.late_stops.labels(ended.reason).inc()
            log.warning("a server was stopped late", **asdict(ended))
    now_ms = service.clock.now_ms()
    overdue = sum(now_ms - order.issued_ms > order.session.stop_time_ms for order in standing)
    service.metrics.stops_overdue.set(overdue)


async def stops(service: Service, known: list[str], wait_ms: int) -> StopOrders:
    """Return the standing stop orders, once one is not `known` or after `wait_ms`."""
    ledger = service.books.ledger
    orders = await service.stops.wait(
        lambda: service.workers.read(ledger.standing_stops), frozenset(known), wait_ms
    )
    return StopOrders(stops=[views.stop_order(order) for order in orders])
