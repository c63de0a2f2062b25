"""Ending what a local server has brought forth: its kernels, and jobs that have left it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

import psutil

__all__ = [
    "GRACE_LEAST_S",
    "GRACE_MOST_S",
    "GRACE_RESERVE_S",
    "GRACE_VARIABLE",
    "Family",
    "lives",
]

#: Tells a server how long everything in it has to save when it is stopped: this repository's
#: images and JupyterLab extension give their kernels and jobs that time.
GRACE_VARIABLE = "JHUB_GRACE_SECONDS"
GRACE_LEAST_S, GRACE_MOST_S, GRACE_RESERVE_S = 5, 3600, 3
_POLL_S = 0.05
_TOKEN = "JUPYTERHUB_API_TOKEN"
#: They keep terminals open, and would take with them what saves inside.
_KEEPERS = ("tmux", "screen")


class Family:
    """The processes of one server, without the server itself.

    Its descendants, what is in its session, and what carries its API token in the environment:
    a job under ``nohup`` whose terminal was closed is nobody's child any more.
    """

    def __init__(self, pid: int, create_time_ms: int) -> None:
        self.members: set[psutil.Process] = set()
        self._pid = pid
        self._create_time_ms = create_time_ms
        self._token = _token_of(pid) if lives(pid, create_time_ms) else None
        self._under: set[psutil.Process] = set()  # descendants of the server
        self._asked: set[psutil.Process] = set()  # twice could disturb who saves

    @classmethod
    def of(cls, pid: int, create_time_ms: int) -> Family:
        """Return the family of a server; blocks while it looks at every process."""
        family = cls(pid, create_time_ms)
        family.grow()
        return family

    def grow(self) -> None:
        """Add what has come since; blocks as well."""
        recycled = psutil.pid_exists(self._pid) and not lives(self._pid, self._create_time_ms)
        parents: dict[int, int] = {}
        others: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                parents[process.pid] = process.ppid()
                own_session = not recycled and os.getsid(process.pid) == self._pid
                if own_session or self._has_token(process):
                    self.members.add(process)
                others.append(process)
            except (psutil.Error, OSError):
                continue
        if not recycled:
            self._under |= {p for p in others if _is_below(p.pid, {self._pid}, parents)}
        known = {process.pid for process in self.members}
        self.members |= {p for p in others if _is_below(p.pid, known, parents)} | self._under
        self.members = {p for p in self.members if p.pid not in (self._pid, os.getpid())}

    def beside_jupyter(self) -> set[psutil.Process]:
        """Return those that Jupyter does not end itself: in terminals, or no children of its."""
        found = set()
        for process in self.members:
            try:
                if process.name().startswith(_KEEPERS):
                    continue
                if process not in self._under or process.terminal() is not None:
                    found.add(process)
            except psutil.Error:
                continue
        return found

    def ask(self, processes: Iterable[psutil.Process]) -> None:
        """Send SIGTERM to those that have not been sent it."""
        for process in set(processes) - self._asked:
            self._asked.add(process)
            try:
                process.terminate()  # checks the start time: never a stranger
            except psutil.Error:
                continue

    async def wait(self, within_s: float) -> None:
        """Wait until all have ended, no longer than `within_s`."""
        deadline = asyncio.get_running_loop().time() + within_s
        while self._left() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_S)

    async def kill(self, within_s: float) -> None:
        """Kill whoever is left, and wait until they are gone, no longer than `within_s`."""
        for process in self._left():
            try:
                process.kill()
            except psutil.Error:
                continue
        await self.wait(within_s)

    def _has_token(self, process: psutil.Process) -> bool:
        return self._token is not None and _token_of(process.pid) == self._token

    def _left(self) -> set[psutil.Process]:
        self.members = {process for process in self.members if _runs(process)}
        return self.members


def lives(pid: int, create_time_ms: int) -> bool:
    """Whether the process of this id and start time lives; a zombie does not."""
    try:
        process = psutil.Process(pid)
        # A state of before this package holds no start time: then the id has to do.
        if create_time_ms and abs(process.create_time() * 1000 - create_time_ms) >= 1000:
            return False
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _token_of(pid: int) -> str | None:
    try:
        token: str | None = psutil.Process(pid).environ().get(_TOKEN)
    except (psutil.Error, OSError):
        return None
    return token or None


def _is_below(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    """Tell whether a process descends from one of `roots`."""
    seen: set[int] = set()
    while pid in parents and pid not in seen:
        seen.add(pid)
        pid = parents[pid]
        if pid in roots:
            return True
    return False
