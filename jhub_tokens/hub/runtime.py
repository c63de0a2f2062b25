"""What the hub process shares: settings, client and agent of the one token service."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from jupyterhub.app import JupyterHub

from jhub_tokens.hub.acts import LONGEST_MS
from jhub_tokens.hub.agent import Agent
from jhub_tokens.hub.client import TokenServiceClient
from jhub_tokens.hub.glass import BreakGlass

__all__ = ["GroupsFrom", "HubSide", "Settings", "current", "hub_app", "install"]

#: Who owns the hub's groups: the sign-in provider, or the hub's administrators.
GroupsFrom = Literal["provider", "hub"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the hub side finds the token service."""

    service_name: str
    service_url: str  # scheme, host and port, without the hub's base URL
    token: str
    hub_name: str = "hub"
    state_dir: Path | None = None  # None: starts are never let through unasked
    break_glass_longest_ms: int = LONGEST_MS
    catalogue_path: str | None = None  # where the rules for signing in are, if they are here
    groups_from: GroupsFrom | None = None
    url_from_servers: str = ""  # scheme, host and port; empty: as browsers reach the hub


def hub_app() -> Any | None:
    """Return the JupyterHub application of this process, if there is one."""
    return JupyterHub.instance() if JupyterHub.initialized() else None


class HubSide:
    """The hub side of one token service: a client, an agent, and where the pages are."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = logging.getLogger("jhub_tokens.hub")
        self.client = TokenServiceClient(self.api_url, settings.token)
        self.glass = BreakGlass(
            settings.state_dir, settings.hub_name, settings.break_glass_longest_ms
        )
        self.agent = Agent(
            self.client, glass=self.glass, hub_name=settings.hub_name, token=settings.token
        )

    @property
    def service_path(self) -> str:
        """The path under which the proxy serves the token service, with a final slash."""
        app = hub_app()
        base_url = app.base_url if app is not None else "/"
        return f"{base_url.rstrip('/')}/services/{self.settings.service_name}/"

    @property
    def console_url(self) -> str:
        """Where a browser finds the service's pages: on a host of its own with subdomains."""
        app = hub_app()
        service = app._service_map.get(self.settings.service_name) if app is not None else None
        return str(service.href) if service is not None else self.service_path

    @property
    def url_from_servers(self) -> str:
        """Where members' servers find the service: through the proxy, like browsers."""
        app, root = hub_app(), self.settings.url_from_servers
        if root or app is None:
            return f"{root.rstrip('/')}{self.service_path}"
        parts = urlsplit(app.public_url or app.bind_url)
        host = parts.hostname if parts.hostname not in ("", "*", "0.0.0.0", "::", None) else ""
        netloc = parts.netloc if host else f"127.0.0.1:{parts.port or 80}"
        return urljoin(f"{parts.scheme}://{netloc}", self.console_url)

    def api_url(self) -> str:
        """Return the root of the service's API."""
        return f"{self.settings.service_url.rstrip('/')}{self.service_path}api/v1"


_current: HubSide | None = None


def install(settings: Settings) -> HubSide:
    """Make the hub side of this process; the same settings give the same one."""
    global _current
    if _current is None or _current.settings != settings:
        _current = HubSide(settings)
    return _current


def current() -> HubSide:
    """Return the hub side of this process.

    Raises
    ------
    RuntimeError
        If `jhub_tokens.hub.configure` was not called in ``jupyterhub_config.py``.
    """
    if _current is None:
        raise RuntimeError(
            "jhub-tokens is not configured in this hub: call "
            "jhub_tokens.hub.configure(c, catalogue=…) in jupyterhub_config.py"
        )
    return _current
