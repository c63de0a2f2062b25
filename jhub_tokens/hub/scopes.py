"""Custom scopes of API tokens: narrow enough for machines that train at night."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

__all__ = ["START_SCOPE", "allowed_profiles", "start_scope", "start_scopes"]

#: Start any profile; each profile has a scope below it.
START_SCOPE = "custom:jhub-tokens:start"
#: What JupyterHub allows in the last part of a custom scope.
_FITS = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9_])?")


def start_scope(profile: str) -> str | None:
    """Return the scope for starting `profile`, None where its name does not fit into a scope.

    Names are not bent until they fit: two profiles must never share a scope.
    """
    return f"{START_SCOPE}:{profile}" if _FITS.fullmatch(profile) else None


def start_scopes(profiles: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the definitions of the scopes for starting."""
    each = {scope: profile for profile in profiles if (scope := start_scope(profile))}
    whole: dict[str, Any] = {"description": "Start servers of any profile"}
    if each:
        whole["subscopes"] = sorted(each)
    return {
        START_SCOPE: whole,
        **{
            scope: {"description": f"Start servers of the profile {profile} and of no other"}
            for scope, profile in each.items()
        },
    }


def allowed_profiles(
    scopes: Collection[str], user: str, groups: Collection[str]
) -> frozenset[str] | None:
    """Return the profiles that an API token may start for a hub user, None: any.

    A token that carries none of these scopes is limited by the hub's own scopes alone, and one
    that carries `START_SCOPE` may start whatever the member may.
    """
    found: set[str] = set()
    narrow = whole = False
    for scope in scopes:
        name, _, only = scope.partition("!")
        here = _concerns(only, user, groups)
        if name == START_SCOPE:
            if here:
                return None
            whole = True
        elif name.startswith(f"{START_SCOPE}:"):
            narrow = True
            if here:
                found.add(name.removeprefix(f"{START_SCOPE}:"))
    # With narrow scopes for others it may start nothing here. An administrator's own token is
    # none of these: it has the whole scope for its owner, and the hub's for everybody.
    return frozenset(found) if found or (narrow and not whole) else None


def _concerns(only: str, user: str, groups: Collection[str]) -> bool:
    kind, _, value = only.partition("=")
    filters: Mapping[str, bool] = {"": True, "user": value == user, "group": value in groups}
    return filters.get(kind, False)
