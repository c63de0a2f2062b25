"""SSH public keys: a member's own, and what the hub side lets into a server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from jhub_tokens.wire.base import Identity, Wire

__all__ = [
    "AuthorizedKeys",
    "AuthorizedKeysRequest",
    "SshKeyItem",
    "SshKeyList",
    "SshKeyOrder",
]


class SshKeyItem(Wire):
    """A public key that opens its member's servers."""

    key_id: str
    name: str
    key: str  # "ssh-ed25519 AAAA…", as in authorized_keys, without a comment
    kind: str  # "ED25519", "RSA 4096"
    fingerprint: str  # "SHA256:…", as `ssh-keygen -l` tells it
    added_at_ms: int
    removed_at_ms: int | None = None


class SshKeyList(Wire):
    """A member's keys that hold, the newest first."""

    keys: list[SshKeyItem]


class SshKeyOrder(Wire):
    """A public key to add: one line of OpenSSH's format."""

    key: Annotated[str, StringConstraints(max_length=20_000)]
    name: Annotated[str, Field(max_length=100)] = ""  # missing: the key's comment


class AuthorizedKeysRequest(Wire):
    """Ask which keys open a hub user's servers, from the hub side."""

    member: Identity


class AuthorizedKeys(Wire):
    """Which keys open a member's servers now."""

    authorized_keys: list[str]  # lines for an authorized_keys file
    digest: str  # of the set, as `SessionKnown.keys_digest`
