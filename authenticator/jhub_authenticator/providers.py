"""What each of OAuthenticator's providers says, and where in its answer that is.

One table instead of a class for each: providers differ in where they write things, and in
whether an e-mail address is verified. Only two need a question of their own, asked only if a
rule is about the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import HTTPClientError

from jhub_tokens.catalogue import Account
from jhub_tokens.catalogue.accounts import claim_values, verified_email
from jhub_tokens.facts import Facts

__all__ = ["Shape", "read_account", "shape_of", "subject_of"]

_PAGES_MAX = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a provider writes what rules are about; paths are those of claims in rules.

    Parameters
    ----------
    subject
        What names the account for good, the first one present.
    groups, organisations
        Paths in the user info, or in the auth state where it begins with ``/``.
    email
        How it is known that an address is verified: by ``email_verified``, by another claim
        that is not empty, or ``never``.
    """

    subject: tuple[str, ...] = ("sub",)
    groups: tuple[str, ...] = ("groups",)
    organisations: tuple[str, ...] = ()
    email: str = "email_verified"


#: By the name of the class or of one of its bases; whoever is not here is a generic provider.
_SHAPES = {
    "GitHubOAuthenticator": Shape(subject=("id",), groups=(), email="never"),
    "GitLabOAuthenticator": Shape(subject=("id",), groups=(), email="confirmed_at"),
    "GoogleOAuthenticator": Shape(
        subject=("sub", "id"), groups=("google_groups",), organisations=("hd",)
    ),
    # Entra lets tenants write any address into the claim: it proves nothing.
    "AzureAdOAuthenticator": Shape(
        subject=("oid", "sub"), groups=("groups",), organisations=("tid",), email="never"
    ),
    "CILogonOAuthenticator": Shape(groups=("isMemberOf", "groups"), organisations=("idp",)),
    "Auth0OAuthenticator": Shape(organisations=("org_id", "org_name")),
    "GlobusOAuthenticator": Shape(
        groups=("/globus_groups",), organisations=("identity_provider",), email="never"
    ),
    "MWOAuthenticator": Shape(groups=("groups",), email="confirmed_email"),
    "OpenShiftOAuthenticator": Shape(subject=("metadata.uid",), email="never"),
    "BitbucketOAuthenticator": Shape(
        subject=("account_id", "uuid"), groups=(), organisations=("/user_teams",), email="never"
    ),
}


def shape_of(authenticator: Any) -> Shape:
    """Return the shape of an authenticator's answers."""
    for cls in type(authenticator).__mro__:
        if cls.__name__ in _SHAPES:
            return _SHAPES[cls.__name__]
    return Shape()


def _info(authenticator: Any, auth_state: Mapping[str, Any]) -> Mapping[str, Any]:
    info = auth_state.get(authenticator.user_auth_state_key)
    return info if isinstance(info, Mapping) else {}


def subject_of(authenticator: Any, auth_state: Mapping[str, Any]) -> str:
    """Return what names the provider's account for good, empty if it says nothing of the kind."""
    info = _info(authenticator, auth_state)
    for path in shape_of(authenticator).subject:
        found = next(claim_values(info, path), "")
        if found:
            return found
    return ""


async def read_account(
    authenticator: Any, name: str, auth_state: Mapping[str, Any], asked: Facts, *, trust_email: bool
) -> Account:
    """Return what a provider says of an account, in the words of the rules."""
    shape, info = shape_of(authenticator), _info(authenticator, auth_state)
    groups = _values(shape.groups, info, auth_state)
    organisations = _values(shape.organisations, info, auth_state)
    teams: list[str] = []
    email = _email(shape, info, trust=trust_email)
    kind = {cls.__name__ for cls in type(authenticator).__mro__}
    if "GitHubOAuthenticator" in kind:
        more, teams = await _github_orgs(authenticator, auth_state, asked)
        organisations += more
        if (asked.emails or asked.email_domains) and email is None:
            email = await _github_email(authenticator, auth_state)
    elif "GitLabOAuthenticator" in kind and (asked.provider_groups or asked.teams):
        teams = await _gitlab_groups(authenticator, auth_state)
        groups += teams
    return Account(
        name=name,
        provider_groups=tuple(groups),
        organisations=tuple(organisations),
        teams=tuple(teams),
        email=email,
        claims=info,
    )


def _values(
    paths: Iterable[str], info: Mapping[str, Any], auth_state: Mapping[str, Any]
) -> list[str]:
    found: list[str] = []
    for path in paths:
        inside = path.startswith("/")
        found += claim_values(auth_state if inside else info, path.removeprefix("/"))
    return found


def _email(shape: Shape, info: Mapping[str, Any], *, trust: bool) -> str | None:
    if shape.email == "email_verified":
        return verified_email(info, trust=trust)
    proven = bool(info.get(shape.email)) or trust
    return verified_email({"email": info.get("email"), "email_verified": proven})


async def _ask(authenticator: Any, auth_state: Mapping[str, Any], url: str) -> list[Any]:
    """Return a list that a provider hands out in pages; nothing where it may not be read."""
    token = auth_state["token_response"]
    headers = authenticator.build_userdata_request_headers(
        token["access_token"], token.get("token_type") or "Bearer"
    )
    found: list[Any] = []
    for page in range(1, _PAGES_MAX + 1):
        try:
            part = await authenticator.httpfetch(
                f"{url}{'&' if '?' in url else '?'}per_page=100&page={page}",
                "asking for what rules are about",
                headers=headers,
                validate_cert=authenticator.validate_server_cert,
            )
        except HTTPClientError as error:
            if error.code in (401, 403, 404):  # a scope that the operator did not ask for
                authenticator.log.error("Rules cannot be followed: %s answered %s", url, error.code)
                return found
            raise
        if not isinstance(part, list):
            return found
        found += part
        if len(part) < 100:
            return found
    return found


async def _github_orgs(
    authenticator: Any, auth_state: Mapping[str, Any], asked: Facts
) -> tuple[list[str], list[str]]:
    api = authenticator.github_api
    organisations: list[str] = []
    teams: list[str] = []
    if asked.organisations:
        for item in await _ask(authenticator, auth_state, f"{api}/user/orgs"):
            organisations += claim_values(_mapping(item), "login")
    if asked.teams:
        for item in await _ask(authenticator, auth_state, f"{api}/user/teams"):
            team = _mapping(item)
            for owner in claim_values(team, "organization.login"):
                teams += [f"{owner}/{slug}" for slug in claim_values(team, "slug")]
    return organisations, teams


async def _github_email(authenticator: Any, auth_state: Mapping[str, Any]) -> str | None:
    for item in await _ask(authenticator, auth_state, f"{authenticator.github_api}/user/emails"):
        address = _mapping(item)
        if address.get("primary") is True:
            return verified_email(
                {"email": address.get("email"), "email_verified": address.get("verified")}
            )
    return None


async def _gitlab_groups(authenticator: Any, auth_state: Mapping[str, Any]) -> list[str]:
    # At least a guest: groups that are only visible are nobody's membership.
    url = f"{authenticator.gitlab_api}/groups?min_access_level=10"
    found: list[str] = []
    for item in await _ask(authenticator, auth_state, url):
        found += claim_values(_mapping(item), "full_path")
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
