"""What happens when the SSH gateway asks whose a key is, and where a server of theirs is.

A key that is to sign somebody in may only have been offered; before it asks for a way, the gateway
has seen that whoever wants it holds the private half.
"""

from __future__ import annotations

import structlog

from jhub_tokens.i18n import _
from jhub_tokens.ledger.ssh_keys import OpenedServer
from jhub_tokens.service.access import server_alias
from jhub_tokens.service.errors import Problem, Unavailable
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.ssh_keys import BadKey, read_public_key
from jhub_tokens.wire import (
    GatewaySignIn,
    GatewaySignInRequest,
    GatewayWay,
    GatewayWayRequest,
)

__all__ = ["sign_in", "way"]

log = structlog.get_logger(__name__)


async def sign_in(service: Service, asked: GatewaySignInRequest) -> GatewaySignIn:
    """Return the fingerprint of a key that opens some member's servers.

    Raises
    ------
    Problem
        If it opens nobody's.
    """
    fingerprint, _servers = await _opened(service, asked.key)
    return GatewaySignIn(fingerprint=fingerprint)


async def way(service: Service, asked: GatewayWayRequest) -> GatewayWay:
    """Return where a server is reached that the key opens.

    Raises
    ------
    Problem
        If the key opens nothing, no such server runs, or it is not known where it is.
    """
    fingerprint, servers = await _opened(service, asked.key)
    called = {server_alias(one.member_name, one.server_name): one for one in servers}
    server = called.get(asked.host.lower())
    if server is None:
        raise _not_running(service, asked.host, list(called))
    # The settings see to it that there is one.
    if service.cluster is None or not service.cluster.sees_pods:
        raise Unavailable(
            _("It cannot be seen right now where servers are."),
            remedy=_("Try again in a moment."),
            public=True,
        )
    address = service.cluster.address_of(server.session_id)
    if address is None:
        raise Problem(
            409,
            "no_address",
            _("The server has no address yet."),
            remedy=_("Try again in a moment."),
        )
    log.info(
        "SSH way opened",
        fingerprint=fingerprint,
        session=server.session_id,
        member=server.member_name,
    )
    return GatewayWay(
        session_id=server.session_id, address=address, port=service.settings.ssh_pod_port
    )


async def _opened(service: Service, key: str) -> tuple[str, tuple[OpenedServer, ...]]:
    """Return a key's fingerprint and the running servers that it opens."""
    servers = None
    try:
        fingerprint = read_public_key(key).fingerprint
    except BadKey:
        pass  # nobody could have added it
    else:
        books = service.books.ledger.ssh_keys
        servers = await service.workers.read(books.opened_by, fingerprint)
    if servers is None:
        raise Problem(
            404,
            "unknown_key",
            _("This key opens nobody's servers."),
            remedy=_("Add it on the page Access."),
        )
    return fingerprint, servers


def _not_running(service: Service, host: str, running: list[str]) -> Problem:
    if running:
        remedy = _("These run: %(servers)s", servers=", ".join(running))
    else:
        remedy = _("Start it first: %(where)s", where=f"{service.settings.console_url}access")
    return Problem(
        404,
        "not_running",
        _("No server of yours called %(host)s runs.", host=host[:100]),
        field="host",
        remedy=remedy,
    )
