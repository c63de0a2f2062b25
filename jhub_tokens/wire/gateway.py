"""What the SSH gateway asks: whose a key is, and where a server of theirs is reached."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from jhub_tokens.wire.base import Wire

__all__ = [
    "GATEWAY_TOKEN_LENGTH_MIN",
    "GATEWAY_TOKEN_VARIABLE",
    "GatewaySignIn",
    "GatewaySignInRequest",
    "GatewayWay",
    "GatewayWayRequest",
]

#: The environment variable that holds the token which service and gateway share.
GATEWAY_TOKEN_VARIABLE = "JHUB_TOKENS_GATEWAY_TOKEN"  # noqa: S105  (a name, no secret)
GATEWAY_TOKEN_LENGTH_MIN = 32

_Key = Annotated[str, StringConstraints(max_length=20_000)]


class GatewaySignInRequest(Wire):
    """Ask whether a key that was offered opens any member's servers."""

    key: _Key  # "ssh-ed25519 AAAA…"


class GatewaySignIn(Wire):
    """It does."""

    fingerprint: str  # "SHA256:…", as `ssh-keygen -l` tells it


class GatewayWayRequest(Wire):
    """Ask where a server is reached, for whoever has proven to hold a key."""

    key: _Key
    # As members are shown it: "jupyter-ada".
    host: Annotated[str, StringConstraints(max_length=255)]


class GatewayWay(Wire):
    """Where the SSH server of a running server listens."""

    session_id: str
    address: str
    port: int
