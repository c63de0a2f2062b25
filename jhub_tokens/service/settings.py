"""What the service is told from outside: command line first, then the environment."""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from jhub_tokens.service.channel_settings import (
    MailSettings,
    WebhookSettings,
    mail_settings_from,
    public_url_from,
    webhook_settings_from,
)
from jhub_tokens.service.cluster.settings import ClusterSettings, cluster_settings_from
from jhub_tokens.service.errors import SettingsError
from jhub_tokens.service.ssh_settings import gateway_token_from, ssh_settings_from

__all__ = ["Settings", "SettingsError", "add_arguments", "settings_from"]

_DEFAULT_URL = "http://127.0.0.1:10150"
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_SECRET_LENGTH_MIN = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the service is told, checked.

    Parameters
    ----------
    catalogue_path
        The catalogue's YAML file; need not exist yet (the service answers 503 until it does).
    database_url
        SQLAlchemy URL of the books.
    listen_host, listen_port
        Where to listen; port 0 takes any free one.
    base_url
        Path prefix of every route, with slashes at both ends.
    hub_url
        The hub's prefix as a browser sees it, with a slash at the end.
    service_token
        The token that the hub side and this service share; it is also this service's own hub
        API token. Never empty.
    cookie_key
        What cookies are signed and sealed with, the same on every replica; empty: a key made
        from the service's token, which replicas share in any case.
    may_migrate
        Whether the service may create or upgrade the schema of its books, where its database
        role owns them.
    service_name
        The service's name in the hub.
    hub_api_url
        The hub's API as this process reaches it.
    oauth_client_id
        The service's OAuth client id.
    drain_s
        For how many seconds requests are still answered once the service is told to stop, while
        whoever sends them learns to send them elsewhere; 0: it stops at once.
    exit_with_parent
        Whether to exit when the process that started this one is gone; the hub asks for it in
        the environment of a service that it manages.
    open_metrics
        Whether ``/metrics`` may be read without signing in.
    public_url
        The service's whole address as a browser sees it, for links in e-mails and to come back
        to after paying; may be empty where there is neither.
    mail
        The mail server; None: members get no e-mail.
    webhook
        Where every notice is posted to; None: nowhere.
    payments
        Who collects money: nobody (empty), ``manual`` or ``stripe``.
    stripe_key, stripe_webhook_secret
        Stripe's secrets, from the environment only.
    stripe_api_base
        Another address of Stripe's API, for tests.
    seal_every_ms
        How long after a seal of the books the next one is due; 0: they are not sealed.
    seal_file
        Where seals are appended to, to be kept outside the database; None: only the log has them.
    seal_key
        What seals are signed with outside the database, from the environment only.
    server_token_cache_s
        How long the hub's word about a running server's token holds for its reports; what a
        server asks for is checked afresh each time.
    cluster
        The Kubernetes cluster to look at; None: there is none.
    ssh
        How SSH gets into a server: not at all (empty), by ``tunnel`` through the hub, through our
        gateway at ``gateway:HOST:PORT``, or at the ``HOST:PORT`` of another.
    ssh_user
        Whom to sign in as there.
    ssh_pod_port
        Where sshd listens in a pod.
    gateway_token
        What our gateway shows when it asks; empty: there is none.
    """

    catalogue_path: Path
    database_url: str
    service_token: str
    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    base_url: str = "/services/tokens/"
    hub_url: str = "/hub/"
    service_name: str = "tokens"
    hub_api_url: str = "http://127.0.0.1:8081/hub/api"
    oauth_client_id: str = "service-tokens"
    cookie_key: str = field(default="", repr=False)
    may_migrate: bool = True
    drain_s: int = 0
    exit_with_parent: bool = False
    open_metrics: bool = False
    log_format: str = "console"
    log_level: str = "info"
    reader_threads: int = 3
    public_url: str = ""
    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None
    payments: str = ""
    stripe_key: str = field(default="", repr=False)
    stripe_webhook_secret: str = field(default="", repr=False)
    stripe_api_base: str = ""
    seal_every_ms: int = 0
    seal_file: Path | None = None
    seal_key: str = field(default="", repr=False)
    server_token_cache_s: int = 300
    cluster: ClusterSettings | None = None
    ssh: str = ""
    ssh_user: str = "jovyan"
    ssh_pod_port: int = 2222
    gateway_token: str = field(default="", repr=False)

    @property
    def console_url(self) -> str:
        """Where a browser finds the console: a path, or the whole address where that is known."""
        return self.public_url or self.base_url

    @property
    def cookie_secret(self) -> bytes:
        """The key that signs cookies: the same after a restart and on every replica."""
        key = self.cookie_key or self.service_token
        return hmac.digest(key.encode(), b"jhub-tokens cookie secret", hashlib.sha256)

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file if it is SQLite on disk, else None."""
        scheme, _, rest = self.database_url.partition("://")
        if scheme.partition("+")[0] != "sqlite":
            return None
        path = rest.removeprefix("/").partition("?")[0]
        return Path(path) if path and path != ":memory:" else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens serve``."""
    parser.add_argument(
        "--catalogue",
        metavar="FILE",
        help="plans, profiles and images (YAML); environment: JHUB_TOKENS_CATALOGUE",
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="database of the books, an SQLAlchemy URL or the path of an SQLite file; "
        "environment: JHUB_TOKENS_DATABASE",
    )
    parser.add_argument(
        "--url",
        help=f"where to listen, such as {_DEFAULT_URL}; environment: JUPYTERHUB_SERVICE_URL",
    )
    parser.add_argument("--port", type=int, help="listen on this port of the URL's host instead")
    parser.add_argument(
        "--cluster",
        choices=("in-cluster", "kubeconfig"),
        help="look at the Kubernetes cluster where servers run, with the pod's own account or a "
        "kubeconfig; environment: JHUB_TOKENS_CLUSTER",
    )
    parser.add_argument(
        "--log-format",
        choices=("console", "json"),
        help="lines for people or for machines; environment: JHUB_TOKENS_LOG_FORMAT",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="the least severe line to write; environment: JHUB_TOKENS_LOG_LEVEL",
    )


def settings_from(args: argparse.Namespace, env: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from parsed arguments and the environment.

    Raises
    ------
    SettingsError
        If a setting is missing or makes no sense.
    """
    env = os.environ if env is None else env

    def pick(option: str, *variables: str) -> str:
        value = getattr(args, option, None)
        return str(value) if value else next((env[name] for name in variables if env.get(name)), "")

    catalogue = pick("catalogue", "JHUB_TOKENS_CATALOGUE")
    if not catalogue:
        raise SettingsError("no catalogue: give --catalogue FILE or set JHUB_TOKENS_CATALOGUE")
    database = pick("database", "JHUB_TOKENS_DATABASE")
    if not database:
        raise SettingsError("no database: give --database URL or set JHUB_TOKENS_DATABASE")
    host, port = _address(pick("url", "JUPYTERHUB_SERVICE_URL") or _DEFAULT_URL)
    if getattr(args, "port", None) is not None:
        port = args.port
    if not 0 <= port <= 65535:
        raise SettingsError(f"--port {port}: give a number from 1 to 65535, or 0 for any free port")
    token = env.get("JUPYTERHUB_API_TOKEN", "")
    if not token:
        raise SettingsError(
            "no service token: let the hub start this service, or set JUPYTERHUB_API_TOKEN to "
            "the api_token of this service in the hub's configuration"
        )
    name = env.get("JUPYTERHUB_SERVICE_NAME") or "tokens"
    mail = mail_settings_from(env)
    ssh, ssh_user = ssh_settings_from(env)
    cluster = cluster_settings_from(env, pick("cluster"))
    hub_prefix = _prefix(env.get("JUPYTERHUB_BASE_URL") or "/") + "hub/"
    return Settings(
        catalogue_path=Path(catalogue),
        database_url=_database_url(database),
        listen_host=host,
        listen_port=port,
        base_url=_prefix(env.get("JUPYTERHUB_SERVICE_PREFIX") or f"/services/{name}/"),
        hub_url=env.get("JUPYTERHUB_HOST", "") + hub_prefix,
        service_token=token,
        service_name=name,
        hub_api_url=env.get("JUPYTERHUB_API_URL") or f"http://127.0.0.1:8081{hub_prefix}api",
        oauth_client_id=env.get("JUPYTERHUB_CLIENT_ID") or f"service-{name}",
        cookie_key=_cookie_key(env),
        may_migrate=_flag(env, "JHUB_TOKENS_MIGRATE", default=True),
        drain_s=_seconds(env, "JHUB_TOKENS_DRAIN_S", 0, least=0),
        exit_with_parent=_flag(env, "JHUB_TOKENS_EXIT_WITH_PARENT", default=False),
        open_metrics=_flag(env, "JHUB_TOKENS_OPEN_METRICS", default=False),
        log_format=_choice(
            pick("log_format", "JHUB_TOKENS_LOG_FORMAT") or "console",
            "JHUB_TOKENS_LOG_FORMAT",
            ("console", "json"),
        ),
        log_level=_choice(
            pick("log_level", "JHUB_TOKENS_LOG_LEVEL") or "info",
            "JHUB_TOKENS_LOG_LEVEL",
            ("debug", "info", "warning", "error"),
        ),
        public_url=public_url_from(env, needed=mail is not None),
        mail=mail,
        webhook=webhook_settings_from(env),
        payments=_choice(
            env.get("JHUB_TOKENS_PAYMENTS", ""), "JHUB_TOKENS_PAYMENTS", ("", "manual", "stripe")
        ),
        stripe_key=env.get("JHUB_TOKENS_STRIPE_KEY", ""),
        stripe_webhook_secret=env.get("JHUB_TOKENS_STRIPE_WEBHOOK_SECRET", ""),
        stripe_api_base=env.get("JHUB_TOKENS_STRIPE_API", ""),
        seal_every_ms=_minutes(env, "JHUB_TOKENS_SEAL_MINUTES", default=60) * 60_000,
        seal_file=Path(file) if (file := env.get("JHUB_TOKENS_SEAL_FILE", "")) else None,
        seal_key=env.get("JHUB_TOKENS_SEAL_KEY", ""),
        server_token_cache_s=_seconds(env, "JHUB_TOKENS_SERVER_TOKEN_CACHE", 300),
        cluster=cluster,
        ssh=ssh,
        ssh_user=ssh_user,
        ssh_pod_port=_port(env, "JHUB_TOKENS_SSH_POD_PORT", 2222),
        gateway_token=gateway_token_from(env, ssh, sees_pods=cluster is not None),
    )


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"--url {url}: {error}; write it like {_DEFAULT_URL}") from None
    if parts.scheme not in ("", "http") or not parts.hostname:
        raise SettingsError(f"--url {url}: cannot listen there; write it like {_DEFAULT_URL}")
    return parts.hostname, 80 if port is None else port


def _database_url(text: str) -> str:
    return text if "://" in text else f"sqlite:///{Path(text).expanduser()}"


def _prefix(path: str) -> str:
    return "/" + path.strip("/") + "/" if path.strip("/") else "/"


def _flag(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = env.get(name, "").strip().lower()
    if not text:
        return default
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise SettingsError(f"{name}={env[name]}: write 1 or 0")


def _minutes(env: Mapping[str, str], name: str, *, default: int) -> int:
    text = env.get(name, "").strip() or str(default)
    if not (text.isascii() and text.isdigit() and int(text) <= 10_080):
        raise SettingsError(f"{name}={text}: write whole minutes up to 10080, or 0 for never")
    return int(text)


def _cookie_key(env: Mapping[str, str]) -> str:
    key = env.get("JHUB_TOKENS_COOKIE_SECRET", "").strip()
    if key and len(key) < _SECRET_LENGTH_MIN:
        raise SettingsError(
            f"JHUB_TOKENS_COOKIE_SECRET has {len(key)} characters: give at least "
            f"{_SECRET_LENGTH_MIN}, the same to every replica; openssl rand -hex 32 makes one"
        )
    return key


def _seconds(env: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or not least <= int(text) <= 3600:
        raise SettingsError(f"{name}={text}: write whole seconds, {least} to 3600")
    return int(text)


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "").strip() or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise SettingsError(f"{name}={text}: write the number of a port, 1 to 65535")
    return int(text)


def _choice(text: str, name: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise SettingsError(f"{name}={text}: write one of {', '.join(filter(None, choices))}")
    return text
