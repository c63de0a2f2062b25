"""The SSH server of the gateway: it lets keys in that the service knows, and opens ways to pods.

Nothing else is to be had of it: no shell, no files, no forwarding of ports, agents or windows.
A client asks for a way by a ``direct-tcpip`` channel (RFC 4254, section 7.2), which is what
``ssh -J`` does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncssh
import structlog
from asyncssh.forward import SSHForwarder

from jhub_tokens.gateway.client import Away, Client, Refused
from jhub_tokens.gateway.settings import GatewaySettings, SettingsError

__all__ = ["running_gateway"]

log = structlog.get_logger(__name__)

#: What clients ask for; which port sshd has in the pod is none of their business.
_SSH_PORT = 22
_LOGIN_S = 30
_KEEPALIVE_S = 30
_KEEPALIVE_MISSED_MAX = 4
#: A NetworkPolicy that does not admit the gateway lets it wait, and says nothing.
_POD_S = 10
#: How long the last words to those who are sent away may take.
_GOODBYE_S = 2
_NO_SSHD = (
    "The SSH server of your server does not answer. Perhaps it has only begun: try again in a "
    "moment. An image without an SSH server is reached in the browser only."
)
_AWAY = "The token service does not answer. Try again in a moment."
_ENDING = "The gateway is being replaced. Connect again: your server runs on."
_NO_SHELL = (
    "This is a gateway, there is no shell here. Use the command that the page Access shows, "
    "such as: ssh -J jump@GATEWAY jovyan@jupyter-NAME\n"
)


class _Room:
    """Who is connected, and no more than there may be at once."""

    def __init__(self, places: int):
        self._places = places
        self._present: set[asyncssh.SSHServerConnection] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self, connection: asyncssh.SSHServerConnection) -> bool:
        """Let one in; False: there is no place."""
        if len(self._present) >= self._places:
            log.warning("too many connections: one was turned away", connections=self._places)
            return False
        self._present.add(connection)
        self._empty.clear()
        return True

    def leave(self, connection: asyncssh.SSHServerConnection) -> None:
        """Make room for another."""
        self._present.discard(connection)
        if not self._present:
            self._empty.set()

    async def empty(self, within_s: float) -> None:
        """Wait until all have left, then send away who has not."""
        if self._present and within_s:
            log.info("waiting for connections to end", connections=len(self._present))
        await self._wait_empty(within_s)
        if self._present:
            log.warning("connections are cut", connections=len(self._present))
        for connection in list(self._present):
            connection.disconnect(asyncssh.DISC_SERVICE_NOT_AVAILABLE, _ENDING)
        await self._wait_empty(_GOODBYE_S)

    async def _wait_empty(self, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._empty.wait()


class _Visitor(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, client: Client, room: _Room):
        self._client = client
        self._room = room
        self._connection: asyncssh.SSHServerConnection
        self._key = ""  # the one that was proven, once the visitor is in
        self._is_in = False

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Let in no more than there may be at once."""
        self._connection = conn
        if not self._room.enter(conn):
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another."""
        self._room.leave(self._connection)

    def public_key_auth_supported(self) -> bool:
        """Tell that keys are what lets one in."""
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Tell whether a key opens anything; asyncssh sees to it that its holder proves it."""
        line = key.export_public_key("openssh").decode().strip()
        try:
            fingerprint = await self._client.sign_in(line)
        except Refused:
            return False  # a client offers every key that it has
        except Away as away:
            log.error("the token service cannot be asked", reason=str(away))
            raise asyncssh.DisconnectError(asyncssh.DISC_SERVICE_NOT_AVAILABLE, _AWAY) from None
        # Offered first and proven then: the last one before `auth_completed` is the proven one.
        if not self._is_in:
            self._key = line
        log.debug("key offered", fingerprint=fingerprint)
        return True

    def auth_completed(self) -> None:
        """Keep the key that was proven."""
        self._is_in = True

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Any:
        """Open a way to a server."""
        if dest_port != _SSH_PORT:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED,
                f"Only SSH is reached through this gateway, port {_SSH_PORT}.",
            )
        return self._open(dest_host)

    async def _open(self, host: str) -> SSHForwarder:
        try:
            way = await self._client.way(self._key, host)
        except Refused as refused:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(refused)) from None
        except Away as away:
            log.error("the token service cannot be asked", reason=str(away))
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, _AWAY) from None
        try:
            async with asyncio.timeout(_POD_S):
                forwarder = await self._connection.forward_connection(way.address, way.port)
        except (TimeoutError, asyncssh.ChannelOpenError) as error:
            # Its own words name addresses within the cluster, which are for the operator.
            log.warning(
                "a pod does not answer",
                session=way.session_id,
                address=f"{way.address}:{way.port}",
                reason=str(error) or f"no answer within {_POD_S} s",
                remedy="see that a NetworkPolicy admits the gateway, and that sshd runs there",
            )
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, _NO_SSHD) from None
        log.info("way opened", session=way.session_id)
        return forwarder


def _no_shell(process: asyncssh.SSHServerProcess[str]) -> None:
    process.stderr.write(_NO_SHELL)
    process.exit(1)


@contextlib.asynccontextmanager
async def running_gateway(settings: GatewaySettings) -> AsyncIterator[int]:
    """Run a gateway; yields the port that it listens on.

    At the end it takes no new connections and waits for those there are, for ``drain_s``.

    Raises
    ------
    SettingsError
        If its host key cannot be read, or the port cannot be listened on.
    """
    try:
        host_key = asyncssh.read_private_key(settings.host_key)
    except (OSError, asyncssh.KeyImportError) as error:
        raise SettingsError(
            f"the host key {settings.host_key} cannot be read: {error}; give a private key "
            "without a passphrase, such as ssh-keygen -t ed25519 -N '' makes"
        ) from None
    client = Client(settings.service_url, settings.token)
    room = _Room(settings.connections_max)
    try:
        acceptor = await asyncssh.listen(
            settings.listen_host,
            settings.listen_port,
            server_factory=lambda: _Visitor(client, room),
            server_host_keys=[host_key],
            process_factory=_no_shell,
            agent_forwarding=False,
            allow_scp=False,
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            login_timeout=_LOGIN_S,
            keepalive_interval=_KEEPALIVE_S,
            keepalive_count_max=_KEEPALIVE_MISSED_MAX,
        )
    except OSError as error:
        await client.close()
        raise SettingsError(
            f"cannot listen on {settings.listen_host}:{settings.listen_port}: {error.strerror}"
        ) from None
    try:
        yield acceptor.get_port()
        # Not its `wait_closed`: since Python 3.12 that waits for connections, without an end.
        acceptor.close()
        await room.empty(settings.drain_s)
    finally:
        acceptor.close()
        await client.close()
