"""The loop: report, learn how the server stands, warn, save, and stop when cells are done."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jhub_tokens_lab import activity, state_file
from jhub_tokens_lab.client import Away, Client, Refused
from jhub_tokens_lab.countdown import Countdown
from jhub_tokens_lab.saving import Saver, Tab
from jhub_tokens_lab.words import duration, language_of, say

__all__ = ["Watcher"]

TICK_S = 1.0
AWAY_AGAIN_MS = 15_000
#: Edits made after the last warning are saved again each quarter of what is left, within these.
SAVE_AGAIN_MS_MAX = 30_000
SAVE_AGAIN_MS_MIN = 3_000
#: Cells are done when no kernel has been busy for so long: between two cells there is a moment.
DONE_AFTER_MS = 5_000
#: An answer that was long on its way seems to leave that much more time.
JITTER_MS = 2_000


def _now_ms() -> float:
    return time.monotonic() * 1000


class Watcher:
    """Knows how this server stands and acts on it.

    Parameters
    ----------
    client
        The token service.
    saver
        Saves what is open.
    samples
        What keeps the server busy beside its kernels.
    kernels
        Returns the execution states of the running kernels.
    directory
        Where the last known state is written, readable to the member only.
    server
        The server's name.
    log
        The server's log.
    clock
        Milliseconds of a monotonic clock.
    jupyter_age_ms
        How long ago Jupyter itself last saw somebody or something; asked only where no page
        tells of it. A page that is open asks so much that it would never look idle.
    """

    def __init__(
        self,
        client: Client,
        saver: Saver,
        samples: activity.Activity,
        kernels: Callable[[], list[str]],
        directory: Path,
        server: str,
        log: Any,
        clock: Callable[[], float] = _now_ms,
        jupyter_age_ms: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self.tabs: list[Any] = []  # as `handlers.FeedHandler` adds and removes them
        self.language = language_of(os.environ.get("LANG", ""))
        self.when_done = False
        self._client = client
        self._saver = saver
        self._samples = samples
        self._kernels = kernels
        self._directory = directory
        self._server = server
        self._log = log
        self._clock = clock
        self._jupyter_age_ms = jupyter_age_ms
        self._pages_tell = False  # when somebody is there
        self._page_used = False  # since the last report
        self._asked_ms = clock()
        self._known: Countdown | None = None
        self._problem = "starting"
        self._ask_at_ms = 0.0
        self._told_ms: int | None = None  # the smallest threshold that was said
        self._told_stopping = False
        self._save_at_ms: float | None = None
        self._saving: asyncio.Task[None] | None = None
        self._saved: dict[str, Any] = {}
        self._busy_at_ms: float | None = None
        self._kernels_busy_at_ms = clock()

    # --- what tabs and terminals are told -----------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything that the interface shows."""
        now, known = self._clock(), self._known
        return {
            "problem": self._problem,
            "view": known.view if known else None,
            "age_ms": known.age_ms(now) if known else 0,
            "left_ms": known.left_ms("ends_at_ms", now) if known else None,
            "keep_left_ms": known.left_ms("keep_until_ms", now) if known else None,
            "level": known.level(now) if known else "calm",
            "warning_ms": self._told_ms,
            "saving": bool(known and known.saves(self._told_ms)),
            "when_done": self.when_done,
            "saved": self._saved,
        }

    def tell(self) -> None:
        """Push the state to every tab and into the file for terminals."""
        state = self.state()
        for tab in list(self.tabs):
            tab.push(state)
        try:
            state_file.write(self._directory, self._server, {**state, "language": self.language})
        except OSError as error:
            self._log.warning("jhub-tokens: the state cannot be written: %s", error)

    def page_used(self) -> None:
        """Note that somebody is at one of the tabs: has typed, clicked or scrolled."""
        self._page_used = self._pages_tell = True
        if self._known and self._known.view["end_reason"] == "idle":
            self._ask_at_ms = 0.0  # told at once, so that the warning goes

    # --- what members ask for -----------------------------------------------------------------

    async def keep_running(self, for_ms: int | None) -> None:
        """Keep the server running even if idle; raises `Away` or `Refused`."""
        self._learn(await self._client.keep_running(for_ms))
        self._ask_at_ms = 0.0  # the hub hears of it at once

    async def stop(self) -> None:
        """Save everything, then have the server stopped; raises `Away` or `Refused`."""
        await self.save("asked")
        self._learn(await self._client.stop())

    def stop_when_done(self, on: bool) -> None:
        """Stop once no kernel is busy any more; raises `Refused` if the plan does not allow it."""
        if on and not (self._known and self._known.view["stop_when_done"]):
            raise Refused(409, "not_allowed", "The plan does not allow it.")
        self.when_done = on
        self._kernels_busy_at_ms = self._clock()
        self.tell()

    async def save(self, reason: str, within_s: float = 60.0) -> None:
        """Save every open document and write checkpoints."""
        tabs: list[Tab] = list(self.tabs)
        self._saved = await self._saver.save_all(tabs, reason, within_s)
        self._log.info(
            "jhub-tokens: saved (%s): %d checkpoints, %d copies, %d not saved",
            reason,
            len(self._saved["checkpoints"]),
            len(self._saved["copies"]),
            len(self._saved["failed"]),
        )
        self.tell()

    # --- the loop -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Go on until cancelled; whatever fails is logged and tried again."""
        # Apart: a service that takes its time must hold up neither a warning nor saving.
        await asyncio.gather(self._again(self.ask_if_due), self._again(self.act))

    async def _again(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except Exception:
                self._log.exception("jhub-tokens: error in the extension; it goes on")
            await asyncio.sleep(TICK_S)

    async def act(self) -> None:
        """Warn, save and stop, whichever is due."""
        self._look_at_kernels()
        self._warn()
        self._save_if_due()
        if self.when_done and self._clock() - self._kernels_busy_at_ms >= DONE_AFTER_MS:
            await self._stop_now_done()

    def _look_at_kernels(self) -> bool:
        busy = any(state not in ("idle", "dead") for state in self._kernels())
        if busy:
            self._kernels_busy_at_ms = self._clock()
        return busy

    async def ask_if_due(self) -> None:
        """Report what this server does and learn how it stands, when it is time to."""
        if self._clock() < self._ask_at_ms:
            return
        busy = await asyncio.get_running_loop().run_in_executor(None, self._samples.sample)
        if self._look_at_kernels():
            busy.append("kernels")
        if self._is_page_used():
            busy.append("page")
        now = self._clock()
        if busy:
            self._busy_at_ms = now
        age_ms = None if self._busy_at_ms is None else round(now - self._busy_at_ms)
        try:
            self._learn(await self._client.report(busy, age_ms))
        except Refused as error:
            self._set_problem("refused", error)
        except Away as error:
            self._set_problem("away", error)
        if busy or (self._known and self._known.kept(self._clock())):
            await self._tell_hub()

    def _is_page_used(self) -> bool:
        """Tell whether somebody was at a page since the last report."""
        now = self._clock()
        since_ms, self._asked_ms = now - self._asked_ms, now
        used, self._page_used = self._page_used, False
        return used or (not self._pages_tell and self._jupyter_age_ms() < since_ms)

    async def _tell_hub(self) -> None:
        """Have the hub count this server as active, whether or not the token service is there."""
        try:
            await self._client.tell_hub(0)
        except Away as error:
            self._log.warning(
                "jhub-tokens: the hub does not take this server's activity: %s", error
            )

    def _set_problem(self, problem: str, error: Exception) -> None:
        if problem != self._problem:
            self._log.warning("jhub-tokens: %s: %s", problem, error)
        self._problem = problem
        self._ask_at_ms = self._clock() + AWAY_AGAIN_MS
        self.tell()

    def _learn(self, view: dict[str, Any]) -> None:
        now = self._clock()
        self._known = Countdown(view, now)
        self._problem = ""
        self._ask_at_ms = now + view["ask_again_ms"]
        self.tell()

    def _warn(self) -> None:
        known, now = self._known, self._clock()
        if known is None:
            return
        if known.view["stopping"] and not self._told_stopping:
            self._told_stopping = True
            self._save_at_ms = now
            self._say("stopping", reason=known.view["stopping"])
            self.tell()
            return
        self._told_stopping = bool(known.view["stopping"])
        reached = known.reached(now)
        if reached is None or (self._told_ms is not None and reached > self._told_ms):
            # A top-up came, or another server's end: what was said is taken back.
            still = known.reached(now + JITTER_MS)
            if self._told_ms is not None and (still is None or still > self._told_ms):
                self._told_ms, self._save_at_ms = reached, None
                self.tell()
            return
        if reached == self._told_ms:
            return
        self._told_ms = reached
        saves = known.saves(reached)
        if saves and self._save_at_ms is None:
            self._save_at_ms = now
        left = duration(known.left_ms("ends_at_ms", now) or 0, self.language)
        self._say("saves" if saves else "stops", left=left, reason=known.view["end_reason"])
        self.tell()

    def _save_if_due(self) -> None:
        """Save at the last warning and again until the stop, without holding up the loop."""
        now = self._clock()
        if self._save_at_ms is None or now < self._save_at_ms or self._known is None:
            return
        if self._saving is not None and not self._saving.done():
            return
        left_ms = self._known.left_ms("stop_at_ms", now)
        left_ms = 0 if left_ms is None else max(0, left_ms)
        again_ms = max(SAVE_AGAIN_MS_MIN, min(SAVE_AGAIN_MS_MAX, left_ms / 4))
        self._save_at_ms = now + again_ms
        within_s = max(2.0, left_ms / 1000 - 1)
        self._saving = asyncio.ensure_future(self.save("last_warning", within_s))

    async def _stop_now_done(self) -> None:
        if self._problem:
            return  # later, when the service is there
        self.when_done = False
        try:
            await self.stop()
        except (Away, Refused) as error:
            self._log.warning("jhub-tokens: cannot stop now that cells are done: %s", error)
            self.when_done = True
            self._kernels_busy_at_ms = self._clock()
        self.tell()

    def _say(self, key: str, **values: Any) -> None:
        """Write a line to the terminals of this server: Jupyter's own and SSH sessions'."""
        line = f"\r\n\x1b[1m[jhub-tokens] {say(key, self.language, **values)}\x1b[0m\r\n"
        mine = activity.ours(activity.processes(), self._samples.own_machine)
        for path in activity.terminals_of(mine):
            try:
                # Without waiting: a terminal that is held (Ctrl-S) must not hold the server.
                descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                try:
                    os.write(descriptor, line.encode())
                finally:
                    os.close(descriptor)
            except OSError:
                continue
