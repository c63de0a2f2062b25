"""What runs inside the measured hubs: a spawner without processes, and closer looks at servers."""

from __future__ import annotations

from functools import partial
from typing import Any

import jupyterhub.utils
from jupyterhub.spawner import Spawner
from traitlets import Integer

__all__ = ["SharedServerSpawner", "look_often"]

_LOOK_EVERY_S = 0.02


class SharedServerSpawner(Spawner):  # type: ignore[misc]
    """Every server is the same tiny one, which runs already.

    What is left of a start is the hub's own work and ours, and hundreds of servers fit on a
    laptop. It is a Spawner like any other: state, polls, routes and hooks are real.
    """

    shared_port = Integer(config=True, help="Where the tiny server listens.")
    running = False

    async def start(self) -> tuple[str, int]:
        self.running = True
        return ("127.0.0.1", self.shared_port)

    async def stop(self, now: bool = False) -> None:
        self.running = False

    async def poll(self) -> int | None:
        return None if self.running else 0

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "running": self.running}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.running = state.get("running", False)

    def clear_state(self) -> None:
        super().clear_state()
        self.running = False


def look_often() -> None:
    """Let this hub look at short intervals whether a server has come up.

    By itself it waits random times between looks, which grow to seconds: of two hubs with the
    same servers one is up to a second faster by its dice.
    """
    jupyterhub.utils.exponential_backoff = partial(
        jupyterhub.utils.exponential_backoff, start_wait=_LOOK_EVERY_S, max_wait=_LOOK_EVERY_S
    )
