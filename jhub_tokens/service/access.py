"""How a member reaches a running server: its link, the SSH command, the lines for ~/.ssh/config.

The operator says how SSH gets in. ``tunnel``: through the hub's own HTTPS port, by a WebSocket that
jupyter-server-proxy opens to the pod's sshd, so that the hub's sign-in and the member's key are
both needed. ``gateway:HOST:PORT``: through our own gateway (`jhub_tokens.gateway`), which opens a
connection to the pod for whoever holds the member's key. ``HOST:PORT``: through another gateway or
a NodePort; the host and the user may hold ``{username}`` and ``{server}``, by which it finds the
pod.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from jupyterhub.utils import subdomain_hook_idna

from jhub_tokens.service.settings import Settings
from jhub_tokens.service.ssh_settings import GATEWAY
from jhub_tokens.wire import RunningSession, Standing

__all__ = [
    "SERVER_PROXY_ENTRY",
    "TOKEN_VARIABLE",
    "ServerAccess",
    "server_access",
    "server_alias",
    "with_access",
]

#: The name of jupyter-server-proxy's entry that passes a WebSocket on to the pod's sshd.
SERVER_PROXY_ENTRY = "ssh"
#: Whom members sign in as at our gateway: it knows them by their keys.
GATEWAY_USER = "jump"
#: Where the member's own shell holds an API token for the tunnel.
TOKEN_VARIABLE = "JUPYTERHUB_API_TOKEN"  # noqa: S105  (a name, no secret)


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """How one server is reached.

    Parameters
    ----------
    url
        Where a browser finds it; a path where the hub's host is not known.
    ssh_command
        To paste into a terminal; None where SSH is off.
    ssh_alias, ssh_config
        A short name for it, and the lines for ``~/.ssh/config`` that define it.
    through_hub
        Whether the way leads through the hub, which asks for an API token.
    """

    url: str
    ssh_command: str | None = None
    ssh_alias: str = ""
    ssh_config: str | None = None
    through_hub: bool = False


def server_access(
    settings: Settings, username: str, server_name: str, origin: str = ""
) -> ServerAccess:
    """Return how a member's server is reached.

    Parameters
    ----------
    origin
        ``https://host`` as the browser at hand sees it, for where the settings do not say.
    """
    path = _path(settings, username, server_name)
    host = _origin(settings, username) or origin
    url = f"{host}{path}"
    if not settings.ssh or (settings.ssh == "tunnel" and not host):
        return ServerAccess(url)
    alias = server_alias(username, server_name)
    if settings.ssh == "tunnel":
        return _tunnel(settings, url, alias)
    if settings.ssh.startswith(GATEWAY):
        return _through_gateway(settings, url, alias)
    places = {"username": _slug(username), "server": _slug(server_name or "default")}
    gateway, _, port = settings.ssh.format(**places).rpartition(":")
    user = settings.ssh_user.format(**places)
    options = [("Port", port)] if port != "22" else []
    command = f"ssh{f' -p {port}' if port != '22' else ''} {user}@{gateway}"
    lines = [("HostName", gateway), ("User", user), *options]
    return ServerAccess(url, command, alias, _config(alias, lines))


def with_access(standing: Standing, settings: Settings, origin: str = "") -> Standing:
    """Return a standing whose ready servers say how they are reached."""

    def told(session: RunningSession) -> RunningSession:
        if session.ready_at_ms is None:
            return session
        found = server_access(settings, standing.name, session.server_name, origin)
        return session.model_copy(update={"url": found.url, "ssh_command": found.ssh_command})

    return standing.model_copy(
        update={
            "sessions": [told(session) for session in standing.sessions],
            "teams": [
                team.model_copy(update={"sessions": [told(session) for session in team.sessions]})
                for team in standing.teams
            ],
        }
    )


def _tunnel(settings: Settings, url: str, alias: str) -> ServerAccess:
    socket = re.sub(r"^http", "ws", url) + f"{SERVER_PROXY_ENTRY}/"
    # The shell that ssh starts puts the token in: it stands in no file.
    header = f'"Authorization: token ${TOKEN_VARIABLE}"'
    # ssh reads a percent sign of its own there.
    proxy = f"websocat --binary -H={header} {shlex.quote(socket)}".replace("%", "%%")
    user = settings.ssh_user.format(username="", server="")
    host_key = f"jupyter-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    command = (
        f"ssh -o {shlex.quote(f'ProxyCommand={proxy}')} -o HostKeyAlias={host_key} {user}@{alias}"
    )
    lines = [("User", user), ("HostKeyAlias", host_key), ("ProxyCommand", proxy)]
    return ServerAccess(url, command, alias, _config(alias, lines), through_hub=True)


def _through_gateway(settings: Settings, url: str, alias: str) -> ServerAccess:
    host, _, port = settings.ssh.removeprefix(GATEWAY).rpartition(":")
    jump = f"{GATEWAY_USER}@{host}{f':{port}' if port != '22' else ''}"
    user = settings.ssh_user.format(username="", server="")
    lines = [("User", user), ("ProxyJump", jump)]
    return ServerAccess(url, f"ssh -J {jump} {user}@{alias}", alias, _config(alias, lines))


def _config(alias: str, lines: list[tuple[str, str]]) -> str:
    return "\n".join([f"Host {alias}", *(f"    {key} {value}" for key, value in lines)])


def _path(settings: Settings, username: str, server_name: str) -> str:
    """Return a server's path, escaped as the hub does it."""
    base = urlsplit(settings.hub_url).path.removesuffix("hub/")
    parts = [quote(username, safe="@~")]
    if server_name:
        parts.append(quote(server_name, safe="@~"))
    return f"{base}user/{'/'.join(parts)}/"


def _origin(settings: Settings, username: str) -> str:
    """Return the origin of a member's servers; empty where it is not known."""
    hub = urlsplit(settings.hub_url)
    if hub.netloc:  # each member has a host of their own: see `subdomain_host` of the hub
        return f"{hub.scheme}://{subdomain_hook_idna(username, hub.netloc, 'user')}"
    public = urlsplit(settings.public_url)
    return f"{public.scheme}://{public.netloc}" if public.netloc else ""


def _slug(text: str) -> str:
    """Return a name as it may stand in a host's or a user's name, still that of one alone."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48]
    if plain == text:
        return plain
    return f"{plain or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def server_alias(username: str, server_name: str) -> str:
    """Return the name by which SSH clients call a server; the gateway knows it, too."""
    return "jupyter-" + _slug(f"{username}-{server_name}" if server_name else username)
