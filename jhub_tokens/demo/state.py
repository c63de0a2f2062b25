"""The demo's state directory: books, members' files and settings, kept between runs."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.command_error import CommandError
from jhub_tokens.demo.tools import free_port

__all__ = ["SETTINGS_FILE", "default_state_dir", "lock_state", "prepare_state"]

#: Says where a demo's books are, so that commands need only be told of its state.
SETTINGS_FILE = "settings.json"
PASSWORD = "demo"
ADMIN = "admin"
_PORT_KEYS = ("hub_port", "proxy_port", "service_port")


def default_state_dir() -> Path:
    """Return where the demo keeps its state unless told otherwise."""
    data_home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data_home).expanduser() / "jhub-tokens" / "demo"


@contextmanager
def lock_state(state: Path, *, reset: bool) -> Iterator[None]:
    """Create the state directory, empty it if asked to, and hold it for one demo.

    Raises
    ------
    CommandError
        If another demo holds it, it cannot be written, or it is not a demo's to empty.
    """
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(state / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandError(
            f"--state: {state} cannot be written: {error.strerror}; name another directory"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(
                f"another demo is running on {state}: stop it with Ctrl-C in its terminal, "
                "or name another directory with --state"
            ) from None
        if reset:
            _empty(state)
        yield
    finally:
        os.close(lock)


def _empty(state: Path) -> None:
    others = [path for path in state.iterdir() if path.name != "demo.lock"]
    if others and not (state / SETTINGS_FILE).is_file():
        # --reset with a mistyped --state must not empty somebody's home directory.
        raise CommandError(f"--reset: {state} holds files but no demo's state; nothing was removed")
    for path in others:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def prepare_state(
    state: Path, *, port: int, catalogue_path: Path, catalogue: Catalogue, proxy_command: list[str]
) -> dict[str, Any]:
    """Write the settings that the hub's configuration and the other commands read.

    Ports and secrets of an earlier run are kept, so that servers that outlived it are found.
    """
    path = state / SETTINGS_FILE
    earlier = _read(path)
    settings: dict[str, Any] = {
        "state": str(state),
        "port": port,
        "database": f"sqlite:///{state / 'tokens.sqlite'}",
        "catalogue": str(catalogue_path),
        "password": PASSWORD,
        "members": _members(catalogue),
        "proxy_command": proxy_command,
        "proxy_token": earlier.get("proxy_token") or secrets.token_hex(32),
    }
    taken = {port}
    for key in _PORT_KEYS:
        kept = earlier.get(key)
        settings[key] = free_port(kept if isinstance(kept, int) else 0, taken)
        taken.add(settings[key])
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(settings, file, indent=2)
    temporary.replace(path)
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _members(catalogue: Catalogue) -> list[dict[str, str]]:
    """Return the members that the sign-in page offers: those whom the catalogue names."""
    named = dict.fromkeys(name for rule in catalogue.assign for name in rule.members)
    members = [(name, catalogue.plan_for(name), "") for name in named if name != ADMIN]
    members.append((ADMIN, catalogue.plan_for(ADMIN), "sees all members and grants tokens"))
    return [
        {"name": name, "plan": plan.title, "description": extra or plan.description}
        for name, plan, extra in members
    ]
