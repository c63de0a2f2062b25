"""What a long-lived process must get right: one at a time on a database, and no orphans."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from jhub_tokens.service.errors import Unavailable

__all__ = ["DatabaseLock", "exit_with_parent"]

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 1.0


class DatabaseLock:
    """An exclusive lock beside an SQLite database: one token service at a time.

    The command line's own short writes do not take it; SQLite keeps those in order itself.

    Parameters
    ----------
    database
        The database's file; the lock is a file of the same name with ``.lock`` appended.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock, or keep it.

        Raises
        ------
        Unavailable
            If another process has it, or the folder cannot be written.
        """
        if self._file is not None:
            return
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                f"The database's folder {self.path.parent} cannot be written: {error.strerror}.",
                remedy="Create the folder and let the service's user write in it.",
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 32).decode("ascii", "replace").strip()
            os.close(file)
            raise Unavailable(
                "Another token service"
                + (f" (process {holder})" if holder.isdigit() else "")
                + f" has the database {self.path.with_suffix('')} open.",
                remedy="Stop that one, or give each service a database of its own.",
            ) from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it would race with a newcomer."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def exit_with_parent(stop: Callable[[], None]) -> asyncio.Task[None]:
    """Call `stop` once the process that started this one is gone.

    A hub starts its services in sessions of their own, so a killed hub would leave the service
    behind on its port. On Linux the kernel sends SIGTERM; looking at the parent's id every
    second covers other systems, and a parent that died before we asked.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    async def watch() -> None:
        while os.getppid() == parent:
            await asyncio.sleep(_LOOK_EVERY_S)
        log.warning("the hub that started this service is gone: exiting", parent=parent)
        stop()

    return asyncio.create_task(watch(), name="exit-with-parent")
