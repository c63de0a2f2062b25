"""Acts of break-glass: an operator lets starts through for a limited time, in a sealed file.

The file is written by ``jhub-tokens break-glass`` on the hub's machine and read by the hub; the
token service, which is down, has no part in it. Everything here blocks.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jhub_tokens.hub.private_files import (
    UntrustedFile,
    make_private_directory,
    read_private,
    write_private,
)

__all__ = ["LONGEST_MS", "Act", "ActError", "ActFiles"]

MINUTE_MS = 60_000
#: The longest time for which an act may let starts through, unless the hub says otherwise.
LONGEST_MS = 8 * 60 * MINUTE_MS
_REASON_MAX = 500


class ActError(Exception):
    """An act that cannot be; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who let starts through, why and until when. Instants are those of the hub's machine."""

    act_id: str
    opened_ms: int
    until_ms: int
    actor: str
    how: str  # command, environment
    reason: str
    profiles: tuple[str, ...] | None = None  # None: those of the default plan
    servers_max: int | None = None  # at once, in all
    member_servers_max: int = 1  # at once, of one member
    ended_ms: int | None = None  # ended early
    ended_by: str = ""

    def is_open(self, now_ms: int) -> bool:
        """Tell whether starts go through at `now_ms`."""
        # A clock that was set back must not open it again for longer than it was meant.
        return self.ended_ms is None and self.opened_ms - MINUTE_MS <= now_ms < self.until_ms

    def is_over(self, now_ms: int) -> bool:
        """Tell whether nothing about it will change any more."""
        return self.ended_ms is not None or now_ms >= self.until_ms


class ActFiles:
    """The acts in a hub's state directory.

    Parameters
    ----------
    state_dir
        The ``state_dir`` of `jhub_tokens.hub.configure`; must exist.
    """

    def __init__(self, state_dir: Path) -> None:
        self.directory = state_dir / "break-glass"

    def prepare(self) -> None:
        """Make the directory and the key, if there are none."""
        make_private_directory(self.directory)
        with suppress(FileExistsError):
            write_private(self._key_path, secrets.token_hex(32).encode(), fresh=True)

    @property
    def _key_path(self) -> Path:
        return self.directory / "key"

    # --- how long an act may be --------------------------------------------------------------

    @property
    def longest_ms(self) -> int:
        """The longest time that the hub allows."""
        try:
            return int(read_private(self.directory / "longest-ms"))
        except (OSError, ValueError, UntrustedFile):
            return LONGEST_MS

    @longest_ms.setter
    def longest_ms(self, duration_ms: int) -> None:
        write_private(self.directory / "longest-ms", str(duration_ms).encode())

    # --- reading -----------------------------------------------------------------------------

    def read(self) -> tuple[list[Act], list[str]]:
        """Return the acts that can be believed, oldest first, and why others cannot."""
        acts, problems = [], []
        for path in sorted(self.directory.glob("act-*.json")):
            try:
                acts.append(self._read(path))
            except FileNotFoundError:
                continue  # removed meanwhile
            except (OSError, UntrustedFile) as error:
                problems.append(str(error))
        return sorted(acts, key=lambda act: act.opened_ms), problems

    def _read(self, path: Path) -> Act:
        content = read_private(path)
        try:
            sealed = json.loads(content)
            facts, seal = sealed["act"], sealed["seal"]
            if not hmac.compare_digest(seal, self._seal(facts)):
                raise UntrustedFile(f"{path} was changed after jhub-tokens wrote it")
            if facts["profiles"] is not None:
                facts["profiles"] = tuple(facts["profiles"])
            act = Act(**facts)
        except (ValueError, TypeError, KeyError) as error:
            raise UntrustedFile(f"{path} is no act of jhub-tokens") from error
        if act.until_ms - act.opened_ms > self.longest_ms:
            raise UntrustedFile(f"{path} is for longer than this hub allows")
        return act

    def _seal(self, facts: dict[str, Any]) -> str:
        message = json.dumps(facts, sort_keys=True).encode()
        return hmac.new(read_private(self._key_path), message, hashlib.sha256).hexdigest()

    # --- writing -----------------------------------------------------------------------------

    def open(
        self,
        *,
        now_ms: int,
        until_ms: int,
        actor: str,
        reason: str,
        how: str = "command",
        profiles: Sequence[str] | None = None,
        servers_max: int | None = None,
        member_servers_max: int = 1,
        act_id: str | None = None,
    ) -> Act:
        """Let starts through from now on.

        Raises
        ------
        ActError
            If they go through already, or this may not be.
        """
        reason = " ".join(reason.split())
        if not 3 <= len(reason) <= _REASON_MAX:
            raise ActError(f"the reason must have 3 to {_REASON_MAX} characters; say why")
        if until_ms - now_ms < MINUTE_MS:
            raise ActError("it must last one minute or more")
        with self._locked():
            longest_ms = self.longest_ms
            if until_ms - now_ms > longest_ms:
                raise ActError(
                    f"this hub allows {longest_ms // MINUTE_MS} minutes at most; choose a shorter "
                    "time and open it again if need be (break_glass_hours of configure() sets it)"
                )
            for other in self.read()[0]:
                if other.is_open(now_ms):
                    raise ActError("starts go through already; end that first (--end)")
            act = Act(
                act_id or secrets.token_hex(16),
                now_ms,
                until_ms,
                actor[:255],
                how,
                reason,
                None if profiles is None else tuple(profiles),
                servers_max,
                member_servers_max,
            )
            self._write(act)
        return act

    def end(self, *, now_ms: int, actor: str) -> Act:
        """End what is open, before its time.

        Raises
        ------
        ActError
            If nothing is open.
        """
        with self._locked():
            for act in self.read()[0]:
                if act.is_open(now_ms):
                    ended = replace(act, ended_ms=max(now_ms, act.opened_ms), ended_by=actor[:255])
                    self._write(ended)
                    return ended
        raise ActError("nothing is open")

    def remove(self, act: Act) -> None:
        """Forget an act that is over and stands in the books."""
        self._path(act).unlink(missing_ok=True)

    def _path(self, act: Act) -> Path:
        return self.directory / f"act-{act.act_id}.json"

    def _write(self, act: Act) -> None:
        facts = json.loads(json.dumps(asdict(act)))
        content = json.dumps({"act": facts, "seal": self._seal(facts)}, indent=1)
        write_private(self._path(act), content.encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.prepare()
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
