"""When the server is stopped, its kernels have the time to save that it has itself.

Jupyter interrupts each kernel, asks it to end, sends SIGTERM after half of its
``shutdown_wait_time`` and SIGKILL after all of it. By default these are five seconds, whatever
the hub leaves; and whoever restarts a kernel that hangs should not wait for longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["give_grace", "grace_s"]

#: SIGTERM comes after 0.7 of the time, so that ``finally`` and ``atexit`` have the most of it.
WAIT = 1.4
LONGEST_S = 3600.0


def grace_s(environment: Mapping[str, str]) -> float | None:
    """Return how long this server has to end, in seconds; None if nobody says."""
    try:
        seconds = float(environment.get("JHUB_GRACE_SECONDS", ""))
    except ValueError:
        return None
    return seconds if 0 < seconds <= LONGEST_S else None


def give_grace(manager: Any, seconds: float) -> None:
    """Let the kernels of `manager` take so long to end when the server does."""
    plain = manager.shutdown_all

    def shutdown_all(now: bool = False) -> Any:
        for kernel_id in manager.list_kernel_ids():
            kernel = manager.get_kernel(kernel_id)
            kernel.shutdown_wait_time = max(kernel.shutdown_wait_time, WAIT * seconds)
        return plain(now=now)

    manager.shutdown_all = shutdown_all
