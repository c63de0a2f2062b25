"""Stopping servers: stop orders, the fail-safe, and processes that the hub has forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
from jupyterhub.utils import make_ssl_context
from tornado.log import app_log
from yarl import URL

from jhub_tokens import wire
from jhub_tokens.hub.runs import Run

__all__ = ["Stopper"]

#: The hub answers a stop after at most its slow_stop_timeout (10 s); then the stop goes on.
HUB_TIMEOUT_S = 60.0
#: A stop order that failed is not tried again sooner than this.
RETRY_S = 5.0
POLL_TIMEOUT_S = 10.0
LINGER_FIRST_S = 1.0
LINGER_LONGEST_S = 30.0


class Stopper:
    """Carries out stops, each at most once at a time.

    Parameters
    ----------
    app
        Returns the running JupyterHub application.
    token
        The service's API token, which the hub lets stop servers.
    over
        Called with a run whose process is confirmed gone.
    """

    def __init__(self, app: Callable[[], Any], token: str, over: Callable[[Run], None]) -> None:
        self._app = app
        self._token = token
        self._over = over
        self._busy: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def order(self, order: wire.StopOrder, run: Run, failed: Callable[[str, str], None]) -> None:
        """Carry out a stop order in the background; `failed` hears of order and cause."""
        if self._claim(order.start_key):
            app_log.info("Stopping %s: %s", run.spawner._log_name, order.reason)
            self._spawn(self._stop(order.start_key, run, lambda why: failed(order.order_id, why)))

    def fail_safe(self, run: Run) -> None:
        """Stop a server whose last known stop time has passed while the service is away."""
        key = run.start_key or f"unnamed-{id(run)}"
        if self._claim(key):
            app_log.warning(
                "Stopping %s: the token service is away and the balance has run out",
                run.spawner._log_name,
            )
            self._spawn(self._stop(key, run, lambda why: None))

    def linger(self, run: Run) -> None:
        """Keep after a process that outlived its `Spawner.stop` until it is gone."""
        self._spawn(self._chase(run))

    async def close(self) -> None:
        """Give up whatever is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _claim(self, key: str) -> bool:
        if key in self._busy or time.monotonic() < self._not_before.get(key, 0.0):
            return False
        self._busy.add(key)
        return True

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self, key: str, run: Run, failed: Callable[[str], None]) -> None:
        try:
            why = await self._through_hub(run)
            if why and run.open and run.phase != "lingering":
                app_log.error("Cannot stop %s: %s", run.spawner._log_name, why)
                failed(why)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            app_log.exception("Error while stopping %s", run.spawner._log_name)
            failed(f"{type(error).__name__}: {error}")
        finally:
            self._busy.discard(key)
            self._not_before = {
                k: at for k, at in self._not_before.items() if at > time.monotonic()
            }
            self._not_before[key] = time.monotonic() + RETRY_S

    async def _through_hub(self, run: Run) -> str | None:
        """Stop a server through the hub's own API, so that its route goes too.

        Returns why it failed, or None.
        """
        app = self._app()
        user = run.spawner.user
        path = f"users/{quote(user.name, safe='')}/" + (
            f"servers/{quote(run.server_name, safe='')}" if run.server_name else "server"
        )
        ssl_context = None
        if app.internal_ssl:
            ssl_context = make_ssl_context(
                app.internal_ssl_key, app.internal_ssl_cert, cafile=app.internal_ssl_ca
            )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=ssl_context or True)
                ) as session,
                session.delete(
                    # Encoded by us: a URL built from text would read "%2F" as a slash.
                    URL(f"{app.hub.api_url.rstrip('/')}/{path}", encoded=True),
                    headers={"Authorization": f"token {self._token}"},
                    timeout=aiohttp.ClientTimeout(total=HUB_TIMEOUT_S),
                ) as response,
            ):
                if response.status < 300:
                    return None
                why = f"the hub answered {response.status}: {(await response.text())[:300]}"
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return f"the hub's API cannot be reached: {error}"
        return await self._directly(app, run, why)

    async def _directly(self, app: Any, run: Run, why: str) -> str | None:
        """Stop a server that the hub's API refuses to stop.

        For instance a named one on a hub that no longer allows named servers.
        """
        user, spawner = run.spawner.user, run.spawner
        if user.spawners.get(run.server_name) is not spawner or spawner.pending:
            return why
        app_log.warning("%s; stopping %s inside the hub", why, spawner._log_name)
        await app.proxy.delete_user(user, run.server_name)
        await user.stop(run.server_name)
        return None

    async def _chase(self, run: Run) -> None:
        pause_s = LINGER_FIRST_S
        while run.open:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LINGER_LONGEST_S)
            try:
                # After the stop hooks the hub cleared the spawner's state; without it, a poll
                # would call any process gone.
                run.spawner.load_state(run.state)
                if not await self._alive(run):
                    self._over(run)
                    return
                await asyncio.wait_for(run.spawner.stop(now=True), HUB_TIMEOUT_S)
                run.spawner.load_state(run.state)
                if not await self._alive(run):
                    self._over(run)
                    return
            except asyncio.CancelledError:
                raise
            except Exception as error:
                app_log.error(
                    "The server of %s outlived its stop and cannot be stopped: %s",
                    run.spawner._log_name,
                    error,
                )

    @staticmethod
    async def _alive(run: Run) -> bool:
        return (await asyncio.wait_for(run.spawner.poll(), POLL_TIMEOUT_S)) is None
