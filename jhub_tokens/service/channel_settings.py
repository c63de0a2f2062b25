"""Channels beside the console, from the environment: the mail server, and webhooks."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from jhub_tokens.i18n import _
from jhub_tokens.service.errors import SettingsError

__all__ = [
    "MailSettings",
    "WebhookSettings",
    "bad_address",
    "mail_settings_from",
    "public_url_from",
    "webhook_settings_from",
]

Security = Literal["starttls", "tls", "none"]
_PORTS: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
#: What the Standard Webhooks specification asks of a secret.
_SECRET_BYTES = range(24, 65)
_ADDRESS_CHARACTERS_MAX = 254


@dataclass(frozen=True, slots=True)
class MailSettings:
    """The server that takes our mail.

    Parameters
    ----------
    host, port
        Where it is.
    security
        ``starttls``, ``tls`` from the first byte on, or ``none``.
    sender
        The address from which members get mail.
    username, password
        For signing in; both empty: the server asks for none.
    """

    host: str
    port: int
    security: Security
    sender: str
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where every notice is posted to.

    Parameters
    ----------
    urls
        The receivers.
    secret
        What bodies are signed with.
    """

    urls: tuple[str, ...]
    secret: bytes = field(repr=False)

    @property
    def channels(self) -> dict[str, str]:
        """The receivers by the name of their channel, which stays when others come or go."""
        return {
            f"webhook:{hashlib.sha256(url.encode()).hexdigest()[:16]}": url for url in self.urls
        }


def mail_settings_from(env: Mapping[str, str]) -> MailSettings | None:
    """Read the mail server's settings, None if there is none.

    Raises
    ------
    SettingsError
        If one is missing or cannot be used.
    """
    host = env.get("JHUB_TOKENS_SMTP_HOST", "").strip()
    if not host:
        return None
    security = env.get("JHUB_TOKENS_SMTP_SECURITY", "").strip().lower() or "starttls"
    if security not in get_args(Security):
        choices = ", ".join(get_args(Security))
        raise SettingsError(f"JHUB_TOKENS_SMTP_SECURITY={security}: write one of {choices}")
    port = env.get("JHUB_TOKENS_SMTP_PORT", "").strip() or str(_PORTS[security])
    if not port.isdecimal() or not 0 < int(port) <= 65535:
        raise SettingsError(f"JHUB_TOKENS_SMTP_PORT={port}: give a number from 1 to 65535")
    sender = env.get("JHUB_TOKENS_MAIL_FROM", "").strip()
    if problem := bad_address(sender):
        raise SettingsError(f"JHUB_TOKENS_MAIL_FROM={sender}: {problem}")
    username = env.get("JHUB_TOKENS_SMTP_USER", "").strip()
    password = _secret(env, "JHUB_TOKENS_SMTP_PASSWORD")
    if bool(username) != bool(password):
        raise SettingsError(
            "set JHUB_TOKENS_SMTP_USER and JHUB_TOKENS_SMTP_PASSWORD together, or neither"
        )
    if username and security == "none" and host not in _LOCAL_HOSTS:
        raise SettingsError(
            "JHUB_TOKENS_SMTP_SECURITY=none: the password would travel in the clear; write "
            "starttls or tls, or leave out user and password"
        )
    return MailSettings(host, int(port), security, sender, username, password)  # type: ignore[arg-type]


def webhook_settings_from(env: Mapping[str, str]) -> WebhookSettings | None:
    """Read the webhooks' settings, None if there are none.

    Raises
    ------
    SettingsError
        If a URL or the secret cannot be used.
    """
    urls = tuple(dict.fromkeys(env.get("JHUB_TOKENS_WEBHOOK_URLS", "").split()))
    if not urls:
        return None
    for url in urls:
        if not _is_http(url):
            raise SettingsError(
                f"JHUB_TOKENS_WEBHOOK_URLS: {url} is no address of a receiver; write "
                "https://… and a blank between two of them"
            )
    text = _secret(env, "JHUB_TOKENS_WEBHOOK_SECRET")
    try:
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) not in _SECRET_BYTES:
        raise SettingsError(
            "JHUB_TOKENS_WEBHOOK_SECRET: write whsec_ and 24 to 64 random bytes in base64, such "
            "as from: echo whsec_$(openssl rand -base64 32)"
        )
    return WebhookSettings(urls, secret)


def public_url_from(env: Mapping[str, str], *, needed: bool) -> str:
    """Read the service's whole address as a browser sees it, with a slash at the end.

    Raises
    ------
    SettingsError
        If it is needed, for links in e-mails, and missing or no address.
    """
    url = env.get("JHUB_TOKENS_PUBLIC_URL") or env.get("JUPYTERHUB_PUBLIC_URL", "")
    if not url and not needed:
        return ""
    if not _is_http(url):
        raise SettingsError(
            f"JHUB_TOKENS_PUBLIC_URL={url}: links in e-mails need this service's whole address, "
            "such as https://hub.example.org/services/tokens/"
        )
    return url.rstrip("/") + "/"


def bad_address(text: str) -> str:
    """Return what is wrong with an e-mail address, empty if nothing is."""
    hint = _("write an address such as ada@example.org")
    if len(text) > _ADDRESS_CHARACTERS_MAX or not text.isascii() or not text.isprintable():
        return hint
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, MessageError):  # the parser raises them all
        return hint
    whole = address.username and "." in address.domain and " " not in text
    return "" if whole and address.addr_spec == text else hint


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _secret(env: Mapping[str, str], name: str) -> str:
    """Return a secret from a variable, or from the file that ``…_FILE`` names."""
    path = env.get(f"{name}_FILE", "")
    if not path:
        return env.get(name, "").strip()
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}_FILE={path}: cannot be read: {error}") from None
