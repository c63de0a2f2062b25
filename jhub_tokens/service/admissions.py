"""What happens when the hub side asks: offers, admissions, snapshots, stop orders.

Each function here is one visit to the books by a worker thread, or composes such visits.
"""

from __future__ import annotations

import structlog

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.records import NotAdmitted, Payer
from jhub_tokens.service import views
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.refusals import STATUS_OF_REFUSAL, Situation, explain
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

__all__ = ["admit", "offers", "overview", "situation_of", "standing_of", "stops", "take_snapshot"]

log = structlog.get_logger(__name__)


def situation_of(
    ledger: Ledger, catalogue: Catalogue, member_id: str, payer: Payer | None = None
) -> Situation:
    """Read a wallet that a member may use, and what each profile would do to it."""
    team = payer.team if payer else None
    return Situation(
        catalogue=catalogue,
        wallet=payer.wallet if payer else ledger.wallet_view(member_id),
        prospects=ledger.prospects(member_id, list(catalogue.profiles.values()), team),
        payer=team,
    )


def _paying_situation(
    ledger: Ledger, catalogue: Catalogue, member_id: str, team: str | None
) -> Situation:
    """Read the situation of the wallet that was to pay; of the member's own if there is none."""
    payers = {payer.team: payer for payer in ledger.payers(member_id)} if team else {}
    return situation_of(ledger, catalogue, member_id, payers.get(team or ""))


def standing_of(ledger: Ledger, catalogue: Catalogue, member_id: str) -> Standing:
    """Read a member's standing with the notices not seen yet."""
    notices = ledger.notices(member_id, unseen_only=True)
    return views.standing(
        ledger.wallet_view(member_id), notices, catalogue, ledger.payers(member_id)
    )


async def overview(service: Service, identity: Identity) -> Standing:
    """Return the standing of a hub user, who becomes a member if not one yet."""
    ledger, catalogue = service.books.ledger, service.books.catalogue
    member = await service.workers.write(ledger.ensure_member, identity)
    return await service.workers.read(standing_of, ledger, catalogue, member.member_id)


async def offers(service: Service, identity: Identity) -> Offers:
    """Return what a hub user may start now, who becomes a member if not one yet."""
    ledger, catalogue = service.books.ledger, service.books.catalogue
    member = await service.workers.write(ledger.ensure_member, identity)

    def read() -> Offers:
        notices = ledger.notices(member.member_id, unseen_only=True)
        payers = ledger.payers(member.member_id)
        situations = [
            situation_of(ledger, catalogue, member.member_id, payer) for payer in (None, *payers)
        ]
        return views.offers(situations, notices, payers)

    return await service.workers.read(read)


async def admit(service: Service, request: AdmitRequest) -> Admission:
    """Admit a start.

    Raises
    ------
    Problem
        If the start is refused, with the whole refusal.
    """
    ledger, catalogue = service.books.ledger, service.books.catalogue
    answer = await service.workers.write(_admit, ledger, catalogue, request)
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
    service.metrics.admissions.labels(answer.profile).inc()
    log.info("start admitted", **who, session=answer.session_id, profile=answer.profile)
    service.written()
    return answer


def _admit(ledger: Ledger, catalogue: Catalogue, request: AdmitRequest) -> Admission | Refusal:
    member = ledger.ensure_member(request.member)
    wanted = request.profile
    payer = request.payer or None
    if not wanted:
        situation = _paying_situation(ledger, catalogue, member.member_id, payer)
        if len(situation.plan.profiles) != 1:
            return explain("no_profile", situation, None)
        wanted = situation.plan.profiles[0]
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
        situation = _paying_situation(ledger, catalogue, member.member_id, payer)
        return explain(refused.code, situation, profile, refused=refused, asked=wanted)
    situation = _paying_situation(ledger, catalogue, member.member_id, payer)
    return views.admission(session, shadow, situation)


async def take_snapshot(service: Service, snapshot: Snapshot) -> SnapshotReceipt:
    """Book what the hub sees; return the receipt with the standing stop orders."""
    ledger = service.books.ledger

    def work() -> SnapshotReceipt:
        for failed in snapshot.failed_stops:
            ledger.record_stop_failure(failed.order_id, failed.detail)
        report = ledger.observe(snapshot.counted_to(service.clock.now_ms()))
        return views.receipt(report, ledger.standing_stops(), service.clock.now_ms())

    receipt = await service.workers.write(work)
    service.metrics.snapshots.inc()
    service.metrics.snapshot_at.set(service.clock.now_ms() / 1000)
    service.written(may_stop=True)
    return receipt


async def stops(service: Service, known: list[str], wait_ms: int) -> StopOrders:
    """Return the standing stop orders, once one is not `known` or after `wait_ms`."""
    ledger = service.books.ledger
    orders = await service.stops.wait(
        lambda: service.workers.read(ledger.standing_stops), frozenset(known), wait_ms
    )
    return StopOrders(stops=[views.stop_order(order) for order in orders])
