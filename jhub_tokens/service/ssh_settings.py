"""How SSH gets in: what the operator says, checked when the service starts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jhub_tokens.service.errors import SettingsError
from jhub_tokens.wire import GATEWAY_TOKEN_LENGTH_MIN, GATEWAY_TOKEN_VARIABLE

__all__ = ["GATEWAY", "gateway_token_from", "ssh_settings_from"]

#: What stands before the address of our own gateway.
GATEWAY = "gateway:"


def ssh_settings_from(env: Mapping[str, str]) -> tuple[str, str]:
    """Return the way in and the user to sign in as.

    The way is empty, ``tunnel``, ``gateway:HOST:PORT`` or ``HOST:PORT``.

    Raises
    ------
    SettingsError
        If one makes no sense.
    """
    address = env.get("JHUB_TOKENS_SSH", "").strip()
    user = env.get("JHUB_TOKENS_SSH_USER", "").strip() or "jovyan"
    if address in ("", "off"):
        return "", user
    if not re.fullmatch(r"[A-Za-z0-9._-]+", _filled(user, "JHUB_TOKENS_SSH_USER")):
        raise SettingsError(
            f"JHUB_TOKENS_SSH_USER={user}: write a user's name such as jovyan, which may hold "
            "{username} and {server}"
        )
    if address == "tunnel":
        return address, user
    ours = GATEWAY if address.startswith(GATEWAY) else ""
    rest = address.removeprefix(ours)
    host, colon, port = rest.rpartition(":")
    host, port = (host, port) if colon else (rest, "22")
    # Ours finds the server by the member's key, not by names.
    plain = host if ours else _filled(host, "JHUB_TOKENS_SSH")
    known = re.fullmatch(r"[A-Za-z0-9.-]+", plain)
    if not known or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise SettingsError(
            f"JHUB_TOKENS_SSH={address}: write off, tunnel, gateway:HOST:PORT of this suite's "
            "gateway, or HOST:PORT of another; its host may hold {username} and {server}"
        )
    return f"{ours}{host}:{port}", user


def gateway_token_from(env: Mapping[str, str], ssh: str, *, sees_pods: bool) -> str:
    """Return the token that the service shares with its gateway; empty where there is none.

    Parameters
    ----------
    ssh
        The way in, as `ssh_settings_from` returns it.
    sees_pods
        Whether the service looks at the cluster.

    Raises
    ------
    SettingsError
        If it is too short, or if there is a gateway that could not work.
    """
    token = env.get(GATEWAY_TOKEN_VARIABLE, "").strip()
    if token and len(token) < GATEWAY_TOKEN_LENGTH_MIN:
        raise SettingsError(
            f"{GATEWAY_TOKEN_VARIABLE} has {len(token)} characters: give at least "
            f"{GATEWAY_TOKEN_LENGTH_MIN}, the same to the gateway; openssl rand -hex 32 makes one"
        )
    if ssh.startswith(GATEWAY):
        if not token:
            raise SettingsError(
                f"JHUB_TOKENS_SSH={ssh} needs {GATEWAY_TOKEN_VARIABLE}, the same as the gateway has"
            )
        if not sees_pods:
            raise SettingsError(
                f"JHUB_TOKENS_SSH={ssh} needs JHUB_TOKENS_CLUSTER: the service tells the gateway "
                "where servers are"
            )
    return token


def _filled(template: str, name: str) -> str:
    try:
        return template.format(username="x", server="x")
    except (KeyError, IndexError, ValueError):
        raise SettingsError(
            f"{name}={template}: only {{username}} and {{server}} may stand in braces"
        ) from None
