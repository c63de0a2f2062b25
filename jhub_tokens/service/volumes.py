"""What happens when somebody asks for snapshots of a member's volume, or to have one back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.service.auth import GRANT_SCOPE, Caller
from jhub_tokens.service.errors import Problem, Unavailable
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.members import lacks_scope, member_of
from jhub_tokens.service.texts import instant_text
from jhub_tokens.wire import RestoredVolume, VolumeCopies, VolumeCopy
from jhub_tokens.wire.labels import member_digest

if TYPE_CHECKING:
    from jhub_tokens.service.cluster.snapshots import Restored, VolumeSnapshots

__all__ = ["RESTORED_PATH", "copies", "restore"]

log = structlog.get_logger(__name__)

#: Below it each restored volume is mounted, by the name of its claim.
RESTORED_PATH = "/restored"


async def copies(service: Service, member: MemberRecord) -> VolumeCopies:
    """Return a member's snapshots and restored volumes.

    Raises
    ------
    Unavailable
        If the cluster cannot be asked.
    """
    volumes = _volumes(service)
    if volumes is None:
        return VolumeCopies(kept=False)
    from jhub_tokens.service.cluster.api import ApiProblem
    from jhub_tokens.service.cluster.snapshots import RESTORED_MAX

    digest = _digest(member)
    try:
        found, restored = await volumes.of_member(digest), await volumes.restored(digest)
    except ApiProblem as problem:
        raise _away(problem) from problem
    zone, now_ms = service.books.catalogue.zone, service.clock.now_ms()
    return VolumeCopies(
        kept=True,
        snapshots=[
            VolumeCopy(
                snapshot=copy.name,
                taken_at_ms=copy.made_ms,
                taken_at=instant_text(copy.made_ms, now_ms, zone),
                size_bytes=copy.size_bytes,
                ready=copy.ready,
            )
            for copy in found
        ],
        restored=[_item(each) for each in restored],
        restored_max=RESTORED_MAX,
    )


async def restore(
    service: Service, caller: Caller, member: MemberRecord, snapshot: str
) -> RestoredVolume:
    """Make a volume from a snapshot, for the member or an administrator. Idempotent.

    Raises
    ------
    Problem
        If the caller may not, or it cannot be restored.
    """
    if not caller.may_grant:
        own = caller.name == member.name and await member_of(service, caller)
        if not own or own.member_id != member.member_id:
            raise lacks_scope(GRANT_SCOPE)
    volumes = _volumes(service)
    if volumes is None:
        raise Problem(404, "no_snapshots", _("No snapshots are made on this hub."))
    from jhub_tokens.service.cluster.api import ApiProblem
    from jhub_tokens.service.cluster.snapshots import RestoreRefused

    try:
        made = await volumes.restore(_digest(member), snapshot)
    except RestoreRefused as refused:
        raise _refused(refused.code) from None
    except ApiProblem as problem:
        raise _away(problem) from problem
    log.info("volume restored", by=caller.label, member=member.member_id, snapshot=snapshot)
    return _item(made)


def _volumes(service: Service) -> VolumeSnapshots | None:
    return None if service.cluster is None else service.cluster.volumes


def _digest(member: MemberRecord) -> str:
    return member_digest(member.hub_user_id, member.hub_created)


def _item(restored: Restored) -> RestoredVolume:
    return RestoredVolume(
        volume=restored.claim,
        snapshot=restored.snapshot,
        made_at_ms=restored.made_ms,
        path=f"{RESTORED_PATH}/{restored.claim}",
        ready=restored.phase == "Bound",
    )


def _refused(code: str) -> Problem:
    if code == "not_ready":
        return Problem(
            409,
            code,
            _("This snapshot is not ready yet."),
            remedy=_("Try again in some minutes, or choose an earlier one."),
        )
    if code == "too_many":
        return Problem(
            409,
            code,
            _("You have as many restored volumes as there may be."),
            remedy=_("Ask your administrator to remove one that you do not need any more."),
        )
    return Problem(404, code, _("There is no such snapshot of this member's volume."))


def _away(problem: Exception) -> Unavailable:
    log.warning("the cluster cannot be asked for snapshots", reason=str(problem))
    return Unavailable(
        _("Snapshots cannot be looked at right now."),
        remedy=_("Try again in a moment."),
        public=True,
    )
