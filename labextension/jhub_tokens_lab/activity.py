"""What keeps a server busy that JupyterHub cannot see: jobs, terminals, SSH sessions, GPUs.

A process counts while it uses the processor or moves data, not because it is there: an editor
that nobody touches keeps nothing running. A terminal counts while somebody types in it. On a
machine that members share, only what has come from this server counts; in a container or pod of
its own, everything does.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Activity", "Process", "is_own_machine", "processes", "terminals_of"]

#: Of one core; an idle kernel or shell uses far less.
BUSY_CORES = 0.03
BUSY_BYTES_PER_S = 20_000
BUSY_GPU_PERCENT = 5
#: Somebody at a terminal or an SSH session counts for so long after the last key.
TYPED_WITHIN_S = 5 * 60
GPU_TIMEOUT_S = 5.0
PROC = Path("/proc")
#: Each run of a server has one of its own.
TOKEN = "JUPYTERHUB_API_TOKEN"
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Process(NamedTuple):
    """A process of this user."""

    pid: int
    parent: int
    name: str
    cpu_s: float  # with that of children that have ended: a loop of short commands works as well
    moved_bytes: int
    tty: str  # path of its terminal, empty if none
    started: int  # tells it from a later one of the same id


def processes(root: Path = PROC) -> dict[int, Process]:
    """Return this user's processes, by id; none where there is no /proc."""
    found = {}
    try:
        entries = [entry for entry in os.scandir(root) if entry.name.isdigit()]
    except OSError:
        return {}
    for entry in entries:
        try:
            if entry.stat().st_uid != os.geteuid():
                continue
            process = _read(Path(entry.path))
        except (OSError, ValueError, IndexError):
            continue  # gone meanwhile
        found[process.pid] = process
    return found


def _read(path: Path) -> Process:
    # The name stands in brackets and may hold anything.
    head, _, rest = path.joinpath("stat").read_text(errors="replace").rpartition(")")
    fields = rest.split()
    device = int(fields[4])
    moved = 0
    try:
        for line in path.joinpath("io").read_text().splitlines():
            if line.startswith(("rchar:", "wchar:")):
                moved += int(line.split()[1])
    except OSError:
        pass  # not ours to read: the processor's time has to do
    return Process(
        int(path.name),
        int(fields[1]),
        head.partition("(")[2],
        sum(int(ticks) for ticks in fields[11:15]) / _TICKS,
        moved,
        f"/dev/pts/{_minor(device)}" if 136 <= _major(device) <= 143 else "",
        int(fields[19]),
    )


def _major(device: int) -> int:
    return (device >> 8) & 0xFFF


def _minor(device: int) -> int:
    return ((_major(device) - 136) << 20) | (device & 0xFF) | ((device >> 12) & 0xFFF00)


def is_own_machine(prefix: str, root: Path = PROC) -> bool:
    """Tell whether the whole machine, as seen from here, is this server's.

    So it is where the first process was started by the hub for this very server: in a container.
    """
    try:
        environ = root.joinpath("1", "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return bool(prefix) and f"JUPYTERHUB_SERVICE_PREFIX={prefix}".encode() in environ


def ours(found: dict[int, Process], own_machine: bool, root: Path = PROC) -> list[Process]:
    """Return the processes that belong to this server, but not the server itself.

    They descend from it, or carry its API token in their environment: a job under ``nohup``
    whose terminal was closed is nobody's child any more.
    """
    me = os.getpid()
    if own_machine:
        return [process for pid, process in found.items() if pid != me]
    family = {me}
    if os.environ.get(TOKEN):
        token = f"{TOKEN}={os.environ[TOKEN]}".encode()
        family |= {pid for pid in found if token in _environment(root, pid)}
    grown = True
    while grown:
        more = {pid for pid, p in found.items() if p.parent in family} - family
        family |= more
        grown = bool(more)
    return [found[pid] for pid in family if pid != me and pid in found]


def terminals_of(mine: Iterable[Process]) -> list[str]:
    """Return the paths of the terminals at which processes of this server run."""
    return sorted({process.tty for process in mine if process.tty})


def _environment(root: Path, pid: int) -> list[bytes]:
    try:
        return root.joinpath(str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # gone meanwhile


class Activity:
    """Samples what this server does; each sample is compared with the one before.

    Parameters
    ----------
    own_machine
        Whether everything that runs here is this server's.
    """

    def __init__(self, own_machine: bool) -> None:
        self.own_machine = own_machine
        self._before: dict[int, Process] = {}
        self._before_s = 0.0

    def sample(self) -> list[str]:
        """Return what keeps the server busy: any of jobs, terminals, ssh, gpu. Blocks shortly."""
        found, now_s = processes(), time.monotonic()
        mine = ours(found, self.own_machine)
        busy = []
        if self._before and self._works(mine, now_s - self._before_s):
            busy.append("jobs")
        busy += sorted(_typed_at(found, mine))
        if self.own_machine and gpu_percent() >= BUSY_GPU_PERCENT:
            busy.append("gpu")
        self._before, self._before_s = found, now_s
        return busy

    def _works(self, mine: list[Process], passed_s: float) -> bool:
        for process in mine:
            before = self._before.get(process.pid)
            if before is None or before.started != process.started:
                # Begun since: all that it has done was done since.
                before = process._replace(cpu_s=0.0, moved_bytes=0)
            if process.cpu_s - before.cpu_s > BUSY_CORES * passed_s:
                return True
            if process.moved_bytes - before.moved_bytes > BUSY_BYTES_PER_S * passed_s:
                return True
        return False


def _typed_at(found: dict[int, Process], mine: list[Process]) -> set[str]:
    """Return at what somebody has typed of late: ssh, and terminals, which are all others."""
    by_ssh: dict[str, bool] = {}
    for process in mine:
        if process.tty:
            parent = found.get(process.parent)
            is_login = parent is not None and parent.name.startswith("sshd")
            by_ssh[process.tty] = by_ssh.get(process.tty, False) or is_login
    typed = set()
    for tty, is_ssh in by_ssh.items():
        try:
            status = os.stat(tty)
        except OSError:
            continue  # gone meanwhile
        if time.time() - status.st_atime < TYPED_WITHIN_S:  # a key is read when it is pressed
            typed.add("ssh" if is_ssh else "terminals")
    return typed


def gpu_percent() -> int:
    """Return how busy the busiest GPU is, by ``nvidia-smi``; 0 where there is none."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GPU_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    values = [int(line) for line in done.stdout.split() if line.isdigit()]
    return max(values, default=0)
