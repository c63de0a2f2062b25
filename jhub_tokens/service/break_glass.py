"""Break-glass: what the hub keeps for the time without us, and what it tells of afterwards."""

from __future__ import annotations

import structlog

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger.break_glass import BookedAct
from jhub_tokens.service import offer_views
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.members import lacks_scope
from jhub_tokens.shop_window import listed_plans
from jhub_tokens.wire import (
    Amount,
    BreakGlassItem,
    BreakGlassList,
    BreakGlassReceipt,
    BreakGlassReport,
    BreakGlassStart,
    FrozenMember,
    HubCatalogue,
    KnownTeam,
)

__all__ = ["acts", "hub_catalogue", "take"]

log = structlog.get_logger(__name__)


async def hub_catalogue(service: Service) -> HubCatalogue:
    """Return what the hub needs to let starts through while it cannot ask."""
    # In all languages: those who will look at it are not those for whom it is fetched.
    ledger, catalogue = service.books.ledger, service.books.source.current
    frozen = await service.workers.read(ledger.break_glass.frozen)
    return _hub_catalogue(catalogue, frozen, service.clock.now_ms())


def _hub_catalogue(
    catalogue: Catalogue, frozen: tuple[tuple[int, str], ...], now_ms: int
) -> HubCatalogue:
    return HubCatalogue(
        title=catalogue.title,
        others={
            code: {"title": said["title"]}
            for code, said in catalogue.others.items()
            if "title" in said
        },
        welcome=catalogue.welcome,
        announcement=catalogue.announcement,
        plans=listed_plans(catalogue),
        zone=catalogue.zone,
        enforced=catalogue.enforce,
        charged=catalogue.policy.break_glass == "charge",
        default_profiles=list(catalogue.plans[catalogue.default_plan].profiles),
        profiles=[
            offer_views.known_profile(profile, catalogue, now_ms)
            for profile in catalogue.profiles.values()
        ],
        teams=[
            KnownTeam(team=team.name, title=team.title, others=team.others, group=team.group)
            for team in catalogue.teams.values()
        ],
        frozen=[FrozenMember(hub_user_id=user_id, created=created) for user_id, created in frozen],
    )


async def take(service: Service, report: BreakGlassReport) -> BreakGlassReceipt:
    """Book what was let through while the service was away."""
    ledger = service.books.ledger
    taken = await service.workers.write(ledger.break_glass.take, report)
    for act in report.acts:
        log.warning(
            "break-glass: starts were let through while the service was away",
            act=act.act_id,
            hub=report.hub,
            actor=act.actor,
            reason=act.reason,
            starts=sum(start.act_id == act.act_id for start in report.starts),
        )
    service.written(may_stop=True)
    return BreakGlassReceipt(acts=list(taken.acts), starts=list(taken.starts))


async def acts(service: Service, caller: Caller) -> BreakGlassList:
    """Return the latest acts for somebody who may read everything.

    Raises
    ------
    Problem
        If the caller may not.
    """
    if not caller.may_read_all:
        raise lacks_scope("custom:jhub-tokens:read")
    ledger = service.books.ledger
    booked = await service.workers.read(ledger.break_glass.acts)
    return BreakGlassList(acts=[_item(act) for act in booked])


def _item(act: BookedAct) -> BreakGlassItem:
    return BreakGlassItem(
        act_id=act.act_id,
        hub=act.hub,
        opened_at_ms=act.opened_ms,
        until_ms=act.until_ms,
        ended_at_ms=act.ended_ms,
        ended_by=act.ended_by,
        actor=act.actor,
        how="environment" if act.how == "environment" else "command",
        reason=act.reason,
        profiles=None if act.profiles is None else list(act.profiles),
        servers_max=act.servers_max,
        starts=[
            BreakGlassStart(
                session_id=start.session_id,
                member_id=start.member_id,
                name=start.name,
                server_name=start.server_name,
                profile=start.profile,
                rate_mtok_h=start.rate_mtok_h,
                started_at_ms=start.admitted_ms,
                ready_at_ms=start.ready_ms,
                ended_at_ms=start.ended_ms,
                charged=start.charged,
                charge=Amount.of(start.charged_grains),
            )
            for start in act.starts
        ],
    )
