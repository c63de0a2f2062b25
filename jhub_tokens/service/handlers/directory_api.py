"""The route of directory sync."""

from __future__ import annotations

from jhub_tokens.service import directory
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import DirectoryDone, DirectoryOrder

__all__ = ["DirectoryHandler"]


class DirectoryHandler(PeopleHandler):
    """A sign-in provider's directory."""

    body_bytes_max = 64 << 20

    @operation(
        summary="Take in a sign-in provider's directory",
        access="grant",
        body=DirectoryOrder,
        answer=DirectoryDone,
        errors={409: "The list would suspend too many members"},
    )
    async def post(self, *, body: DirectoryOrder) -> DirectoryDone:
        """Suspend members whose accounts are gone, restore those that are back; idempotent."""
        return await directory.sync(self.service, await self.recheck(), body)
