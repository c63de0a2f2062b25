"""Requests to the API server, counted by its own audit log: who asked for what."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["AuditLog", "Asked"]


@dataclass(slots=True)
class Asked:
    """What the accounts of one namespace asked for."""

    by_kind: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many requests it were."""
        return self.by_kind.total()

    def each(self, count: int) -> str:
        """Return how many for each of `count` things, with what they were."""
        parts = ", ".join(f"{n / count:.2g} {kind}" for kind, n in self.by_kind.most_common())
        return f"{self.total / count:.2f} ({parts})" if parts else "0"


class AuditLog:
    """The audit log of a cluster, of which one line is one request."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def mark(self) -> int:
        """Return the present end of the log."""
        return self._path.stat().st_size if self._path.exists() else 0

    def since(self, mark: int, namespace: str) -> Asked:
        """Return what the accounts of a namespace have asked for since a mark."""
        asked = Asked()
        prefix = f"system:serviceaccount:{namespace}:"
        if not self._path.exists():
            return asked
        with self._path.open("rb") as file:
            file.seek(mark)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written
                event = json.loads(line)
                if event["user"]["username"].startswith(prefix):
                    what = event.get("objectRef", {}).get("resource", event["requestURI"])
                    asked.by_kind[f"{event['verb']} {what}"] += 1
        return asked
