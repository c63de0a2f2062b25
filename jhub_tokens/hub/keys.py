"""Keeps the SSH keys of running servers as the books have them, while they run.

A receipt says by a digest which keys hold. A spawner that can let members in by SSH says by
another which keys its server has (``ssh_keys_digest``), and takes new ones
(``set_authorized_keys``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tornado.log import app_log

from jhub_tokens import wire
from jhub_tokens.hub.client import TokenServiceClient
from jhub_tokens.hub.runs import Run

__all__ = ["KeyKeeper"]


class KeyKeeper:
    """Brings new keys to the servers of one hub process.

    Parameters
    ----------
    client
        Knows which keys hold.
    background
        Runs work that nobody waits for.
    """

    def __init__(
        self, client: TokenServiceClient, background: Callable[[Awaitable[None]], None]
    ) -> None:
        self._client = client
        self._background = background
        self._under_way: set[Run] = set()

    def seen(self, run: Run, digest: str | None) -> None:
        """Take note of which keys hold for the server of `run`; returns at once."""
        spawner: Any = run.spawner
        if digest is None or run.phase != "ready" or run in self._under_way:
            return
        has = getattr(spawner, "ssh_keys_digest", None)
        # A spawner without SSH has no such thing; one whose server takes no keys has none to tell.
        if not isinstance(has, str) or not has or has == digest:
            return
        self._under_way.add(run)
        self._background(self._bring(run))

    async def _bring(self, run: Run) -> None:
        try:
            request = wire.AuthorizedKeysRequest(member=run.member)
            held = await self._client.authorized_keys(request)
            if run.open and run.phase == "ready":
                await run.spawner.set_authorized_keys(held.authorized_keys, held.digest)
        except Exception as error:  # the next receipt tries again
            app_log.warning(
                "The SSH keys of the server of %s stay as they are for now: %s",
                run.spawner._log_name,
                error,
            )
        finally:
            self._under_way.discard(run)
