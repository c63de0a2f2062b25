"""What the gateway is told from outside: command line first, then the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from jhub_tokens.wire import GATEWAY_TOKEN_LENGTH_MIN, GATEWAY_TOKEN_VARIABLE

__all__ = ["GatewaySettings", "SettingsError", "add_arguments", "gateway_settings_from"]

_DEFAULT_LISTEN = "0.0.0.0:2222"
_SERVICE = "JHUB_TOKENS_GATEWAY_SERVICE"
_LISTEN = "JHUB_TOKENS_GATEWAY_LISTEN"
_HOST_KEY = "JHUB_TOKENS_GATEWAY_HOST_KEY"
_DRAIN = "JHUB_TOKENS_GATEWAY_DRAIN_S"


class SettingsError(Exception):
    """A setting that is missing or cannot be used; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Everything the gateway is told, checked.

    Parameters
    ----------
    service_url
        The token service's own address and prefix, with a slash at the end.
    token
        What it shares with the service. Never empty.
    host_key
        The file of its private host key, in OpenSSH's or PEM format.
    listen_host, listen_port
        Where it listens; port 0 takes any free one.
    drain_s
        How long it waits for connections to end once it is told to stop.
    connections_max
        How many connections it has at once.
    """

    service_url: str
    token: str = field(repr=False)
    host_key: Path
    listen_host: str = "0.0.0.0"  # noqa: S104  (it is there to be reached)
    listen_port: int = 2222
    drain_s: float = 0.0
    connections_max: int = 2_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens ssh-gateway``."""
    parser.add_argument(
        "--service",
        metavar="URL",
        help="the token service as this process reaches it, such as "
        f"http://tokens:10150/services/tokens/; environment: {_SERVICE}",
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help=f"where to listen (default: {_DEFAULT_LISTEN}); environment: {_LISTEN}",
    )
    parser.add_argument(
        "--host-key",
        metavar="FILE",
        help=f"the gateway's private host key; environment: {_HOST_KEY}",
    )


def gateway_settings_from(
    args: argparse.Namespace, env: Mapping[str, str] | None = None
) -> GatewaySettings:
    """Read the settings from parsed arguments and the environment.

    Raises
    ------
    SettingsError
        If a setting is missing or makes no sense.
    """
    env = os.environ if env is None else env
    service = args.service or env.get(_SERVICE, "")
    parts = urlsplit(service)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(
            f"{_SERVICE}={service}: write the token service's address, such as "
            "http://tokens:10150/services/tokens/"
        )
    token = env.get(GATEWAY_TOKEN_VARIABLE, "").strip()
    if len(token) < GATEWAY_TOKEN_LENGTH_MIN:
        raise SettingsError(
            f"{GATEWAY_TOKEN_VARIABLE} has {len(token)} characters: give the token that the "
            f"service has, of at least {GATEWAY_TOKEN_LENGTH_MIN}; openssl rand -hex 32 makes one"
        )
    host_key = args.host_key or env.get(_HOST_KEY, "")
    if not host_key or not Path(host_key).is_file():
        raise SettingsError(
            f"{_HOST_KEY}={host_key}: there is no such file; ssh-keygen -t ed25519 -N '' -f FILE "
            "makes a host key"
        )
    listen = args.listen or env.get(_LISTEN, "") or _DEFAULT_LISTEN
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise SettingsError(f"{_LISTEN}={listen}: write it like {_DEFAULT_LISTEN}")
    drain = env.get(_DRAIN, "").strip() or "0"
    if not drain.isdecimal():
        raise SettingsError(
            f"{_DRAIN}={drain}: write for how many seconds connections may go on once the "
            "gateway is told to stop, such as 600; 0 cuts them at once"
        )
    return GatewaySettings(
        service_url=service.rstrip("/") + "/",
        token=token,
        host_key=Path(host_key),
        listen_host=host.strip("[]") or "0.0.0.0",  # noqa: S104  (see above)
        listen_port=int(port),
        drain_s=int(drain),
    )
