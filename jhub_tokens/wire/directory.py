"""Directory sync: what a sign-in provider's directory says of many accounts at once."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from jhub_tokens.wire.base import Name, Wire

__all__ = ["DirectoryAccount", "DirectoryDone", "DirectoryOrder"]


class DirectoryAccount(Wire):
    """One account, by the name of its hub user."""

    name: Name
    #: Why it may not be used any more; missing: it may.
    gone: Annotated[str, StringConstraints(max_length=200)] = ""
    #: What the provider would say at a sign-in: e-mail, groups, organisations, claims.
    claims: dict[str, Any] = {}


class DirectoryOrder(Wire):
    """Accounts of the directory, all of them or some."""

    accounts: Annotated[list[DirectoryAccount], Field(max_length=200_000)]
    #: Whether a member who was told of by the provider and is not listed is gone.
    complete: bool = False
    #: Count an e-mail address about which ``email_verified`` says nothing.
    trust_email: bool = False
    #: Suspend however many it takes.
    force: bool = False
    #: Only tell what would be done.
    dry_run: bool = False


class DirectoryDone(Wire):
    """What a sync has done."""

    known: int
    unknown: int
    changed: list[str]
    suspended: list[str]
    restored: list[str]
