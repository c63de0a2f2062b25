"""Routes of snapshots of members' volumes."""

from __future__ import annotations

from jhub_tokens.service import members, volumes
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import RestoredVolume, VolumeCopies

__all__ = ["RestoreHandler", "SnapshotsHandler"]


class SnapshotsHandler(PeopleHandler):
    """Snapshots of one member's volume."""

    @operation(
        summary="Snapshots of a member's volume",
        access="own",
        answer=VolumeCopies,
        errors={404: "No such member"},
    )
    async def get(self, member_id: str) -> VolumeCopies:
        """Return snapshots and what was restored from them; `me` is the caller."""
        member = await members.readable_member(self.service, self.person, member_id)
        return await volumes.copies(self.service, member)


class RestoreHandler(PeopleHandler):
    """Restoring one."""

    @operation(
        summary="Restore a snapshot as a volume of its own",
        access="own",
        answer=RestoredVolume,
        status=201,
        errors={404: "No such member or snapshot", 409: "Not ready, or too many restored"},
    )
    async def post(self, member_id: str, snapshot: str) -> RestoredVolume:
        """Make a new volume; the workspace stays as it is. Asked again, it is the same volume."""
        caller = await self.recheck()
        member = await members.readable_member(self.service, caller, member_id)
        return await volumes.restore(self.service, caller, member, snapshot)
