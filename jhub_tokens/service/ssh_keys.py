"""What happens when members add and remove SSH keys, and when the hub side asks for them."""

from __future__ import annotations

import structlog

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.ledger.ssh_keys import SshKey
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.ssh_keys import BadKey, keys_digest, read_public_key
from jhub_tokens.wire import AuthorizedKeys, Identity, SshKeyItem, SshKeyList, SshKeyOrder

__all__ = ["add_key", "authorized_keys", "list_keys", "remove_key"]

log = structlog.get_logger(__name__)


async def list_keys(service: Service, member: MemberRecord) -> SshKeyList:
    """Return a member's keys that hold."""
    books = service.books.ledger.ssh_keys
    held = await service.workers.read(books.of, member.member_id)
    return SshKeyList(keys=[_item(key) for key in held])


async def add_key(service: Service, member: MemberRecord, order: SshKeyOrder) -> SshKeyItem:
    """Let a key open the member's servers, those that run included.

    Raises
    ------
    Problem
        If it is no key that is accepted; the message never quotes it.
    LedgerError
        If the books refuse.
    """
    try:
        key = read_public_key(order.key)
    except BadKey as error:
        code = "private_key" if error.secret else "bad_key"
        raise Problem(422, code, error.message, field="key", remedy=error.remedy) from None
    name = " ".join((order.name or key.comment or key.kind).split())[:100]
    if not name.isprintable():
        raise Problem(
            422,
            "bad_name",
            _("The name holds characters that cannot be shown."),
            field="name",
            remedy=_("Write a name such as: laptop"),
        )
    books = service.books.ledger.ssh_keys
    added = await service.workers.write(books.add, member.member_id, key, name)
    log.info("SSH key added", member_id=member.member_id, fingerprint=added.fingerprint)
    return _item(added)


async def remove_key(service: Service, member: MemberRecord, key_id: str) -> SshKeyItem:
    """Let a key open nothing any more.

    Raises
    ------
    LedgerError
        If the member never had such a key.
    """
    books = service.books.ledger.ssh_keys
    removed = await service.workers.write(books.remove, member.member_id, key_id)
    log.info("SSH key removed", member_id=member.member_id, fingerprint=removed.fingerprint)
    return _item(removed)


async def authorized_keys(service: Service, identity: Identity) -> AuthorizedKeys:
    """Return which keys open a hub user's servers, who becomes a member if not one yet."""
    ledger = service.books.ledger
    member = await service.workers.write(ledger.ensure_member, identity)
    lines = await service.workers.read(ledger.ssh_keys.lines, [member.member_id])
    held = lines[member.member_id]
    return AuthorizedKeys(authorized_keys=held, digest=keys_digest(held))


def _item(key: SshKey) -> SshKeyItem:
    return SshKeyItem(
        key_id=key.key_id,
        name=key.name,
        key=key.key,
        kind=key.kind,
        fingerprint=key.fingerprint,
        added_at_ms=key.added_ms,
        removed_at_ms=key.removed_ms,
    )
