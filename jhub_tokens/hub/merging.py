"""Adding to what an operator has configured, without taking anything away.

Each function takes the present value and returns the merged one. They can be applied any number
of times, so that a configuration file may call `configure` before or after its own settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "SERVER_SCOPE",
    "merge_extensions",
    "merge_member_scopes",
    "merge_roles",
    "merge_server_scopes",
    "merge_service",
    "merge_template_paths",
]

Role = dict[str, Any]

#: What a running server may ask of the token service, about itself.
SERVER_SCOPE = "custom:jhub-tokens:server"


def merge_roles(roles: Sequence[Mapping[str, Any]], ours: Mapping[str, Any]) -> list[Role]:
    """Return `roles` with ours; an operator's role of the same name gets what it lacks.

    A hub that finds a role twice does not start. That would happen where a file appends a role
    of its own below our call, so that all roles of our name become one.
    """
    merged: list[Role] = []
    one: Role = {}
    for role in [*roles, ours]:
        if role.get("name") != ours["name"]:
            merged.append(dict(role))
            continue
        if not one:
            merged.append(one)
        for key, value in role.items():
            if isinstance(value, list):
                present = one.get(key, [])
                one[key] = [*present, *(item for item in value if item not in present)]
            else:
                one.setdefault(key, value)
    return merged


def merge_member_scopes(
    roles: Sequence[Mapping[str, Any]],
    extra_user_scopes: set[str] | None,
    ours: Sequence[str],
) -> tuple[list[Role], set[str] | None]:
    """Give every hub user the scopes `ours`.

    Parameters
    ----------
    roles
        ``load_roles`` as it is.
    extra_user_scopes
        ``JupyterHub.extra_user_scopes`` as it is; None on JupyterHub 5, which has none.
    ours
        The scopes.

    Returns
    -------
    tuple
        The new values of both. The role ``user`` is defined only where that is the only way:
        a defined one makes JupyterHub 6 ignore the operator's extra_user_scopes.
    """
    defined = any(role.get("name") == "user" and "scopes" in role for role in roles)
    if extra_user_scopes is not None and not defined:
        return [dict(role) for role in roles], extra_user_scopes | set(ours)
    role = {"name": "user", "scopes": list(ours) if defined else ["self", *ours]}
    return merge_roles(roles, role), extra_user_scopes


def merge_server_scopes(scopes: Sequence[str]) -> list[str]:
    """Return what a server's own token shall carry: the operator's choice, and our one scope."""
    ours = f"{SERVER_SCOPE}!server"
    return [*scopes, *([] if ours in scopes else [ours])]


def merge_service(
    services: Sequence[Mapping[str, Any]], ours: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return `services` with ours; what an operator sets for a service of its name stays."""
    merged = [dict(service) for service in services]
    for place, service in enumerate(merged):
        if service.get("name") == ours["name"]:
            environment = {**ours.get("environment", {}), **service.get("environment", {})}
            merged[place] = {**ours, **service}
            if environment:
                merged[place]["environment"] = environment
            return merged
    return [*merged, dict(ours)]


def merge_template_paths(paths: Sequence[str], ours: Path, base: Sequence[str] = ()) -> list[str]:
    """Return `paths` with ours behind the operator's own, but before the hub's (`base`)."""
    kept = [str(path) for path in paths if str(path) != str(ours)]
    own = [path for path in kept if path not in base]
    return [*own, str(ours), *(path for path in kept if path in base)]


def merge_extensions(options: Mapping[str, Any], ours: Any) -> dict[str, Any]:
    """Return the options of the hub's template environment with one more extension."""
    extensions = list(options.get("extensions", ()))
    return {**options, "extensions": [*extensions, *([] if ours in extensions else [ours])]}
