"""Break-glass in the hub process: lets starts through while the service is away, tells afterwards.

Nothing here blocks the hub's loop: files are read and written by one thread, in the order asked
for. What was let through is on the disk before the server starts, and stays there until the
token service has it in its books.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from tornado.log import app_log

from jhub_tokens import wire
from jhub_tokens.hub.acts import LONGEST_MS, Act, ActError, ActFiles
from jhub_tokens.hub.client import TokenServiceClient
from jhub_tokens.hub.journal import Entry, Journal
from jhub_tokens.hub.let_through import Wanted, admission_of, allowed_profiles, decide
from jhub_tokens.hub.private_files import UntrustedFile, read_private, write_private

__all__ = ["BreakGlass", "wall_ms"]

T = TypeVar("T")

CATALOGUE_EVERY_S = 60.0
_TOLD_AT_ONCE = 1000


def wall_ms() -> int:
    """Return this machine's time: what outlives a process is measured by it."""
    return time.time_ns() // 1_000_000


class BreakGlass:
    """What the operator let through, for one hub process.

    Parameters
    ----------
    state_dir
        The hub's state directory; None if it cannot be had, and nothing is ever let through.
    hub_name
        Tells hubs apart that share one token service.
    longest_ms
        The longest time that an act may last.
    now_ms
        What time it is on this machine.
    """

    def __init__(
        self,
        state_dir: Path | None,
        hub_name: str = "hub",
        longest_ms: int = LONGEST_MS,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._files = None if state_dir is None else ActFiles(state_dir)
        self._hub_name = hub_name
        self._longest_ms = longest_ms
        self._now_ms = now_ms
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jhub-tokens break-glass")
        self._acts: list[Act] = []
        self._problems: set[str] = set()
        self._said: tuple[str, bool] | None = None
        self._loaded = False
        self._catalogue: wire.HubCatalogue | None = None
        self._catalogue_at: float | None = None
        self._journal = Journal(Path())
        if self._files is not None:
            self._journal = Journal(self._files.directory / "runs.jsonl")

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    # --- opening, once -----------------------------------------------------------------------

    def load(self) -> None:
        """Read what an earlier hub process left; blocks, for when the hub is being configured."""
        if self._files is None or self._loaded:
            return
        self._loaded = True
        try:
            self._files.prepare()
            self._files.longest_ms = self._longest_ms
            self._open_by_environment()
            self._journal.load()
            self._load_catalogue()
            self._acts, problems = self._files.read()
            self._say_problems(problems)
        except (OSError, UntrustedFile) as error:
            app_log.error("Break-glass cannot be used on this hub: %s", error)
            self._files = None

    def _load_catalogue(self) -> None:
        assert self._files is not None
        try:
            content = read_private(self._files.directory / "catalogue.json")
            self._catalogue = wire.HubCatalogue.model_validate_json(content)
        except FileNotFoundError:
            pass
        except ValidationError:
            app_log.warning("The last known catalogue is of another release; it is asked for anew")

    def _open_by_environment(self) -> None:
        """Open an act that the environment holds, for hubs on which nobody has a shell.

        It names an instant, not a length: a hub that restarts must not begin anew.
        """
        assert self._files is not None
        until = os.environ.get("JHUB_TOKENS_BREAK_GLASS_UNTIL")
        if not until:
            return
        try:
            instant = datetime.fromisoformat(until)
        except ValueError:
            instant = None
        if instant is None or instant.tzinfo is None:
            app_log.error(
                "JHUB_TOKENS_BREAK_GLASS_UNTIL is %r; write an instant with its zone, such as "
                "2026-11-25T17:30+01:00",
                until,
            )
            return
        until_ms = round(instant.timestamp() * 1000)
        act_id = f"environment-{until_ms}"
        known = any(act.act_id == act_id for act in self._files.read()[0])
        if known or self._now_ms() >= until_ms:
            return
        names = os.environ.get("JHUB_TOKENS_BREAK_GLASS_PROFILES", "")
        try:
            self._files.open(
                now_ms=self._now_ms(),
                until_ms=until_ms,
                actor="whoever sets the hub's environment",
                how="environment",
                reason=os.environ.get("JHUB_TOKENS_BREAK_GLASS_REASON", ""),
                profiles=[name.strip() for name in names.split(",") if name.strip()] or None,
                act_id=act_id,
            )
        except ActError as error:
            app_log.error("JHUB_TOKENS_BREAK_GLASS_UNTIL cannot be followed: %s", error)

    # --- what is open ------------------------------------------------------------------------

    @property
    def act(self) -> Act | None:
        """What is open now, as of the last look at the files."""
        now_ms = self._now_ms()
        return next((act for act in self._acts if act.is_open(now_ms)), None)

    @property
    def catalogue(self) -> wire.HubCatalogue | None:
        """The catalogue as it was last heard of."""
        return self._catalogue

    def profiles(self) -> list[wire.KnownProfile]:
        """Return what can be started now without asking."""
        if self.act is None or self._catalogue is None:
            return []
        return [p.spoken() for p in allowed_profiles(self.act, self._catalogue)]

    async def look(self) -> Act | None:
        """Look at the files, and return what is open now."""
        if self._files is None:
            return None
        self._acts, problems = await self._in_thread(self._files.read)
        self._say_problems(problems)
        act = self.act
        if act is not None and self._said != (act.act_id, True):
            self._said = act.act_id, True
            app_log.critical(
                "BREAK-GLASS IS OPEN: %s lets starts through while the token service is away, "
                "until %s: %s",
                act.actor,
                datetime.fromtimestamp(act.until_ms / 1000).astimezone().isoformat(" ", "seconds"),
                act.reason,
            )
        elif act is None and self._said is not None and self._said[1]:
            self._said = self._said[0], False
            app_log.critical("BREAK-GLASS IS CLOSED: no start goes through unasked any more")
        return act

    def _say_problems(self, problems: list[str]) -> None:
        for problem in set(problems) - self._problems:
            app_log.critical("BREAK-GLASS REFUSED: %s", problem)
        self._problems = set(problems)

    # --- letting through ---------------------------------------------------------------------

    async def let_through(
        self, wanted: Wanted, member: wire.Identity, server_name: str, start_key: str
    ) -> wire.Admission | wire.Refusal | None:
        """Let a start through if an operator's act allows it; None: nothing is open.

        When it returns an admission, the start is on the disk.
        """
        act = await self.look()
        if act is None:
            return None
        if self._catalogue is None:
            app_log.error("BREAK-GLASS: no start goes through, the catalogue was never heard of")
            return None
        now_ms = self._now_ms()
        # Decided and taken note of without a pause in between, so that no cap is exceeded.
        running = [e.place for e in self._journal.entries.values() if e.ended_ms is None]
        chosen = decide(wanted, act, self._catalogue, member, running, now_ms)
        if isinstance(chosen, wire.Refusal):
            return chosen
        entry = Entry(
            start_key=start_key,
            act_id=act.act_id,
            member=member.model_dump(),
            server_name=server_name,
            profile=chosen.profile.profile,
            rate_mtok_h=chosen.profile.rate_mtok_h,
            image=chosen.image.tag if chosen.image else None,
            gpu_model=chosen.gpu_model,
            gpus=chosen.profile.hardware.gpus,
            payer=chosen.payer,
            max_run_ms=chosen.max_run_ms,
            started_ms=now_ms,
        )
        self._journal.entries[start_key] = entry
        try:
            line = {"what": "start", **_plain(entry)}
            await self._in_thread(self._journal.append, [line])
        except BaseException as error:
            # Also if it was cancelled: then the line may be there, and this undoes it.
            self._forget(start_key)
            if isinstance(error, OSError):
                app_log.error("BREAK-GLASS: a start that cannot be recorded is refused: %s", error)
                return None
            raise
        app_log.critical(
            "BREAK-GLASS: the start of %s (%s, %s) goes through unasked; %s: %s",
            member.name,
            server_name or "default server",
            entry.profile,
            act.actor,
            act.reason,
        )
        return admission_of(chosen, start_key)

    # --- what became of it -------------------------------------------------------------------

    def entry(self, start_key: str | None) -> Entry | None:
        """Return what is known of a start that was let through, None if it was not."""
        return self._journal.entries.get(start_key or "")

    def monotonic(self, at_ms: int | None) -> float | None:
        """Return an instant of the journal on this process's monotonic clock."""
        return None if at_ms is None else time.monotonic() - (self._now_ms() - at_ms) / 1000

    def is_untold(self, start_key: str | None) -> bool:
        """Tell whether the service does not know of this start yet."""
        entry = self.entry(start_key)
        return entry is not None and not entry.is_told

    def ready(self, start_key: str) -> None:
        """Take note that a server is ready now."""
        entry = self.entry(start_key)
        if entry is not None and entry.ready_ms is None:
            entry.ready_ms = entry.alive_ms = self._now_ms()
            self._change(entry, ready_ms=entry.ready_ms, alive_ms=entry.alive_ms)

    def alive(self, start_keys: list[str]) -> None:
        """Take note that these servers live now."""
        now_ms = self._now_ms()
        entries = [entry for key in start_keys if (entry := self.entry(key)) is not None]
        for entry in entries:
            entry.alive_ms = now_ms
        if entries:
            keys = [entry.start_key for entry in entries]
            self._write({"what": "alive", "keys": keys, "at_ms": now_ms})

    def ended(self, start_key: str, reason: str, *, ago_ms: int | None) -> None:
        """Take note of an end; one that nobody saw was at the last proof of life."""
        entry = self.entry(start_key)
        if entry is None or entry.ended_ms is not None:
            return
        if ago_ms is None:
            entry.ended_ms = entry.alive_ms or entry.ready_ms or entry.started_ms
        else:
            entry.ended_ms = max(entry.ready_ms or entry.started_ms, self._now_ms() - ago_ms)
        entry.reason = reason
        self._change(entry, ended_ms=entry.ended_ms, reason=reason)

    def end_all_but(self, start_keys: set[str]) -> None:
        """Take note that what an earlier hub process let through is gone, but for these."""
        for entry in list(self._journal.entries.values()):
            if entry.start_key not in start_keys:
                self.ended(entry.start_key, "lost", ago_ms=None)

    def _change(self, entry: Entry, **facts: Any) -> None:
        self._write({"what": "change", "start_key": entry.start_key, **facts})

    def _forget(self, key: str) -> None:
        self._journal.entries.pop(key, None)
        self._journal.acts_told.pop(key, None)
        self._write({"what": "forget", "start_key": key})

    def _write(self, line: dict[str, Any]) -> None:
        def write() -> None:
            try:
                self._journal.append([line])
            except OSError as error:
                app_log.error("Break-glass: the journal cannot be written: %s", error)

        self._thread.submit(write)

    # --- telling the service -----------------------------------------------------------------

    async def keep_catalogue(self, client: TokenServiceClient) -> None:
        """Ask for the catalogue from time to time, and keep it for when nobody answers."""
        now = time.monotonic()
        if self._files is None or (
            self._catalogue_at is not None and now - self._catalogue_at < CATALOGUE_EVERY_S
        ):
            return
        heard = await client.catalogue()
        self._catalogue_at = now
        if heard != self._catalogue:
            path = self._files.directory / "catalogue.json"
            await self._in_thread(write_private, path, heard.model_dump_json().encode())
            self._catalogue = heard

    async def tell(self, client: TokenServiceClient, sent_at_ms: int | None) -> None:
        """Tell the service what it does not know yet; raises what the client raises."""
        if self._files is None:
            return
        await self.look()
        now_ms = self._now_ms()
        acts = [
            act
            for act in self._acts
            if self._journal.acts_told.get(act.act_id) is not True
            and (act.act_id not in self._journal.acts_told or act.is_over(now_ms))
        ]
        entries = [
            entry
            for entry in self._journal.entries.values()
            if not entry.is_told or entry.ended_ms is not None
        ][:_TOLD_AT_ONCE]
        if not acts and not entries:
            return
        told = {entry.start_key: (entry, entry.ended_ms is not None) for entry in entries}
        receipt = await client.break_glass(
            wire.BreakGlassReport(
                hub=self._hub_name,
                sent_at_ms=sent_at_ms,
                acts=[_act_told(act, now_ms) for act in acts],
                starts=[entry.told(now_ms) for entry in entries],
            )
        )
        for key in receipt.starts:
            if key in told:
                self._is_told(*told[key])
        for act in acts:
            if act.act_id in receipt.acts:
                self._journal.acts_told[act.act_id] = act.is_over(now_ms)
                over = act.is_over(now_ms)
                self._write({"what": "act", "act_id": act.act_id, "over": over})
        await self._tidy(now_ms)

    def _is_told(self, entry: Entry, over: bool) -> None:
        if over:
            self._forget(entry.start_key)
        else:
            entry.is_told = True
            self._change(entry, is_told=True)
        app_log.info("Break-glass: the books have the start %s", entry.start_key)

    async def _tidy(self, now_ms: int) -> None:
        """Remove what stands in the books for good."""
        assert self._files is not None
        kept = {entry.act_id for entry in self._journal.entries.values()}
        for act in self._acts:
            # One of the environment is looked for again at the next start of the hub.
            waits = act.how == "environment" and now_ms < act.until_ms
            if self._journal.acts_told.get(act.act_id) and act.act_id not in kept and not waits:
                await self._in_thread(self._files.remove, act)
                self._forget(act.act_id)
        if await self._in_thread(self._journal.is_long):
            await self._in_thread(self._journal.rewrite, self._journal.lines())


def _plain(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Entry.__dataclass_fields__}


def _act_told(act: Act, now_ms: int) -> wire.ActTold:
    return wire.ActTold(
        act_id=act.act_id,
        opened_age_ms=max(0, now_ms - act.opened_ms),
        duration_ms=act.until_ms - act.opened_ms,
        actor=act.actor,
        how="environment" if act.how == "environment" else "command",
        reason=act.reason,
        profiles=None if act.profiles is None else list(act.profiles),
        servers_max=act.servers_max,
        ended_age_ms=None if act.ended_ms is None else max(0, now_ms - act.ended_ms),
        ended_by=act.ended_by,
    )
