"""Seals that were kept outside the database: writing them to a file and reading them again."""

from __future__ import annotations

import hmac
import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from jhub_tokens.ledger.seals import Head, SealBooks, seal_facts, seal_hash, seal_mac

__all__ = ["ExportedSeals", "SealFileProblem", "append_seals"]


class SealFileProblem(Exception):
    """A file of seals cannot be used; the message says why and what to do."""


def append_seals(books: SealBooks, path: Path, key: str = "") -> int:
    """Append to a file all seals that it lacks, one a line; return how many.

    What a crash kept from being written is written the next time. Two replicas may write to one
    file: a seal that is there twice is read once.

    Raises
    ------
    SealFileProblem
        If the file cannot be read or written, or if the books do not hold its last seal: then
        one of the two was changed, and nothing is added that would hide it.
    """
    try:
        number, digest = _last_in(path)
        if number and books.hash_of(number) != digest:
            raise SealFileProblem(
                f"{path}: its last seal, {number}, is not in the books as it was. Run "
                f"`jhub-tokens audit --seals {path}`; to go on, keep the file and name another."
            )
        written = 0
        with path.open("a", encoding="ascii") as file:
            for seal in books.after(number):
                file.write(json.dumps(seal_facts(seal, key), separators=(",", ":")) + "\n")
                written += 1
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SealFileProblem(f"{path}: {error.strerror}; check the path and its rights") from None
    return written


def _last_in(path: Path) -> tuple[int, str]:
    """Return number and hash of the last seal in a file; (0, "") if there is none."""
    last = (0, "")
    if path.exists():
        _mend(path)
        for _, told in _lines(path):
            if told["seal"] > last[0]:
                last = (told["seal"], told["hash"])
    return last


def _mend(path: Path) -> None:
    """Cut off half a line that a crash left at the end, for it is written anew."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        kept = size
        while kept:
            step = min(kept, 1 << 16)
            file.seek(kept - step)
            newline = file.read(step).rfind(b"\n")
            if newline >= 0:
                kept += newline + 1 - step
                break
            kept -= step
        if kept != size:
            file.truncate(kept)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                told = json.loads(line)
            except ValueError:
                told = None
            if not _is_seal(told):
                # A log may hold other lines; a file of seals none.
                if isinstance(told, dict) and "event" in told:
                    continue
                raise SealFileProblem(f"{path}, line {number}: this is no seal")
            yield number, told


def _is_seal(told: Any) -> bool:
    return (
        isinstance(told, dict)
        and isinstance(told.get("seal"), int)
        and isinstance(told.get("hash"), str)
        and isinstance(told.get("sealed_ms"), int)
        and isinstance(told.get("previous_hash"), str)
        and _are_heads(told.get("heads"))
    )


def _are_heads(told: Any) -> bool:
    return told is None or (
        isinstance(told, list)
        and all(
            isinstance(head, list) and [type(part) for part in head] == [str, int, str]
            for head in told
        )
    )


class ExportedSeals:
    """Seals read from files, held on disk so that years of them need no memory.

    Parameters
    ----------
    paths
        Files of seals, or logs in JSON that hold the short form.
    key
        The key that they were signed with; without it signatures are not looked at.

    Raises
    ------
    SealFileProblem
        If a file cannot be read.
    """

    def __init__(self, paths: Iterable[Path], key: str = "") -> None:
        # An empty name is a database on disk that is gone when it is closed.
        self._rows = sqlite3.connect("")
        self._rows.execute("CREATE TABLE seals (number INTEGER, hash TEXT, previous_hash TEXT)")
        self._rows.execute("CREATE TABLE heads (wallet_id TEXT, count INTEGER, hash TEXT, seal)")
        #: What does not fit within the files themselves: where, and what.
        self.troubles: list[tuple[str, str]] = []
        for path in paths:
            try:
                for line, told in _lines(path):
                    self._take(f"{path}, line {line}", told, key)
            except (OSError, UnicodeDecodeError) as error:
                raise SealFileProblem(f"{path}: cannot be read ({error})") from None
        self._rows.execute("CREATE INDEX by_wallet ON heads (wallet_id, count)")

    def _take(self, where: str, told: dict[str, Any], key: str) -> None:
        if key and not hmac.compare_digest(
            str(told.get("mac", "")).encode(), seal_mac(key, told["hash"]).encode()
        ):
            self.troubles.append((where, "its signature does not fit: the file was changed"))
            return
        if told.get("heads") is not None:
            heads = [Head(*head) for head in told["heads"]]
            facts = (told["previous_hash"], told["seal"], told["sealed_ms"], heads)
            if seal_hash(*facts) != told["hash"]:
                self.troubles.append((where, "its hash does not fit: the file was changed"))
                return
            rows = [(*head, told["seal"]) for head in heads]
            self._rows.executemany("INSERT INTO heads VALUES (?, ?, ?, ?)", rows)
        row = (told["seal"], told["hash"], told["previous_hash"])
        self._rows.execute("INSERT INTO seals VALUES (?, ?, ?)", row)

    def seals(self) -> Iterator[tuple[int, str]]:
        """Yield number and hash of every seal that was kept."""
        yield from self._rows.execute("SELECT DISTINCT number, hash FROM seals ORDER BY number")

    def heads_of(self, wallet_ids: Collection[str]) -> dict[str, list[tuple[int, str, int]]]:
        """Return count, hash and number of seal of what was sealed of wallets."""
        found: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
        marks = ", ".join("?" * len(wallet_ids))
        query = (
            f"SELECT DISTINCT wallet_id, count, hash, seal FROM heads WHERE wallet_id IN ({marks})"
        )
        for wallet_id, count, digest, seal in self._rows.execute(query, list(wallet_ids)):
            found[wallet_id].append((count, digest, seal))
        return found

    def wallets(self) -> Iterator[tuple[str, int, int]]:
        """Yield every wallet that was sealed, with its largest count and that seal's number."""
        query = "SELECT wallet_id, max(count), seal FROM heads GROUP BY wallet_id"
        yield from self._rows.execute(query)

    def close(self) -> None:
        """Give the disk's space back."""
        self._rows.close()
