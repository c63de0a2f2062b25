"""Routes of SSH keys: a member's own, and what the hub side lets into a server."""

from __future__ import annotations

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.service import members, ssh_keys
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.api import HubSideHandler, PeopleHandler
from jhub_tokens.service.models import Nothing
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import (
    AuthorizedKeys,
    AuthorizedKeysRequest,
    SshKeyItem,
    SshKeyList,
    SshKeyOrder,
)

__all__ = ["AuthorizedKeysHandler", "SshKeyRemovalHandler", "SshKeysHandler"]


class _KeysHandler(PeopleHandler):
    """About one member's keys; only members themselves say who may come in."""

    async def own_to_change(self, member_id: str) -> MemberRecord:
        """Return the caller's membership, if it is named and the caller may change it."""
        member = await members.readable_member(self.service, self.person, member_id)
        if self.person.may_change_own and member.name == self.person.name:
            own = await members.own_member(self.service, self.person)
            if own.member_id == member.member_id:
                return own
        raise Problem(
            403,
            "forbidden",
            _("Only members themselves add and remove their keys."),
            remedy=_("Use the page Access, or a token with all of your own rights."),
        )


class SshKeysHandler(_KeysHandler):
    """A member's keys."""

    @operation(
        summary="A member's SSH keys",
        access="own",
        answer=SshKeyList,
        errors={404: "No such member"},
    )
    async def get(self, member_id: str) -> SshKeyList:
        """Return the public keys that open a member's servers; `me` is the caller."""
        member = await members.readable_member(self.service, self.person, member_id)
        return await ssh_keys.list_keys(self.service, member)

    @operation(
        summary="Add an SSH key",
        access="own",
        body=SshKeyOrder,
        answer=SshKeyItem,
        status=201,
        errors={
            404: "No membership yet",
            409: "The key or its name is known, or there are too many",
        },
    )
    async def post(self, member_id: str, *, body: SshKeyOrder) -> SshKeyItem:
        """Let a public key open the caller's servers; `member_id` is `me`.

        The same key with the same name has the same answer. Private, weak and damaged keys, and
        anything that is not one line of OpenSSH's format, are refused.
        """
        return await ssh_keys.add_key(self.service, await self.own_to_change(member_id), body)


class SshKeyRemovalHandler(_KeysHandler):
    """Removing one key."""

    @operation(
        summary="Remove an SSH key",
        access="own",
        body=Nothing,
        answer=SshKeyItem,
        errors={404: "No membership yet, or no such key"},
    )
    async def post(self, member_id: str, key_id: str, *, body: Nothing) -> SshKeyItem:
        """Let a key of the caller open nothing any more; doing so twice does nothing."""
        own = await self.own_to_change(member_id)
        return await ssh_keys.remove_key(self.service, own, key_id)


class AuthorizedKeysHandler(HubSideHandler):
    """Which keys open a server."""

    @operation(
        summary="Which SSH keys open a hub user's servers",
        access="hub",
        body=AuthorizedKeysRequest,
        answer=AuthorizedKeys,
    )
    async def post(self, *, body: AuthorizedKeysRequest) -> AuthorizedKeys:
        """Return the lines of an authorized_keys file, with their digest as receipts tell it."""
        return await ssh_keys.authorized_keys(self.service, body.member)
