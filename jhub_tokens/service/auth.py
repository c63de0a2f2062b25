"""Who calls, and what that caller may do.

Three kinds of caller exist. The **hub side** shares one static token with the service, compared
here in constant time, because at start-up the hub cannot be asked yet; the **SSH gateway**, if
there is one, shares another, which opens its own routes only. **People** (and other
services) are identified by the hub: in the browser through OAuth and its cookie, in programs by
a hub API token in the ``Authorization`` header.

A browser session carries the person's own powers, so a hub admin may do everything there. An
API token carries what its scopes say and no more: a token that an admin made for one narrow
purpose does not grant tokens. See https://jupyterhub.readthedocs.io/en/stable/rbac/scopes.html.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jupyterhub.services.auth import HubOAuth

from jhub_tokens.clock import Clock
from jhub_tokens.service.logins import SealedLogins
from jhub_tokens.service.settings import Settings

__all__ = [
    "GRANT_SCOPE",
    "READ_SCOPE",
    "SERVER_SCOPE",
    "Caller",
    "ServerOf",
    "hub_oauth",
    "is_gateway_token",
    "is_service_token",
]

READ_SCOPE = "custom:jhub-tokens:read"
GRANT_SCOPE = "custom:jhub-tokens:grant"
#: A running server about itself; the hub adds the filter `!server=USER/NAME` to its token.
SERVER_SCOPE = "custom:jhub-tokens:server"
#: Whoever holds it without a filter can make anybody an admin: it is a full admin's token.
_FULL_ADMIN_SCOPE = "admin:users"
_METRICS_SCOPE = "read:metrics"


class ServerOf(NamedTuple):
    """The one server that a token speaks for."""

    user: str
    name: str  # empty: the default server


@dataclass(frozen=True, slots=True)
class Caller:
    """A person or another service, as the hub describes them.

    Parameters
    ----------
    name
        The hub user's or service's name.
    kind
        Which of the two.
    created
        When the hub user was created, as the hub writes it; None if the token may not tell.
    admin
        Whether the hub calls them an admin.
    scopes
        The scopes of the token that was presented, expanded by the hub.
    via
        A browser's OAuth cookie, or an API token.
    """

    name: str
    kind: Literal["user", "service"]
    created: str | None
    admin: bool
    scopes: frozenset[str]
    via: Literal["cookie", "token"]

    @classmethod
    def from_model(cls, model: Mapping[str, Any], via: Literal["cookie", "token"]) -> Caller:
        """Read the hub's answer to "who am I"."""
        return cls(
            name=str(model["name"]),
            kind="service" if model.get("kind") == "service" else "user",
            created=model.get("created"),
            admin=bool(model.get("admin")),
            scopes=frozenset(model.get("scopes") or ()),
            via=via,
        )

    @property
    def is_admin(self) -> bool:
        """Whether the powers of a hub admin are behind this call."""
        return self.admin and (self.via == "cookie" or _FULL_ADMIN_SCOPE in self.scopes)

    @property
    def may_read_all(self) -> bool:
        """Whether every member's books may be read."""
        return self.is_admin or READ_SCOPE in self.scopes

    @property
    def may_grant(self) -> bool:
        """Whether tokens may be granted and memberships frozen."""
        return self.is_admin or GRANT_SCOPE in self.scopes

    @property
    def may_read_metrics(self) -> bool:
        """Whether the totals may be read."""
        return self.may_read_all or _METRICS_SCOPE in self.scopes

    @property
    def may_read_own(self) -> bool:
        """Whether the caller's own books may be read."""
        if self.kind != "user":
            return False
        return (
            self.via == "cookie"
            or self.may_read_all
            or f"{READ_SCOPE}!user={self.name}" in self.scopes
        )

    @property
    def server(self) -> ServerOf | None:
        """The caller's own server that this token speaks for; None unless it is exactly one."""
        if self.kind != "user" or self.via != "token":
            return None
        prefix = f"{SERVER_SCOPE}!server={self.name}/"
        names = [scope[len(prefix) :] for scope in self.scopes if scope.startswith(prefix)]
        return ServerOf(self.name, names[0]) if len(names) == 1 else None

    @property
    def may_mark_seen(self) -> bool:
        """Whether the caller's own notices may be marked as seen: in person only."""
        return self.kind == "user" and self.via == "cookie"

    @property
    def may_change_own(self) -> bool:
        """Whether the caller's own settings may be changed: in person, or with all own rights.

        A token that may make tokens of its member may do whatever they may; hubs give no member
        the scope ``users``.
        """
        if self.kind != "user":
            return False
        return self.via == "cookie" or self.is_admin or f"tokens!user={self.name}" in self.scopes

    def may_read_member(self, name: str) -> bool:
        """Whether the books of the hub user `name`, who is not the caller, may be read."""
        return self.may_read_all or f"{READ_SCOPE}!user={name}" in self.scopes

    @property
    def label(self) -> str:
        """How the books and the logs call them."""
        return f"{self.kind}:{self.name}"


def hub_oauth(settings: Settings, clock: Clock, *, cache_s: int = 60) -> HubOAuth:
    """Return the hub's own client, set up for this service from its environment.

    Parameters
    ----------
    settings
        Where the hub is, and who we are.
    clock
        What sealed sign-ins are dated by.
    cache_s
        How long an answer of the hub about a token holds.
    """
    return SealedLogins(
        secret=settings.cookie_secret,
        clock=clock,
        base_url=settings.base_url,
        api_url=settings.hub_api_url,
        api_token=settings.service_token,
        oauth_client_id=settings.oauth_client_id,
        access_scopes={f"access:services!service={settings.service_name}"},
        # Money is checked afresh each time; for reading, a minute is short enough to lose a
        # right and long enough to spare the hub.
        cache_max_age=cache_s,
        # The hub's own default lets `?token=` in where the operator allows it for notebooks.
        allow_token_in_url=False,
    )


def is_service_token(presented: str, settings: Settings) -> bool:
    """Tell in constant time whether `presented` is the token shared with the hub side."""
    return _is_same(presented, settings.service_token)


def is_gateway_token(presented: str, settings: Settings) -> bool:
    """Tell in constant time whether `presented` is the SSH gateway's token, if there is one."""
    return bool(settings.gateway_token) and _is_same(presented, settings.gateway_token)


def _is_same(presented: str, secret: str) -> bool:
    return hmac.compare_digest(presented.encode("utf-8", "replace"), secret.encode())
