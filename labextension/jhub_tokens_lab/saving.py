"""Saving what is open: tabs save what they hold, in turn, then checkpoints are written here.

Only a browser's tab holds unsaved edits, so it does the saving. Tabs take turns: two that hold
the same notebook must not race, and the second one sees that the file has changed and writes a
copy beside it. Checkpoints need no tab.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from jupyter_server.utils import ensure_async

__all__ = ["Saver", "Tab"]

#: A tab that does not answer by then is asleep, or gone.
TAB_TIMEOUT_S = 10.0


class Tab(Protocol):
    """A browser's tab, as far as saving is concerned."""

    documents: list[str]

    async def save(self, reason: str) -> dict[str, Any]:
        """Have the tab save; return what it says of it."""


class Saver:
    """Saves rounds of documents in one server.

    Parameters
    ----------
    contents, sessions
        The server's managers.
    log
        Its log.
    """

    def __init__(self, contents: Any, sessions: Any, log: Any) -> None:
        self._contents = contents
        self._sessions = sessions
        self._log = log
        self._written: dict[str, Any] = {}  # path: the change that its checkpoint holds
        self._lock = asyncio.Lock()

    async def save_all(
        self, tabs: Iterable[Tab], reason: str, within_s: float = 60.0
    ) -> dict[str, Any]:
        """Have every tab save, then write checkpoints; return what was saved and what was not."""
        async with self._lock:
            waiting = list(tabs)
            deadline = asyncio.get_running_loop().time() + within_s
            paths = await self._session_paths()
            done: dict[str, Any] = {"copies": [], "failed": [], "checkpoints": []}
            for place, tab in enumerate(waiting):
                left_s = deadline - asyncio.get_running_loop().time()
                # What is left is shared by those who have not had their turn.
                share_s = max(0.5, min(TAB_TIMEOUT_S, left_s / (len(waiting) - place)))
                paths |= set(tab.documents)
                try:
                    said = await asyncio.wait_for(tab.save(reason), share_s)
                except Exception as error:
                    self._log.warning("jhub-tokens: a tab did not save: %r", error)
                    done["failed"] += tab.documents
                    continue
                done["copies"] += said.get("copies", [])
                done["failed"] += said.get("failed", [])
                paths |= {*said.get("documents", []), *said.get("copies", [])}
            for path in sorted(paths):
                if await self._checkpoint(path):
                    done["checkpoints"].append(path)
            return done

    async def _session_paths(self) -> set[str]:
        """Return the documents whose kernels run, whether or not a tab shows them."""
        try:
            sessions = await ensure_async(self._sessions.list_sessions())
        except Exception as error:
            self._log.warning("jhub-tokens: sessions cannot be listed: %r", error)
            return set()
        return {s["path"] for s in sessions if s.get("path") and s.get("type") == "notebook"}

    async def _checkpoint(self, path: str) -> bool:
        """Write a checkpoint unless the last one holds the same; return whether there is one."""
        try:
            model = await ensure_async(self._contents.get(path, content=False))
            if model["type"] == "directory":
                return False
            if self._written.get(path) != model["last_modified"]:
                await ensure_async(self._contents.create_checkpoint(path))
                self._written[path] = model["last_modified"]
        except Exception as error:
            # Gone, read-only, on a drive without checkpoints, or a console's session.
            self._log.debug("jhub-tokens: no checkpoint of %s: %r", path, error)
            return False
        return True
