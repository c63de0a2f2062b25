"""The operator's own Authenticator class, with memberships."""

from __future__ import annotations

from functools import cache

from jhub_authenticator.membership import MembershipMixin
from jhub_authenticator.oauth import ProviderMixin

__all__ = ["with_membership"]


@cache
def with_membership(base: type) -> type:
    """Return `base`, an Authenticator class, with `MembershipMixin`.

    The new class takes the base's configuration: ``c.GitHubOAuthenticator.client_id`` still
    sets the client id. A class that has the mixin already is returned as it is. One of
    OAuthenticator's gets `ProviderMixin`, which knows what its provider says.
    """
    if issubclass(base, MembershipMixin):
        return base
    mixin = ProviderMixin if hasattr(base, "user_auth_state_key") else MembershipMixin
    return type(
        f"Token{base.__name__}",
        (mixin, base),
        {"__module__": base.__module__, "__doc__": base.__doc__},
    )
