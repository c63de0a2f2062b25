"""Ports of this machine for servers that tests start."""

from __future__ import annotations

import itertools
import os
import random
import re
import socket
from collections.abc import Iterator

#: Below those that a system gives to whoever asks for any, and below those of Kubernetes' nodes.
_FIRST, _LAST = 12_000, 28_000
_PARTS = 8


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, at no address; none of them twice.

    No connection and no other of pytest's workers can take one before its server has: a port that
    the system itself would give, as port 0, may be given again at once.
    """
    free = (port for port in _candidates if _is_free(port))
    return list(itertools.islice(free, count))


def free_port() -> int:
    [port] = free_ports(1)
    return port


def _own_part() -> Iterator[int]:
    """Give the ports of this worker's part again and again, beginning somewhere."""
    worker = re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or "0"
    size = (_LAST - _FIRST) // _PARTS
    first = _FIRST + int(worker) % _PARTS * size
    begin = random.randrange(size)
    return (first + (begin + step) % size for step in itertools.count())


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


_candidates = _own_part()
