"""The journal of starts that were let through: kept on the hub's disk until they are in the books.

Lines of JSON, appended and synced; a line that a crash tore is left out. Instants are those of
the hub's machine, in milliseconds since the epoch, since a monotonic clock ends with its machine.
Reading and writing block: the hub does both in a thread of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jhub_tokens import wire
from jhub_tokens.hub.private_files import read_private, write_private

__all__ = ["Entry", "Journal"]

#: A longer file is written anew with what still counts.
LENGTH_MAX = 1 << 20


@dataclass(slots=True)
class Entry:
    """One start that was let through, and what is known of its run."""

    start_key: str
    act_id: str
    member: dict[str, Any]  # a `wire.Identity`
    server_name: str
    profile: str
    rate_mtok_h: int
    image: str | None
    gpu_model: str | None
    gpus: int
    payer: str | None
    max_run_ms: int | None
    started_ms: int
    ready_ms: int | None = None
    alive_ms: int | None = None
    ended_ms: int | None = None
    reason: str = "stopped"
    is_told: bool = False  # that it started; once its end is told as well, it is forgotten

    @property
    def place(self) -> tuple[int, str]:
        """Whose it is."""
        return self.member["hub_user_id"], self.member["created"]

    def told(self, now_ms: int) -> wire.StartTold:
        """Return what the service is told at `now_ms`."""

        def age(at_ms: int | None) -> int | None:
            return None if at_ms is None else max(0, now_ms - at_ms)

        return wire.StartTold(
            start_key=self.start_key,
            act_id=self.act_id,
            member=wire.Identity.model_validate(self.member),
            server_name=self.server_name,
            profile=self.profile,
            image=self.image,
            gpu_model=self.gpu_model,
            gpus=self.gpus,
            payer=self.payer,
            rate_mtok_h=self.rate_mtok_h,
            max_run_ms=self.max_run_ms,
            started_age_ms=max(0, now_ms - self.started_ms),
            ready_age_ms=age(self.ready_ms),
            alive_age_ms=age(self.alive_ms),
            ended_age_ms=age(self.ended_ms),
            reason=self.reason,
        )


class Journal:
    """The entries in memory, and their file.

    Memory is changed at once by the hub's loop; `append` and `compact` run in one other thread,
    in the order in which they were asked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: dict[str, Entry] = {}
        self.acts_told: dict[str, bool] = {}  # act → whether it was over when it was told

    def load(self) -> None:
        """Read the file; raises `UntrustedFile` or `OSError`."""
        try:
            content = read_private(self._path)
        except FileNotFoundError:
            return
        for line in content.splitlines():
            try:
                self._replay(json.loads(line))
            except (ValueError, TypeError, KeyError):
                continue  # torn by a crash

    def _replay(self, line: dict[str, Any]) -> None:
        what = line.pop("what")
        if what == "start":
            entry = Entry(**line)
            self.entries[entry.start_key] = entry
        elif what == "act":
            self.acts_told[line["act_id"]] = line["over"]
        elif what == "alive":
            for key in line["keys"]:
                if key in self.entries:
                    self.entries[key].alive_ms = line["at_ms"]
        elif what == "forget":
            self.entries.pop(line["start_key"], None)
            self.acts_told.pop(line["start_key"], None)
        elif what == "change" and line["start_key"] in self.entries:
            entry = self.entries[line.pop("start_key")]
            for name, value in line.items():
                setattr(entry, name, value)

    def append(self, lines: Iterable[dict[str, Any]]) -> None:
        """Add lines and have them on the disk; raises `OSError`."""
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        if not self._path.exists():
            write_private(self._path, b"")
        with self._path.open("ab") as file:
            if file.tell() and not self._ends_a_line():
                file.write(b"\n")  # what a crash tore must not tear this as well
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _ends_a_line(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def is_long(self) -> bool:
        """Tell whether the file should be written anew."""
        return self._path.exists() and self._path.stat().st_size > LENGTH_MAX

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of a file that holds what still counts."""
        acts = [
            {"what": "act", "act_id": act_id, "over": over}
            for act_id, over in self.acts_told.items()
        ]
        return [*acts, *({"what": "start", **asdict(e)} for e in self.entries.values())]

    def rewrite(self, lines: list[dict[str, Any]]) -> None:
        """Replace the file; raises `OSError`."""
        content = "".join(json.dumps(line) + "\n" for line in lines)
        write_private(self._path, content.encode())
