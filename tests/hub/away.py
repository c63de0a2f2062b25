"""Taking a hub's token service away for as long as a test needs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.hub.harness import HubProcess

__all__ = ["Service"]


class Service:
    """Takes the token service away and brings it back, whoever starts it anew."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.books = hub.directory / "state" / "books.sqlite"
        self.kept = self.books.with_name("kept.sqlite")

    def away(self) -> None:
        # A service without books answers 503, so that the hub need not be kept from it. What it
        # writes until it is killed goes to the files that it holds open, wherever they are.
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.books}{suffix}").rename(f"{self.kept}{suffix}")
        self.books.write_text("no books")
        self.hub.kill_service()

    def back(self) -> None:
        # One file, put there in one step: the service looks all the time.
        with closing(sqlite3.connect(self.kept)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.kept.replace(self.books)
        self.hub.wait_ready()
