"""Routes of the SSH gateway."""

from __future__ import annotations

from jhub_tokens.service import gateway
from jhub_tokens.service.handlers.api import GatewayHandler
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import (
    GatewaySignIn,
    GatewaySignInRequest,
    GatewayWay,
    GatewayWayRequest,
)

__all__ = ["SignInsHandler", "WaysHandler"]


class SignInsHandler(GatewayHandler):
    """Whether a key is let in."""

    @operation(
        summary="Whether the SSH gateway lets a key in",
        access="gateway",
        body=GatewaySignInRequest,
        answer=GatewaySignIn,
        errors={404: "The key is no member's"},
    )
    async def post(self, *, body: GatewaySignInRequest) -> GatewaySignIn:
        """Return the fingerprint of a key that opens some member's servers."""
        return await gateway.sign_in(self.service, body)


class WaysHandler(GatewayHandler):
    """Where a server is."""

    @operation(
        summary="Where the SSH gateway reaches a server",
        access="gateway",
        body=GatewayWayRequest,
        answer=GatewayWay,
        errors={
            404: "The key is no member's, or no such server of theirs runs",
            409: "The server has no address yet",
        },
    )
    async def post(self, *, body: GatewayWayRequest) -> GatewayWay:
        """Return the address of a running server, for whoever holds its member's key.

        The message of a refusal is for the member, whose SSH client shows it.
        """
        return await gateway.way(self.service, body)
