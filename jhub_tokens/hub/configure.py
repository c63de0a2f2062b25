"""One call in ``jupyterhub_config.py`` that brings the token economy into any hub."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from jupyterhub._data import DATA_FILES_PATH
from jupyterhub.app import JupyterHub
from jupyterhub.auth import PAMAuthenticator
from jupyterhub.spawner import LocalProcessSpawner
from traitlets.config.loader import LazyConfigValue
from traitlets.utils.importstring import import_item

from jhub_tokens import i18n
from jhub_tokens.hub import runtime
from jhub_tokens.hub.arguments import (
    ConfigurationError,
    can_keep,
    checked_hours_ms,
    checked_token,
    checked_url,
    free_port,
    kept_token,
    make_private,
)
from jhub_tokens.hub.merging import (
    SERVER_SCOPE,
    merge_extensions,
    merge_member_scopes,
    merge_roles,
    merge_service,
    merge_template_paths,
)
from jhub_tokens.hub.scopes import START_SCOPE, start_scopes
from jhub_tokens.hub.translating import PageTexts
from jhub_tokens.hub.view import PageView

__all__ = ["ConfigurationError", "configure"]

READ_SCOPE = "custom:jhub-tokens:read"
GRANT_SCOPE = "custom:jhub-tokens:grant"
TEMPLATES = Path(__file__).with_name("templates")
_ports: dict[tuple[str, int | None], int] = {}


def configure(
    c: Any,
    *,
    catalogue: str | Path | None = None,
    state_dir: str | Path = "jhub-tokens",
    database_url: str | None = None,
    service_name: str = "tokens",
    service_port: int | None = None,
    managed: bool = True,
    service_url: str | None = None,
    token: str | None = None,
    service_environment: dict[str, str] | None = None,
    hub_name: str = "hub",
    break_glass_hours: float = 8,
    groups_from: runtime.GroupsFrom | None = None,
    url_from_servers: str | None = None,
) -> None:
    """Wire the token service, its roles and scopes, the gate and the pages into a hub.

    It adds to what the configuration holds and takes nothing away, wherever in the file it is
    called: roles, services, hooks, template paths and variables of the operator stay. The
    spawner and authenticator classes are kept, too, with the gate and the membership put before
    them; a hub that uses the `DemoAuthenticator` or the `PasswordAuthenticator` and names no
    spawner gets the embedded local one. Without this call the hub is what it was before.

    Parameters
    ----------
    c
        The configuration object of ``jupyterhub_config.py``.
    catalogue
        The YAML file of plans, profiles, images and rules for signing in. With a mistake in it
        the hub does not start, and says on which line; a file that is changed for the worse
        later is not used, and the last good one stays. For a service that the hub does not
        manage, give it as well if its rules are about what a sign-in provider says.
    state_dir
        A directory for the service's token and, by default, the database; made if missing,
        readable to the hub's user only. Where the service is not managed it keeps what
        ``jhub-tokens break-glass`` needs, and should outlive the hub.
    database_url
        SQLAlchemy URL of the books; by default an SQLite file in `state_dir`.
    service_name
        The service's name in the hub, and so its path ``/services/NAME/``.
    service_port
        The local port of a managed service. By default, or if this one is taken, a free one.
    managed
        Whether the hub starts and stops the service. If not, give `service_url` and `token`.
    service_url
        Scheme, host and port at which the hub reaches a service that it does not manage.
    token
        The token that hub and service share; by default one is made and kept in `state_dir`.
    service_environment
        More environment variables for a managed service, such as ``JHUB_TOKENS_LOG_FORMAT``.
    hub_name
        Tells hubs apart that share one token service.
    break_glass_hours
        How long an operator may let starts through at most while the service is away; 0: never.
    groups_from
        Who owns the hub's groups, and so the teams: the sign-in ``"provider"``, which sets them
        at each sign-in, or the ``"hub"``, where administrators edit them. By default as the
        authenticator's own ``manage_groups`` says.
    url_from_servers
        Scheme, host and port of the proxy as members' servers reach it, for the JupyterLab
        extension, such as ``http://proxy-public`` on Kubernetes. By default the hub's
        ``public_url``, else its ``bind_url``.

    Raises
    ------
    ConfigurationError
        If an argument is missing or cannot be used.
    """
    directory = Path(state_dir).expanduser().absolute()
    if groups_from not in (None, "provider", "hub"):
        raise ConfigurationError(
            f"configure(): groups_from is {groups_from!r}; write 'provider' or 'hub'"
        )
    catalogue_path = None if catalogue is None else Path(catalogue).expanduser().absolute()
    if managed:
        if catalogue is None:
            raise ConfigurationError(
                "configure(): catalogue is missing; give the path of a YAML file with plans and "
                "profiles"
            )
        if service_url is not None:
            raise ConfigurationError(
                "configure(): service_url is for a service that the hub does not manage; add "
                "managed=False, or leave it out"
            )
        make_private(directory)
        # The same when called again: one hub, one service.
        port = _ports.get((service_name, service_port)) or free_port(service_port)
        _ports[service_name, service_port] = port
        url = f"http://127.0.0.1:{port}"
        shared_token = checked_token(token or kept_token(directory))
    else:
        url = checked_url(service_url)
        if token is None:
            raise ConfigurationError(
                "configure(): token is missing; with managed=False give the token that the "
                "service was started with (JUPYTERHUB_API_TOKEN there)"
            )
        shared_token = checked_token(token)
    longest_ms = checked_hours_ms(break_glass_hours)
    keeps = bool(longest_ms) and (managed or can_keep(directory))
    service: dict[str, Any] = {
        "name": service_name,
        "url": url,
        "api_token": shared_token,
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": [
            f"access:services!service={service_name}",
            "read:users!user",
            f"{READ_SCOPE}!user",
            # Nobody gets more than they have: for those who may read or grant without being admin.
            READ_SCOPE,
            GRANT_SCOPE,
        ],
    }
    if managed:
        service["command"] = [sys.executable, "-m", "jhub_tokens", "serve"]
        # Not in the command line, which every user of the machine can read.
        service["environment"] = {
            "JHUB_TOKENS_CATALOGUE": str(catalogue_path),
            "JHUB_TOKENS_DATABASE": database_url or f"sqlite:///{directory / 'books.sqlite'}",
            # A killed hub must not leave it behind on its port.
            "JHUB_TOKENS_EXIT_WITH_PARENT": "1",
            **{k: v for k, v in os.environ.items() if k.startswith("JHUB_TOKENS_LOG_")},
            **(service_environment or {}),
        }
    runtime.install(
        runtime.Settings(
            service_name=service_name,
            service_url=url,
            token=shared_token,
            hub_name=hub_name,
            state_dir=directory if keeps else None,
            break_glass_longest_ms=longest_ms,
            catalogue_path=None if catalogue_path is None else str(catalogue_path),
            groups_from=groups_from,
            url_from_servers=checked_url(url_from_servers, "url_from_servers")
            if url_from_servers
            else "",
        )
    )
    i18n.load()  # now: at the first page it would hold the hub's event loop
    additions = _Additions(service, _profiles(catalogue_path))
    additions.to_config(c)
    if JupyterHub.initialized() and JupyterHub.instance().subapp is None:
        # Whatever the file sets below this call, and the command line, is merged as well: the
        # hub takes all its values from the finished configuration and then tells of them.
        JupyterHub.instance().observe(
            lambda change: additions.to_app(change.owner),
            names=[*_EMPTY, "spawner_class", "authenticator_class"],
        )
        runtime.current().glass.load()
        runtime.current().agent.ensure_started()


class _Additions:
    """What is added to a hub, to its configuration object and to its own traits alike."""

    def __init__(self, service: dict[str, Any], profiles: list[str]) -> None:
        self.service = service
        name = service["name"]
        self.service_role = {
            "name": f"jhub-tokens-{name}".lower(),
            "description": "Stop servers whose balance has run out",
            # read:users tells when a user was created, which narrow tokens do not.
            "scopes": ["read:users", "delete:servers"],
            "services": [name],
        }
        self.member_scopes = [
            f"access:services!service={name}",
            f"{READ_SCOPE}!user",
            f"{START_SCOPE}!user",
            # Nobody but a server's own token asks for it, and that one for its server alone.
            f"{SERVER_SCOPE}!user",
        ]
        self.custom_scopes = {
            **start_scopes(profiles),
            READ_SCOPE: {"description": "Read balances and statements"},
            GRANT_SCOPE: {
                "description": "Grant tokens, and freeze memberships",
                "subscopes": [READ_SCOPE],
            },
            SERVER_SCOPE: {
                "description": "Read a running server's balance, keep it running, stop it"
            },
        }
        self.view = PageView()
        self._adding = False

    def to_config(self, c: Any) -> None:
        """Add to a configuration object, for hubs of which we do not see the application."""
        hub = c.JupyterHub
        hub.update(self._merged(lambda name: _present(hub, name), _hub_templates()))
        try:
            spawner = _resolve(hub.get("spawner_class"), "jupyterhub.spawners")
            authenticator = _resolve(hub.get("authenticator_class"), "jupyterhub.authenticators")
        except ImportError:
            return  # the hub itself says best which class it cannot find
        hub["spawner_class"], hub["authenticator_class"] = _classes(spawner, authenticator)

    def to_app(self, app: Any) -> None:
        """Add to a hub that has just taken its values from the finished configuration."""
        if self._adding:
            return  # told of what we have set ourselves
        self._adding = True
        try:
            templates = [str(path) for path in app._template_paths_default()]
            for name, value in self._merged(lambda name: getattr(app, name), templates).items():
                setattr(app, name, value)
            app.spawner_class, app.authenticator_class = _classes(
                app.spawner_class, app.authenticator_class
            )
        finally:
            self._adding = False

    def _merged(self, present: Callable[[str], Any], templates: list[str]) -> dict[str, Any]:
        # JupyterHub 5 has no such trait.
        extra = "extra_user_scopes" in JupyterHub.class_trait_names()
        roles, scopes = merge_member_scopes(
            present("load_roles"),
            set(present("extra_user_scopes")) if extra else None,
            self.member_scopes,
        )
        merged = {
            "load_roles": merge_roles(roles, self.service_role),
            "services": merge_service(present("services"), self.service),
            "custom_scopes": {**self.custom_scopes, **present("custom_scopes")},
            "template_paths": merge_template_paths(present("template_paths"), TEMPLATES, templates),
            "template_vars": {"jhub_tokens": self.view, **present("template_vars")},
            "jinja_environment_options": merge_extensions(
                present("jinja_environment_options"), PageTexts
            ),
        }
        if scopes is not None:
            merged["extra_user_scopes"] = scopes
        return merged


_EMPTY: dict[str, type] = {
    "custom_scopes": dict,
    "extra_user_scopes": set,
    "jinja_environment_options": dict,
    "load_roles": list,
    "services": list,
    "template_paths": list,
    "template_vars": dict,
}


def _present(section: Any, name: str) -> Any:
    """Return what a section of the configuration holds under `name`; empty if nothing."""
    value = section.get(name)
    if value is None:
        return _EMPTY[name]()
    if isinstance(value, LazyConfigValue):  # c.JupyterHub.services.append(…)
        return value.get_value(_EMPTY[name]())
    return value


def _hub_templates() -> list[str]:
    return [str(Path(DATA_FILES_PATH) / "templates")]


def _classes(spawner: Any, authenticator: Any) -> tuple[type, type]:
    """Return the gated spawner class and the authenticator class with membership."""
    from jhub_authenticator import DemoAuthenticator, PasswordAuthenticator, with_membership
    from jhub_spawner import TokenWorkspaceSpawner, gated

    if authenticator is None:
        authenticator = PAMAuthenticator  # the hub's own default
    unnamed = spawner in (None, LocalProcessSpawner, gated(LocalProcessSpawner))
    if unnamed and issubclass(authenticator, DemoAuthenticator | PasswordAuthenticator):
        # The hub's own default wants root, and a system account of each member's name.
        return TokenWorkspaceSpawner, authenticator
    if spawner is None:
        spawner = LocalProcessSpawner
    return gated(spawner), with_membership(authenticator)


def _profiles(catalogue_path: Path | None) -> list[str]:
    """Return the profiles that API tokens can be limited to; the authenticator tells mistakes."""
    from jhub_tokens.catalogue import CatalogueError, load_catalogue

    try:
        return [] if catalogue_path is None else list(load_catalogue(catalogue_path).profiles)
    except CatalogueError:
        return []


def _resolve(value: Any, group: str) -> Any:
    """Return the class that a configuration names by entry point or import string."""
    if not isinstance(value, str):
        return value
    for entry_point in entry_points(group=group, name=value.lower()):
        return entry_point.load()
    return import_item(value)
