"""The rules of the catalogue on the hub's side: who may enter is decided at the sign-in.

Plans are decided by the token service, which owns the catalogue. Entry is decided here, from the
same file by the same code, since nobody may slip in while the service is away.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tornado.log import app_log

from jhub_tokens.catalogue import Catalogue, CatalogueError, load_catalogue

__all__ = ["RuleBook"]

_Stamp = tuple[int, int, int]


class RuleBook:
    """Reads the catalogue at the hub's start, and again when its file has changed.

    Parameters
    ----------
    path
        The catalogue's file; None where the hub does not have it, and so no rules.
    """

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self._catalogue: Catalogue | None = None
        self._stamp: _Stamp | None = None

    def load(self) -> None:
        """Read the file.

        Raises
        ------
        CatalogueError
            If it cannot be used; it names every mistake with its line.
        """
        if self._path is not None:
            stamp = self._look()
            self._catalogue, self._stamp = load_catalogue(self._path), stamp

    async def current(self) -> Catalogue | None:
        """Return the rules in force; a file that was changed for the worse is not used."""
        if self._path is not None and self._look() != self._stamp:
            self._stamp = self._look()  # a mistake is told once
            try:
                # Parsing takes longer than the hub's event loop should be held.
                self._catalogue = await asyncio.to_thread(load_catalogue, self._path)
            except CatalogueError as error:
                app_log.error("The rules for signing in stay as they were:\n%s", error)
        return self._catalogue

    def _look(self) -> _Stamp | None:
        assert self._path is not None
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino
