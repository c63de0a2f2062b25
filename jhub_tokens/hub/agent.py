"""The agent: one task in the hub process that tells the token service what runs.

It pushes a complete snapshot every 30 seconds and on each change, hears of stop orders by a
long poll, and keeps the last known stop times as a fail-safe. It never bills, never holds the
hub's event loop, and never lets an exception out: whatever fails is logged and tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jupyterhub.app import JupyterHub
from tornado.log import app_log

from jhub_tokens import wire
from jhub_tokens.hub.breath import Breather
from jhub_tokens.hub.client import ServiceUnavailable, TokenServiceClient
from jhub_tokens.hub.glass import BreakGlass
from jhub_tokens.hub.keys import KeyKeeper
from jhub_tokens.hub.runs import Run, age_ms
from jhub_tokens.hub.stopping import POLL_TIMEOUT_S, Stopper
from jhub_tokens.hub.watching import SETTLED_S, Watch

__all__ = ["Agent"]

INTERVAL_S = 30.0
COALESCE_S = 0.1
RETRY_FIRST_S = 1.0
RETRY_LONGEST_S = 30.0
LONG_POLL_MS = 25_000
STANDING_POLL_MS = 5_000
STOPS_RETRY_LONGEST_S = 10.0
LONG_POLL_LEAST_S = 0.5
FAIL_SAFE_TICK_S = 1.0
GLASS_TICK_S = 2.0
#: How often a spawner that can looks for servers that the hub has lost.
TEND_S = 60.0
#: How long after a stop time the fail-safe waits for the service's own order.
FAIL_SAFE_MARGIN_S = 2.0


class Agent:
    """Watches the servers of one hub process for the token service."""

    def __init__(
        self,
        client: TokenServiceClient,
        *,
        token: str,
        glass: BreakGlass | None = None,
        hub_name: str = "hub",
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._client = client
        self._interval_s = interval_s
        self._glass = glass or BreakGlass(None)
        self._watch = Watch(self._app, hub_name, self._found_gone, self._glass.is_untold)
        self._stopper = Stopper(self._app, token, self._gone)
        self._keys = KeyKeeper(client, self._background)
        self._kicked = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self._reachable: bool | None = None  # not asked yet

    # --- told by the gate, the authenticator and the pages ------------------------------------

    @property
    def reachable(self) -> bool:
        """Whether the token service answered last time."""
        return bool(self._reachable)

    def ensure_started(self) -> None:
        """Start the agent's task on the running loop; harmless when it runs already."""
        if self._main is None or self._main.done():
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return  # the configuration is read outside a hub: a hook will start us
            self._main = loop.create_task(self._run(), name="jhub-tokens agent")

    def kick(self) -> None:
        """Push a snapshot soon."""
        self.ensure_started()
        self._kicked.set()

    def begun(self, run: Run) -> None:
        """Show a run in snapshots from now on, before its admission is asked for."""
        self._watch.runs.add(run)
        self.ensure_started()

    def admitted(self, run: Run, admission: wire.Admission) -> None:
        """Take note of an admission, and watch the hub for the run being ready."""
        run.session_id, run.profile, run.phase = admission.session_id, admission.profile, "starting"
        self._background(self._watch_start(run))

    def let_through(self, run: Run, admission: wire.Admission) -> None:
        """Take note of a start that goes through unasked, and watch the hub for it being ready."""
        run.profile, run.phase, run.through = admission.profile, "starting", run.start_key
        self._background(self._watch_start(run))

    def refused(self, run: Run) -> None:
        """Forget a run that was not admitted."""
        self._close(run)

    def cancelled(self, run: Run) -> None:
        """Leave a tombstone for a start whose admission may still arrive at the service."""
        assert run.start_key is not None
        run.cancelled = True
        self._watch.reports.cancelled(run.start_key)
        self._close(run)
        self.kick()

    def restored(self, run: Run) -> None:
        """Take over a run that an earlier hub process had started."""
        self._watch.runs.add(run)
        entry = self._glass.entry(run.start_key)
        if entry is not None:
            run.through = entry.start_key
            run.ready_at = self._glass.monotonic(entry.ready_ms)
            self._bound(run)

    async def stopped(self, run: Run, base_state: dict[str, Any]) -> None:
        """Settle a run whose spawner the hub has just stopped and is about to forget.

        If its process lives all the same, since ``Spawner.stop`` raised or gave up, the run
        goes on until the process is confirmed gone.
        """
        if not run.open:
            return
        now = time.monotonic()
        if run.phase == "asking":
            self._close(run)
            return
        try:
            status = await asyncio.wait_for(run.spawner.poll(), POLL_TIMEOUT_S)
            problem = None
        except Exception as error:  # not knowing is not being gone
            status, problem = None, error
        if status is None:
            app_log.error(
                "The server of %s outlived its stop%s; its session goes on until it is gone",
                run.spawner._log_name,
                f" as far as can be told ({problem})" if problem else "",
            )
            run.state, run.phase = base_state, "lingering"
            run.alive_at = time.monotonic() if problem is None else run.alive_at
            self._stopper.linger(run)
            self.kick()
            return
        run.polled(status, now)
        self._gone(run)

    def member_seen(self, name: str) -> None:
        """Make sure soon that the hub user `name` is a member; returns at once."""
        self._watch.member_seen(name)
        self.ensure_started()
        if self._main is not None:
            self._main.get_loop().call_later(SETTLED_S, self.kick)

    # --- the task -----------------------------------------------------------------------------

    def _app(self) -> Any:
        return JupyterHub.instance()

    async def _run(self) -> None:
        try:
            while not (JupyterHub.initialized() and self._app().http_server):
                # Only once the hub listens are all servers known that may still be running: a
                # snapshot before would end them.
                await asyncio.sleep(0.1)
            self._glass.end_all_but({run.through for run in self._watch.runs if run.through})
            loops = (
                self._push_loop,
                self._stop_loop,
                self._fail_safe_loop,
                self._glass_loop,
                self._tend_loop,
                self._all_members,
            )
            await asyncio.gather(*(self._guard(loop) for loop in loops))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._stopper.close()
            await self._client.close()

    async def _guard(self, loop: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await loop()
            except Exception:
                app_log.exception("jhub-tokens: error in the agent; it goes on")
                await asyncio.sleep(RETRY_FIRST_S)

    async def _push_loop(self) -> None:
        retry_s = 0.0
        while True:
            self._kicked.clear()
            if await self._push():
                retry_s = 0.0
            else:
                retry_s = min(max(retry_s * 2, RETRY_FIRST_S), RETRY_LONGEST_S)
                await self._pause(retry_s)
                continue
            try:
                await asyncio.wait_for(self._kicked.wait(), self._interval_s)
                await asyncio.sleep(COALESCE_S)
            except TimeoutError:
                pass

    async def _pause(self, retry_s: float) -> None:
        """Wait before a new try; less if the service answers elsewhere meanwhile."""
        await asyncio.sleep(RETRY_FIRST_S)
        until = time.monotonic() + retry_s - RETRY_FIRST_S
        while not self._reachable and time.monotonic() < until:
            await asyncio.sleep(COALESCE_S)

    async def _push(self) -> bool:
        await self._tell_through()
        snapshot = await self._watch.snapshot()
        self._note_lives()
        try:
            receipt = await self._client.snapshot(snapshot)
        except Exception as error:
            self._contact(False, error)
            if not isinstance(error, ServiceUnavailable):
                app_log.exception("jhub-tokens: the snapshot could not be handed in")
            return False
        self._contact(True)
        self._watch.received(snapshot, receipt)
        await self._take(receipt)
        return True

    async def _tell_through(self) -> None:
        """Tell of what was let through before a snapshot shows it."""
        try:
            sent_at_ms = self._watch.on_service_clock(time.monotonic())
            await self._glass.tell(self._client, sent_at_ms)
        except ServiceUnavailable as error:
            if error.answered:
                app_log.error("Break-glass: the service does not take the report: %s", error)
        except Exception:
            app_log.exception("Break-glass: what was let through cannot be told; tried again")

    def _note_lives(self) -> None:
        """Keep the proofs of life of what was let through, while the service cannot."""
        lives = []
        for run in self._watch.runs:
            if run.through is None or run.phase != "ready":
                continue
            self._glass.ready(run.through)
            if not self._reachable and run.alive_at is not None and run.died_at is None:
                lives.append(run.through)
        self._glass.alive(lives)

    async def _glass_loop(self) -> None:
        while True:
            try:
                await self._glass.look()
                if self._reachable:
                    await self._glass.keep_catalogue(self._client)
            except ServiceUnavailable as error:
                app_log.debug("The catalogue cannot be had for later: %s", error)
            except OSError as error:
                app_log.error("Break-glass: files cannot be used: %s", error)
            await asyncio.sleep(GLASS_TICK_S)

    async def _tend_loop(self) -> None:
        """Let the hub's spawner look after what runs without the hub's knowledge."""
        tend = getattr(self._app().spawner_class, "tend_servers", None)
        while tend is not None:
            keys = {run.start_key for run in self._watch.runs if run.open and run.start_key}
            try:
                await tend(self._app(), keys)
            except Exception as error:
                app_log.warning("Cannot look for servers that the hub has lost: %r", error)
            await asyncio.sleep(TEND_S)

    def _contact(self, reachable: bool, error: Exception | None = None) -> None:
        if reachable and not self._reachable:
            app_log.info("The token service answers")
        elif not reachable and self._reachable:
            app_log.error("The token service is away: %s", error)
        if reachable or self._reachable is not None:
            self._reachable = reachable
        else:  # both start together: that it does not answer yet is no news
            app_log.debug("The token service does not answer yet: %s", error)

    async def _take(self, receipt: wire.SnapshotReceipt) -> None:
        now = time.monotonic()
        by_key = {run.start_key: run for run in self._watch.runs if run.start_key is not None}
        # A server without a key, or with one that is spent for the service, is known by place.
        named = {known.start_key for known in receipt.sessions}
        by_place = {
            (run.member.hub_user_id, run.member.created, run.server_name): run
            for run in self._watch.runs
            if run.phase == "ready" and run.start_key not in named
        }
        await asyncio.sleep(0)  # reading the receipt was a piece of work by itself
        breathe = Breather()
        for known in receipt.sessions:
            run = by_key.get(known.start_key) or by_place.get(
                (known.hub_user_id, known.created, known.server_name)
            )
            if run is not None and run.open:
                run.session_id = known.session_id
                run.stop_at = None if known.stop_in_ms is None else now + known.stop_in_ms / 1000
                if run.start_key != known.start_key:
                    run.start_key = known.start_key
                    self._remember(run)
                self._keys.seen(run, known.keys_digest)
            await breathe()
        await self._order(receipt.stops)

    def _remember(self, run: Run) -> None:
        """Store a run's key with the hub's own record of the server, for the next hub process."""
        spawner = run.spawner
        if spawner.orm_spawner is not None and spawner.ready:
            spawner.orm_spawner.state = spawner.get_state()
            self._app().db.commit()

    async def _stop_loop(self) -> None:
        retry_s = 0.0
        known: frozenset[str] = frozenset()
        while True:
            begun = time.monotonic()
            # While an order stands it may have to be tried again. A service that was away is not
            # waited for: that it is back must be known before there is an order.
            wait_ms = STANDING_POLL_MS if known else LONG_POLL_MS
            if not self._reachable:
                wait_ms = 0
            try:
                orders = await self._client.stops(known=known, wait_ms=wait_ms)
            except ServiceUnavailable as error:
                self._contact(False, error)
                retry_s = min(max(retry_s * 2, RETRY_FIRST_S), STOPS_RETRY_LONGEST_S)
                await asyncio.sleep(retry_s)
                continue
            retry_s = 0.0
            if not self._reachable:
                self._contact(True)
                self.kick()  # what happened meanwhile waits to be told
            known = frozenset(order.order_id for order in orders.stops)
            await self._order(orders.stops)
            # An answer before its time must not make this a busy loop.
            await asyncio.sleep(max(0.0, LONG_POLL_LEAST_S - (time.monotonic() - begun)))

    async def _order(self, orders: list[wire.StopOrder]) -> None:
        if not orders:
            return
        by_key = {run.start_key: run for run in self._watch.runs}
        breathe = Breather()
        for order in orders:
            run = by_key.get(order.start_key)
            if run is not None and run.open and run.phase != "lingering":
                self._stopper.order(order, run, self._stop_failed)
            await breathe()

    def _stop_failed(self, order_id: str, why: str) -> None:
        self._watch.reports.stop_failed(order_id, why)
        self.kick()

    async def _fail_safe_loop(self) -> None:
        while True:
            await asyncio.sleep(FAIL_SAFE_TICK_S)
            if self._reachable:
                continue
            late = time.monotonic() - FAIL_SAFE_MARGIN_S
            for run in self._watch.runs:
                if run.phase == "ready" and run.stop_at is not None and run.stop_at < late:
                    self._stopper.fail_safe(run)

    async def _all_members(self) -> None:
        await self._watch.all_members()
        self.kick()

    # --- one run ------------------------------------------------------------------------------

    async def _watch_start(self, run: Run) -> None:
        """Wait for the hub to call a started server ready; there is no hook for it.

        The hub's own future of the start is over when the server answers and its route stands.
        """
        spawner = run.spawner
        future = spawner._spawn_future
        while future is None and run.open and (spawner._start_pending or not spawner.ready):
            await asyncio.sleep(0.05)  # started without a handler: the hub keeps no future
            future = spawner._spawn_future
        if future is not None:
            await asyncio.wait([future])
            if future.cancelled() or future.exception() is not None:
                run.cancelled = future.cancelled()
                return  # the hub stops the server, and the stop hook settles the run
        if run.open and run.phase == "starting":
            run.phase, run.ready_at = "ready", time.monotonic()
            run.alive_at = run.ready_at
            if run.through is not None:
                self._glass.ready(run.through)
                self._bound(run)
            self.kick()

    def _bound(self, run: Run) -> None:
        """Have a run that was let through end after its longest time, while nobody orders it."""
        entry = self._glass.entry(run.through)
        if entry is not None and entry.max_run_ms is not None and run.ready_at is not None:
            run.stop_at = run.ready_at + entry.max_run_ms / 1000

    def _found_gone(self, run: Run) -> None:
        # The hub shall notice at once, not at its own next poll.
        self._background(run.spawner.poll_and_notify())

    def _gone(self, run: Run) -> None:
        if not run.open:
            return
        now = time.monotonic()
        reason = run.end_reason()
        # When a lost one ended nobody saw: it is charged up to our last proof of life.
        ended_at = run.alive_at if reason == "lost" else run.died_at or now
        is_told = not self._glass.is_untold(run.through)
        if run.through is not None:
            ago_ms = None if ended_at is None else age_ms(ended_at, now)
            self._glass.ended(run.through, reason, ago_ms=ago_ms)
        if run.start_key is not None and ended_at is not None and is_told:
            self._watch.reports.ended(run.start_key, run.ready_at, ended_at, reason)
        self._close(run)
        self.kick()

    def _close(self, run: Run) -> None:
        run.phase = "over"
        self._watch.runs.discard(run)

    def _background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            app_log.error("jhub-tokens: error in the agent", exc_info=task.exception())
