"""An account as a sign-in provider describes it, read without trust in its size or shape."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jhub_tokens.facts import NAME_LENGTH_MAX, Facts

__all__ = ["Account", "claim_values", "domain_of", "facts_of"]

#: A provider's list is looked at up to here; nobody is in more groups than that.
_ITEMS_MAX = 10_000
_DEPTH_MAX = 10
_EMAIL_LENGTH_MAX = 320
#: Where providers write a person's name, the most telling first.
_NAME_CLAIMS = ("preferred_username", "login", "username", "name", "sub")
_KINDS = ("provider_groups", "organisations", "teams")


@dataclass(frozen=True, slots=True)
class Account:
    """One person at the provider.

    Parameters
    ----------
    name
        Name of the hub user.
    groups
        Groups *of the hub*, which are the provider's where it owns them.
    provider_groups, organisations, teams
        What the provider says; a team is written ``organisation/team``.
    email
        The address, None where the provider has not verified it.
    claims
        Everything the provider says, as it came.
    """

    name: str
    groups: tuple[str, ...] = ()
    provider_groups: tuple[str, ...] = ()
    organisations: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    email: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_claims(cls, claims: Mapping[str, Any], *, trust_email: bool = False) -> Account:
        """Read a provider's claims, with ``hub_groups``, ``organisations``, ``teams`` if given.

        The claim ``groups`` is about the provider's groups. An e-mail address counts only
        with ``email_verified``, unless `trust_email` is set.
        """
        found = (claims.get(key) for key in _NAME_CLAIMS)
        name = next((value for value in found if isinstance(value, str) and value), "")
        return cls(
            name=name[:NAME_LENGTH_MAX],
            groups=tuple(_texts(claims.get("hub_groups"))),
            provider_groups=tuple(_texts(claims.get("provider_groups", claims.get("groups")))),
            organisations=tuple(_texts(claims.get("organisations"))),
            teams=tuple(_texts(claims.get("teams"))),
            email=verified_email(claims, trust=trust_email),
            claims=claims,
        )


def verified_email(claims: Mapping[str, Any], *, trust: bool = False) -> str | None:
    """Return the e-mail address, None unless the provider says that it is verified.

    Where a provider says nothing about that, `trust` decides; what it denies stays denied.
    """
    verified = claims.get("email_verified", claims.get("verified_email"))
    if verified is None:
        verified = trust
    email = claims.get("email")
    if verified not in (True, "true") or not isinstance(email, str):
        return None
    return email if domain_of(email) else None


def domain_of(email: str) -> str:
    """Return the domain of an e-mail address in lower case, empty if it is no plain address.

    Quoted local parts, comments and further @ are legal and never needed: an address that uses
    them to look like another one has no domain here.
    """
    local, at, domain = email.rpartition("@")
    if not at or not local or not domain or len(email) > _EMAIL_LENGTH_MAX:
        return ""
    if any(character in local + domain for character in '"()<>[]\\,;: \t\r\n@'):
        return ""
    # A domain in another script that looks like a known one stays another one.
    try:
        return domain.rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""


def claim_values(claims: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the values of a claim as text: of a list each item, of nested claims by dots.

    ``realm_access.roles`` is looked up as a key of this name first, since providers have claims
    called ``https://example.org/roles``.
    """
    value: Any = claims
    if path in claims:
        value = claims[path]
    else:
        parts = path.split(".")
        if len(parts) > _DEPTH_MAX:
            return
        for part in parts:
            if not isinstance(value, Mapping) or part not in value:
                return
            value = value[part]
    yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    items: Iterable[Any] = value if isinstance(value, list | tuple | set) else (value,)
    for place, item in enumerate(items):
        if place >= _ITEMS_MAX:
            return
        if isinstance(item, bool):
            yield "true" if item else "false"
        elif isinstance(item, int) and abs(item) < 10**30:
            yield str(item)
        elif isinstance(item, str) and 0 < len(item) <= NAME_LENGTH_MAX:
            yield unicodedata.normalize("NFC", item)


def facts_of(account: Account, asked: Facts) -> Facts:
    """Return what holds for `account` of the values `asked`, and nothing else."""

    def held(wanted: Iterable[str], values: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(set(wanted).intersection(values)))

    email = (account.email or "").casefold()
    domain = domain_of(email) if email else ""
    claims = {
        name: found
        for name, wanted in asked.claims.items()
        if (found := held(wanted, claim_values(account.claims, name)))
    }
    return Facts(
        **{kind: held(getattr(asked, kind), getattr(account, kind)) for kind in _KINDS},
        email_domains=held(asked.email_domains, [domain] if domain else []),
        emails=held(asked.emails, [email] if domain else []),
        claims=claims,
    )
