"""What `configure` is given, checked, and what it keeps in the hub's state directory."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

from tornado.log import app_log

__all__ = [
    "ConfigurationError",
    "can_keep",
    "checked_hours_ms",
    "checked_token",
    "checked_url",
    "free_port",
    "kept_token",
    "make_private",
]

_TOKEN_LENGTH_MIN = 16


class ConfigurationError(Exception):
    """An argument of `configure` that cannot be used; the message names it and the remedy."""


def make_private(directory: Path) -> None:
    """Make a directory that only the hub's user can read; raises `ConfigurationError`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(
            f"configure(): state_dir {directory} cannot be used ({error.strerror}); give a "
            "directory that the hub's user can write"
        ) from None


def can_keep(directory: Path) -> bool:
    """Make the state directory of a hub that needs it for break-glass only."""
    try:
        make_private(directory)
    except ConfigurationError as error:
        app_log.warning("Break-glass cannot be used on this hub: %s", error)
        return False
    return True


def checked_hours_ms(hours: float) -> int:
    """Return how long break-glass may last, in ms; raises `ConfigurationError`."""
    if not 0 <= hours <= 7 * 24:
        raise ConfigurationError(
            f"configure(): break_glass_hours is {hours!r}; give 0 to 168 hours, such as 8"
        )
    return round(hours * 3_600_000)


def kept_token(directory: Path) -> str:
    """Return the token of `directory`, making it the first time.

    It outlives the hub, so that a service of before a crash still knows the new hub. Raises
    `ConfigurationError`.
    """
    path = directory / "service-token"
    try:
        if path.exists() and (kept := path.read_text(encoding="ascii").strip()):
            return kept
        value = secrets.token_hex(32)
        # Written beside and renamed: a crash in between leaves no empty token behind.
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(value + "\n")
        fresh.replace(path)
        return value
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"configure(): the token in {path} cannot be read or written ({error}); make it "
            "accessible to the hub's user, or remove it for a new one"
        ) from None


def checked_token(token: str) -> str:
    """Return a token that is long enough; raises `ConfigurationError`."""
    if len(token) < _TOKEN_LENGTH_MIN or not token.isascii() or not token.isprintable():
        raise ConfigurationError(
            f"configure(): token must be at least {_TOKEN_LENGTH_MIN} printable ASCII characters; "
            "openssl rand -hex 32 makes one"
        )
    return token


def checked_url(url: str | None, name: str = "service_url") -> str:
    """Return scheme, host and port of an address; raises `ConfigurationError`."""
    parts = urlsplit(url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ConfigurationError(
            f"configure(): {name} is {url!r}; give scheme, host and port, such as "
            "http://tokens:10150" + (" (needed with managed=False)" if url is None else "")
        )
    return f"{parts.scheme}://{parts.netloc}"


def free_port(wanted: int | None) -> int:
    """Return a port that is free now, the wanted one if it is; raises `ConfigurationError`."""
    for port in (wanted, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError) as error:
                app_log.warning(
                    "configure(): service_port %s cannot be used (%s); taking a free one",
                    port,
                    error,
                )
                continue
            return int(probe.getsockname()[1])
    raise ConfigurationError("configure(): service_port: this machine has no free port")
