"""Whoever signs in is a member: a mixin for any Authenticator that tells the token service.

Nothing here waits for the token service: signing in works while it is away, and the agent
tells it as soon as it is back.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from jhub_tokens.hub import runtime

__all__ = ["MembershipMixin", "with_membership"]


class MembershipMixin:
    """Makes sure that whoever signs in or is added to the hub has a membership and a balance."""

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Sign somebody in as the base does, and pass the name on to the agent."""
        authenticated = await super().get_authenticated_user(handler, data)  # type: ignore[misc]
        if authenticated:
            runtime.current().agent.member_seen(authenticated["name"])
        return authenticated

    def add_user(self, user: Any) -> Any:
        """Take note of a user that was added to the hub."""
        app = runtime.hub_app()
        # While the hub starts it adds everybody it knows; the agent tells of them by itself.
        if app is not None and app.http_server is not None:
            runtime.current().agent.member_seen(user.name)
        return super().add_user(user)  # type: ignore[misc]


@cache
def with_membership(base: type) -> type:
    """Return `base`, an Authenticator class, with `MembershipMixin`.

    The new class takes the base's configuration: ``c.GitHubOAuthenticator.client_id`` still
    sets the client id. A class that has the mixin already is returned as it is.
    """
    if issubclass(base, MembershipMixin):
        return base
    return type(
        f"Token{base.__name__}",
        (MembershipMixin, base),
        {"__module__": base.__module__, "__doc__": base.__doc__},
    )
