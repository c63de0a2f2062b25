"""The books and the catalogue, or why they cannot be opened.

The service listens from its first moment: a hub exits when a service that it manages does not
come up, and nobody may be locked out for a mistake in a file. Until both are open, `ledger` and
`catalogue` raise `Unavailable` with the reason; one line is logged for each new reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import structlog

from jhub_tokens.catalogue import Catalogue, CatalogueError, load_catalogue
from jhub_tokens.clock import Clock
from jhub_tokens.i18n import LANGUAGES, N_, language
from jhub_tokens.ledger import DatabaseProblem, Ledger, open_ledger
from jhub_tokens.service.errors import Unavailable, url_without_passwords
from jhub_tokens.service.executors import Workers
from jhub_tokens.service.process import DatabaseLock
from jhub_tokens.service.settings import Settings

__all__ = ["Books", "CatalogueSource"]

log = structlog.get_logger(__name__)

_RETRY_S = 2.0
_LOOK_AT_CATALOGUE_S = 2.0
#: A database that takes longer to say that it is there is of no use to those who wait.
_ANSWERS_WITHIN_S = 2.0


class CatalogueSource:
    """The catalogue's file: the last good version is kept while a newer one is broken.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""  #: why the file's present content is not used; empty if it is
        self._catalogue: Catalogue | None = None
        self._spoken: dict[str, Catalogue] = {}
        self._seen: tuple[int, int, int] | None = None
        self._digest = b""

    @property
    def current(self) -> Catalogue:
        """The last good catalogue.

        Raises
        ------
        Unavailable
            If there has been none yet.
        """
        if self._catalogue is None:
            raise Unavailable(
                f"The catalogue cannot be used: {self.problem or 'it has not been read yet'}",
                remedy="Correct the file; it is read again at once. "
                "`jhub-tokens check` names every mistake.",
            )
        return self._catalogue

    def spoken(self) -> Catalogue:
        """Return the last good catalogue in the language of the task; raises like `current`."""
        current = self.current
        return self._spoken.get(language(), current)

    def refresh(self) -> bool:
        """Read the file if it has changed; return whether `current` is another one now."""
        stamp = self._stamp()
        if stamp is not None and stamp == self._seen:
            return False
        self._seen = stamp
        try:
            digest = hashlib.sha256(self.path.read_bytes()).digest() if stamp else b""
            if digest and digest == self._digest and not self.problem:
                return False  # touched, not changed
            catalogue = load_catalogue(self.path)
        except (CatalogueError, OSError) as error:
            self._complain("; ".join(str(error).splitlines()))
            return False
        if self.problem and self._catalogue is not None:
            log.info("catalogue in use again", path=str(self.path))
        self.problem, self._digest = "", digest
        changed, self._catalogue = self._catalogue is not None, catalogue
        self._spoken = {code: catalogue.spoken(code) for code in LANGUAGES}
        if changed:
            log.info("catalogue reloaded", path=str(self.path))
        return changed

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _complain(self, problem: str) -> None:
        if problem == self.problem:
            return
        self.problem = problem
        if self._catalogue is None:
            log.error("catalogue cannot be used", problem=problem)
        else:
            log.warning("catalogue has mistakes, keeping the last good one", problem=problem)


class Books:
    """Opens the ledger and the catalogue, and keeps trying until both are there.

    Parameters
    ----------
    settings
        Where they are.
    clock
        What time it is.
    workers
        Threads for the blocking work.
    """

    def __init__(self, settings: Settings, clock: Clock, workers: Workers) -> None:
        self.source = CatalogueSource(settings.catalogue_path)
        self._settings = settings
        self._clock = clock
        self._workers = workers
        self._ledger: Ledger | None = None
        self._problem = Unavailable(
            N_("The token service is starting."), remedy=N_("Try again shortly."), public=True
        )
        self._on_change: list[Callable[[], None]] = []
        self._asked: asyncio.Future[None] | None = None
        path = settings.sqlite_path
        self._lock = DatabaseLock(path) if path else None

    @property
    def ledger(self) -> Ledger:
        """The ledger.

        Raises
        ------
        Unavailable
            If it is not open, with the reason and the remedy.
        """
        if self._ledger is None:
            raise self._problem.spoken()
        return self._ledger

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue in force, with its texts in the language of the task.

        Raises
        ------
        Unavailable
            If there has been no good one yet.
        """
        return self.source.spoken()

    @property
    def is_open(self) -> bool:
        """Whether ledger and catalogue are in use."""
        return self._ledger is not None

    @property
    def problem(self) -> Unavailable | None:
        """Why the books are closed, None while they are open."""
        return None if self.is_open else self._problem

    async def answer(self) -> bool:
        """Tell whether the books are open and their database answers."""
        if self._ledger is None:
            return False
        if self._asked is None or self._asked.done():
            # One question at a time: against a database that hangs they would pile up.
            self._asked = asyncio.ensure_future(self._workers.read(self._ledger.ping))
            self._asked.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        with contextlib.suppress(TimeoutError, DatabaseProblem, Unavailable):
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                await asyncio.shield(self._asked)
            return True
        return False

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the books have opened and when the catalogue has changed."""
        self._on_change.append(callback)

    async def keep_open(self) -> None:
        """Open the books, trying for as long as it takes, then follow the catalogue's file."""
        while not await self.try_open():
            await asyncio.sleep(_RETRY_S)
        while True:
            await asyncio.sleep(_LOOK_AT_CATALOGUE_S)
            try:
                changed = await self._workers.read(self.source.refresh)
            except Exception:
                log.exception("looking at the catalogue failed")
                continue
            if changed:
                self._tell()

    async def try_open(self) -> bool:
        """Try once; return whether the books are open."""
        if self._ledger is not None:
            return True
        try:
            self._ledger = await self._workers.write(self._open)
        except Unavailable as problem:
            self._remember(problem)
            return False
        except DatabaseProblem as error:
            self._remember(Unavailable(error.message, remedy=error.remedy))
            return False
        except Exception as error:
            log.debug("opening the books failed", exc_info=error)
            self._remember(
                Unavailable(
                    f"The books cannot be opened: {type(error).__name__}: {error}",
                    remedy="Look at the service's log at level debug.",
                )
            )
            return False
        log.info("books are open", database=url_without_passwords(self._settings.database_url))
        self._tell()
        return True

    def close(self) -> None:
        """Close the ledger and give the lock back."""
        ledger, self._ledger = self._ledger, None
        self._problem = Unavailable(N_("The token service is stopping."), public=True)
        if ledger is not None:
            ledger.close()
        if self._lock is not None:
            self._lock.release()

    def _open(self) -> Ledger:
        self.source.refresh()
        _ = self.source.current  # raises with the reason if there is none
        if self._lock is not None:
            self._lock.take()
        return open_ledger(
            self._settings.database_url,
            self._clock,
            lambda: self.source.current,
            may_migrate=self._settings.may_migrate,
        )

    def _remember(self, problem: Unavailable) -> None:
        if problem.message != self._problem.message:
            log.error("service is unavailable", reason=problem.message, remedy=problem.remedy)
        self._problem = problem

    def _tell(self) -> None:
        for callback in self._on_change:
            callback()
