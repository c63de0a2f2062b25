"""Looking at the hub's servers and members: what a snapshot is made of.

Every pass over them is cut into short pieces, so that the hub's event loop is never held.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from jupyterhub import orm
from tornado.log import app_log

from jhub_tokens import wire
from jhub_tokens.hub.breath import Breather, each
from jhub_tokens.hub.identity import identities, identity_of
from jhub_tokens.hub.runs import Reports, Run, age_ms, new_key
from jhub_tokens.hub.stopping import POLL_TIMEOUT_S

__all__ = ["SETTLED_S", "Watch"]

POLLS_AT_ONCE = 16
MEMBERS_AT_ONCE = 20
#: Whoever signs in is looked up after this time: only then is a new hub user stored, with the
#: groups that decide the plan.
SETTLED_S = 0.5
#: A name that has no hub user by then did not get in.
GIVEN_UP_S = 20.0


class Watch:
    """Knows the runs of one hub process and takes snapshots of them.

    Parameters
    ----------
    app
        Returns the running JupyterHub application.
    hub_name
        Tells hubs apart that share one token service.
    found_gone
        Called with a run whose process a poll did not find, so that the hub hears of it.
    is_untold
        Tells whether the service does not know yet of a run that was let through; until then
        snapshots do not show it.
    """

    def __init__(
        self,
        app: Callable[[], Any],
        hub_name: str,
        found_gone: Callable[[Run], None],
        is_untold: Callable[[str | None], bool] = lambda key: False,
    ) -> None:
        self.runs: set[Run] = set()
        self.reports = Reports()
        self._app = app
        self._hub_name = hub_name
        self._found_gone = found_gone
        self._is_untold = is_untold
        self._epoch = new_key()
        self._sequence = 0
        self._service_clock: tuple[int, float] | None = None  # its clock, and when that was
        self._names: dict[str, float] = {}

    async def snapshot(self) -> wire.Snapshot:
        """Return what runs now, complete, with the reports that wait for a receipt."""
        await self._look_up_names()
        taken = time.monotonic()
        runs = [run for run in self.runs if run.open]
        await each(runs, self._poll, at_once=POLLS_AT_ONCE)
        breathe = Breather()  # one for both passes: two would make pieces of twice the length
        runs += await self._found_running(breathe)
        servers: list[wire.ServerSeen] = []
        for run in runs:
            if run.open and not self._is_untold(run.through):
                servers.append(run.seen(time.monotonic()))
            await breathe()
        await asyncio.sleep(0)
        # From here to the end without a pause, so that ages and reports fit together.
        now = time.monotonic()
        self._sequence += 1
        return wire.Snapshot(
            hub=self._hub_name,
            epoch=self._epoch,
            sequence=self._sequence,
            age_ms=round((now - taken) * 1000),
            sent_at_ms=self.on_service_clock(now),
            servers=servers,
            **self.reports.fill(now),
        )

    def on_service_clock(self, instant: float) -> int | None:
        """Return a monotonic instant on the service's clock, as far as it is known."""
        if self._service_clock is None:
            return None
        at_ms, then = self._service_clock
        return at_ms + age_ms(then, instant)

    async def _poll(self, run: Run) -> None:
        """Find out whether a running server lives.

        Only servers that are ready are polled: before `Spawner.start` has done its
        work, a poll finds nothing, and some spawners then clear the token they are starting with.
        """
        if run.restored and run.phase == "starting" and run.spawner.ready:
            run.phase = "ready"  # the hub has checked it
            if run.ready_at is None:
                run.ready_at = time.monotonic()
        if run.phase != "ready" or run.spawner.pending:
            return
        try:
            status = await asyncio.wait_for(run.spawner.poll(), POLL_TIMEOUT_S)
        except Exception as error:
            app_log.warning("Cannot poll the server of %s: %s", run.spawner._log_name, error)
            return
        run.polled(status, time.monotonic())
        if status is not None and run.open and not run.spawner.pending:
            self._found_gone(run)

    async def _found_running(self, breathe: Breather) -> list[Run]:
        """Adopt the servers that run without our having started them."""
        found: list[Run] = []
        for user in list(self._app().users.values()):
            for spawner in list(user.spawners.values()):
                known = getattr(spawner, "token_run", None)
                if spawner.ready and (known is None or not known.open):
                    run = await self._adopt(user, spawner)
                    if run is not None:
                        found.append(run)
            await breathe()
        return found

    async def _adopt(self, user: Any, spawner: Any) -> Run | None:
        try:
            if await asyncio.wait_for(spawner.poll(), POLL_TIMEOUT_S) is not None:
                return None
        except Exception as error:
            app_log.warning("Cannot poll the server of %s: %s", spawner._log_name, error)
            return None
        known = getattr(spawner, "token_run", None)
        if not spawner.ready or (known is not None and known.open):
            return None  # the hub did something while we looked
        now = time.monotonic()
        profile = (spawner.user_options or {}).get("profile")
        run = Run(
            spawner=spawner,
            member=identity_of(user),
            server_name=spawner.name,
            start_key=None,
            phase="ready",
            profile=profile if isinstance(profile, str) and 0 < len(profile) <= 200 else None,
            started=started_text(spawner),
            ready_at=now,
            alive_at=now,
        )
        app_log.info("Found the server of %s running; it is metered from now on", spawner._log_name)
        spawner.token_run = run
        self.runs.add(run)
        return run

    def received(self, snapshot: wire.Snapshot, receipt: wire.SnapshotReceipt) -> None:
        """Drop what the receipt confirms, and set the service's clock by it."""
        if receipt.at_ms is not None:
            self._service_clock = receipt.at_ms, time.monotonic()
        self.reports.received(snapshot, receipt)

    def member_seen(self, name: str) -> None:
        """Tell of the hub user `name` once it is stored."""
        self._names.setdefault(name, time.monotonic())

    async def _look_up_names(self) -> None:
        db, now = self._app().db, time.monotonic()
        due = [name for name, since in self._names.items() if now - since >= SETTLED_S]
        for at in range(0, len(due), MEMBERS_AT_ONCE):
            names = due[at : at + MEMBERS_AT_ONCE]
            found = identities(db, orm.User.name.in_(names), limit=len(names))
            for identity in found:
                self.reports.member(identity)
            stored = {identity.name for identity in found}
            for name in names:
                if name in stored or now - self._names[name] > GIVEN_UP_S:
                    del self._names[name]
            await asyncio.sleep(0)

    async def all_members(self) -> None:
        """Tell the service once of everybody the hub knows, a few at a time."""
        db, last_id = self._app().db, -1
        while found := identities(db, orm.User.id > last_id, limit=MEMBERS_AT_ONCE):
            for identity in found:
                self.reports.member(identity)
            last_id = found[-1].hub_user_id
            await asyncio.sleep(0)


def started_text(spawner: Any) -> str | None:
    """Return the hub's own start time of a server, which survives a crash of the hub."""
    started = spawner.orm_spawner.started if spawner.orm_spawner is not None else None
    return started.isoformat() if started is not None else None
