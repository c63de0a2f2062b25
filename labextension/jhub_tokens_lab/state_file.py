"""The last known state, in a file that only the member can read, for terminals."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["read", "write"]


def _name(server: str) -> str:
    """Return the name of a server's file: a server may be called anything, "../x" included."""
    return f"jhub-tokens-{quote(server, safe='')}.json" if server else "jhub-tokens.json"


def write(directory: Path, server: str, state: dict[str, Any]) -> None:
    """Write the state of a server; whoever reads sees the old one or the new one, whole."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / _name(server)
    fresh = path.with_suffix(".new")
    if fresh.exists():
        fresh.unlink()  # left by a server that died in this very moment
    descriptor = os.open(str(fresh), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({**state, "written_s": time.time()}, file)
    fresh.replace(path)


def read(directory: Path, server: str | None) -> dict[str, Any] | None:
    """Return the state of a server, by default of the one that wrote last; None if there is none.

    Its ages are counted on to now.
    """
    if server is not None:
        paths = [directory / _name(server)]
    else:
        found = directory.glob("jhub-tokens*.json")
        paths = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths:
        try:
            state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        passed_ms = max(0, round((time.time() - state["written_s"]) * 1000))
        state["age_ms"] += passed_ms
        for name in ("left_ms", "keep_left_ms"):
            if state[name] is not None:
                state[name] -= passed_ms
        return state
    return None
