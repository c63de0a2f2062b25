"""What happens when somebody changes a member's plan or share of a team."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import MemberRecord, PlanChange
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import invalid
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.members import may_grant, standing
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, parse_tokens_mtok
from jhub_tokens.wire import PlanChangeItem, PlanChanges, PlanOrder, Standing, TeamCap

__all__ = [
    "cancel",
    "change",
    "changes",
    "follow_rules",
    "revoke",
    "set_cap",
    "start_trial",
]

log = structlog.get_logger(__name__)


async def changes(service: Service, member: MemberRecord) -> PlanChanges:
    """Return a member's changes of plan, the latest first."""
    found = await service.workers.read(service.books.ledger.plan_changes, member.member_id)
    return PlanChanges(changes=[_item(change) for change in found])


async def change(
    service: Service, caller: Caller, member_id: str, order: PlanOrder
) -> PlanChangeItem:
    """Change a member's plan; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not.
    LedgerError
        If the books refuse.
    """
    return await _write(
        service,
        caller,
        "plan changed",
        service.books.ledger.change_plan,
        member_id,
        order.plan,
        when=order.when,
        actor=caller.name,
        reason=order.reason,
    )


async def start_trial(
    service: Service, caller: Caller, member_id: str, plan: str
) -> PlanChangeItem:
    """Let a member try a plan; see `change` for what is raised."""
    ledger = service.books.ledger
    return await _write(
        service, caller, "trial started", ledger.start_trial, member_id, plan, actor=caller.name
    )


async def cancel(service: Service, caller: Caller, member_id: str, reason: str) -> PlanChangeItem:
    """Let a member's plan end with its period; see `change` for what is raised."""
    ledger = service.books.ledger
    options = {"actor": caller.name, "reason": reason}
    return await _write(service, caller, "plan cancelled", ledger.cancel_plan, member_id, **options)


async def revoke(
    service: Service, caller: Caller, member_id: str, change_id: str
) -> PlanChangeItem:
    """Take a scheduled change back; see `change` for what is raised."""
    ledger = service.books.ledger
    return await _write(service, caller, "plan kept", ledger.revoke_change, member_id, change_id)


async def follow_rules(service: Service, caller: Caller, member_id: str) -> Standing:
    """Let the catalogue's rules decide again; see `change` for what is raised."""
    may_grant(caller)
    await service.workers.write(service.books.ledger.follow_rules, member_id)
    log.info("plan follows rules", by=caller.label, member_id=member_id)
    member = await service.workers.read(service.books.ledger.member, member_id)
    assert member is not None
    return await standing(service, member)


async def set_cap(
    service: Service, caller: Caller, team: str, member_id: str, cap: TeamCap
) -> TeamCap:
    """Set what a member may spend of a team; see `change` for what is raised."""
    may_grant(caller)
    cap_grains = None
    if cap.tokens is not None:
        cap_grains = parse_tokens_mtok(cap.tokens) * GRAINS_PER_MILLITOKEN
        if cap_grains < 0:
            raise invalid("tokens", _("A share cannot be negative."))
    await service.workers.write(service.books.ledger.set_team_cap, team, member_id, cap_grains)
    log.info("team cap set", by=caller.label, team=team, member_id=member_id)
    service.written(may_stop=True)
    return cap


async def _write(
    service: Service,
    caller: Caller,
    what: str,
    operation: Callable[..., PlanChange],
    member_id: str,
    *args: Any,
    **options: Any,
) -> PlanChangeItem:
    may_grant(caller)
    done = await service.workers.write(operation, member_id, *args, **options)
    log.info(what, by=caller.label, member_id=member_id, plan=done.plan)
    service.written(may_stop=True)
    return _item(done)


def _item(change: PlanChange) -> PlanChangeItem:
    return PlanChangeItem(
        change_id=change.change_id,
        kind=change.kind,
        plan=change.plan,
        at_ms=change.at_ms,
        created_ms=change.created_ms,
        applied_ms=change.applied_ms,
        revoked_ms=change.revoked_ms,
        actor=change.actor,
        reason=change.reason,
    )
