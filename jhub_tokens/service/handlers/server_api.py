"""A running server's own routes, by its own API token."""

from __future__ import annotations

from jhub_tokens.service import servers
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.models import Nothing
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import KeepOrder, ServerReport, ServerView

__all__ = ["ServerHandler", "ServerKeepHandler", "ServerStopHandler"]

_NOBODY = {404: "The server's owner is no member yet"}
_NOT_RUNNING = {**_NOBODY, 409: "The books know no running session of this server"}


class _FromServer(PeopleHandler):
    """Answers servers; which one, the token's scope says and nothing else."""

    def initialize(self, service: Service, route: str) -> None:
        """Ask the hub by a client that remembers servers' tokens for longer."""
        super().initialize(service, route)
        self.hub_auth = service.server_auth


class ServerHandler(_FromServer):
    """A server's standing."""

    @operation(
        summary="Report of a server",
        access="server",
        body=ServerReport,
        answer=ServerView,
        errors=_NOBODY,
    )
    async def post(self, *, body: ServerReport) -> ServerView:
        """Note what keeps the server busy; return its balance, cost, end and notices."""
        return await servers.report(self.service, self.person, body)


class ServerKeepHandler(_FromServer):
    """Keeping an idle server running."""

    @operation(
        summary="Keep a server running",
        access="server",
        body=KeepOrder,
        answer=ServerView,
        errors={
            **_NOT_RUNNING,
            409: "The plan does not allow it, or the server does not run",
        },
    )
    async def post(self, *, body: KeepOrder) -> ServerView:
        """Count the server as active for so long from now, within plan and longest run."""
        caller = await self.recheck()
        return await servers.keep_running(self.service, caller, body)


class ServerStopHandler(_FromServer):
    """Stopping a server from inside."""

    @operation(
        summary="Stop a server from inside",
        access="server",
        body=Nothing,
        answer=ServerView,
        errors=_NOT_RUNNING,
    )
    async def post(self, *, body: Nothing) -> ServerView:
        """Order this server to stop now; asked twice, it is one order."""
        caller = await self.recheck()
        return await servers.ask_stop(self.service, caller)
