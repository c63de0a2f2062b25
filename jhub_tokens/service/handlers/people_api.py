"""People's routes: their own books, all members' books, grants and freezes."""

from __future__ import annotations

from jhub_tokens.service import members
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.models import FreezeOrder, MembersQuery, StatementQuery
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import (
    GrantOrder,
    GrantReceipt,
    MemberPage,
    Standing,
    Statement,
)

__all__ = [
    "FreezeHandler",
    "GrantsHandler",
    "MemberHandler",
    "MembersHandler",
    "StatementHandler",
    "UnfreezeHandler",
]

_NO_MEMBER = {404: "No such member"}


class MembersHandler(PeopleHandler):
    """All members."""

    @operation(summary="List members", access="read", query=MembersQuery, answer=MemberPage)
    async def get(self, *, query: MembersQuery) -> MemberPage:
        """Return one page of the members whose names contain `q`, by name."""
        return await members.list_members(self.service, self.person, query)


class MemberHandler(PeopleHandler):
    """One member."""

    @operation(summary="A member's standing", access="own", answer=Standing, errors=_NO_MEMBER)
    async def get(self, member_id: str) -> Standing:
        """Return balance, burn rate and running servers; `me` is the caller."""
        member = await members.readable_member(self.service, self.person, member_id)
        return await members.standing(self.service, member)


class StatementHandler(PeopleHandler):
    """One member's statement."""

    @operation(
        summary="A member's statement",
        access="own",
        query=StatementQuery,
        answer=Statement,
        errors={404: "No such member or period"},
    )
    async def get(self, member_id: str, *, query: StatementQuery) -> Statement:
        """Return every token of one period: opening + lines = closing; `me` is the caller.

        The use of a session has the spans that each grant paid for as its segments, and what the
        member asked about it.

        With `as_of`, of the period that holds that instant up to it: by `basis`, what is true of
        it as far as is known now (`effective`), or what the books held then (`booked`).
        """
        member = await members.readable_member(self.service, self.person, member_id)
        return await members.statement(self.service, member, query)


class GrantsHandler(PeopleHandler):
    """Grants to one member."""

    @operation(
        summary="Grant tokens",
        access="grant",
        body=GrantOrder,
        answer=GrantReceipt,
        status=201,
        errors={
            404: "No such member",
            409: "The key was used for another grant, or there is less to take back",
        },
    )
    async def post(self, member_id: str, *, body: GrantOrder) -> GrantReceipt:
        """Give tokens to a member, or take them back; the same key books once."""
        caller = await self.recheck()
        return await members.book_grant(self.service, caller, member_id, body)


class FreezeHandler(PeopleHandler):
    """Freezing one member."""

    @operation(
        summary="Freeze a membership",
        access="grant",
        body=FreezeOrder,
        answer=Standing,
        errors=_NO_MEMBER,
    )
    async def post(self, member_id: str, *, body: FreezeOrder) -> Standing:
        """Stop the member's servers after a warning, and let none start."""
        caller = await self.recheck()
        return await members.set_frozen(self.service, caller, member_id, body, frozen=True)


class UnfreezeHandler(PeopleHandler):
    """Unfreezing one member."""

    @operation(
        summary="Unfreeze a membership",
        access="grant",
        body=FreezeOrder,
        answer=Standing,
        errors=_NO_MEMBER,
    )
    async def post(self, member_id: str, *, body: FreezeOrder) -> Standing:
        """Let the member start servers again."""
        caller = await self.recheck()
        return await members.set_frozen(self.service, caller, member_id, body, frozen=False)
