"""A PostgreSQL server of the tests' own that may be crashed, and a line to it that may be cut."""

import contextlib
import select
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError

from jhub_tokens.ledger import open_ledger
from tests.databases import Server
from tests.faults.processes import eventually

#: As it travels; unlike in BEGIN ISOLATION LEVEL READ COMMITTED.
COMMIT = b"COMMIT\x00"


class OwnServer:
    """A server that nobody else uses."""

    def __init__(self) -> None:
        self._server = Server()
        self.url = self._server.url
        self._admin = create_engine(self.url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        self.execute("CREATE DATABASE books_template")
        open_ledger(self.url_of("books_template")).close()

    def url_of(self, database: str) -> str:
        return self.url.set(database=database).render_as_string(hide_password=False)

    def make_database(self, **settings: str) -> str:
        """Make a database with the books' schema and return its URL."""
        name = f"books_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE books_template")
        for setting, value in settings.items():
            self.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        # A later crash has to recover no more than what comes now.
        self.execute("CHECKPOINT")
        return self.url_of(name)

    def execute(self, statement: str, **parameters: Any) -> list[Any]:
        with self._admin.connect() as connection:
            result = connection.execute(text(statement), parameters)
            return list(result) if result.returns_rows else []

    def terminate_backends(self, url: str) -> int:
        """End all connections to a database, as an operator or a failover does."""
        query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name"
        return len(self.execute(query, name=make_url(url).database))

    def waits_for_lock(self, url: str) -> bool:
        """Tell whether some connection to a database waits for a lock."""
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = :name AND wait_event_type = 'Lock'"
        return bool(self.execute(query, name=make_url(url).database))

    def crash(self) -> None:
        """Stop at once, without a checkpoint: what was committed must come back from the log."""
        self._server.crash()

    def recover(self) -> None:
        """Start after a crash; returns when what was committed is there again."""
        self._server.start()
        eventually(self._answers, "the server has recovered")

    def _answers(self) -> bool:
        with contextlib.suppress(OperationalError):
            self.execute("SELECT 1")
            return True
        return False

    def close(self) -> None:
        self._admin.dispose()
        self._server.close()


@contextlib.contextmanager
def at_statement(
    url: str, when: int | str, action: Callable[[], Any] | None = None
) -> Iterator[list[str]]:
    """Do `action` once, just before a statement on the books; yields the statements so far.

    `when` is the statement's number, from 1, or how it begins.
    """
    database = make_url(url).database
    statements: list[str] = []
    pending = [action] if action else []

    def before(connection, _cursor, statement, _parameters, _context, _many) -> None:
        if connection.engine.url.database != database:
            return
        statements.append(statement)
        if pending and (len(statements) == when or statement.startswith(str(when))):
            pending.pop()()

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", before)


class CuttingProxy:
    """A line to the server that is cut at a COMMIT, before it arrives or before its answer does.

    Parameters
    ----------
    url
        A database on a server that listens on a Unix socket.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._upstream = f"{parsed.query['host']}/.s.PGSQL.{parsed.port or 5432}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        there = parsed.set(host="127.0.0.1", port=port, query=plain)
        self.url = there.render_as_string(hide_password=False)
        self.cuts = 0
        self._commits_left = 0
        self._is_forwarded = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut_at_commit(self, number: int, *, forwarded: bool) -> None:
        """Cut the line at the `number`-th COMMIT from now on."""
        self._commits_left, self._is_forwarded = number, forwarded

    def close(self) -> None:
        """Close; the caller has closed its connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._relay, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, contextlib.suppress(OSError):
            server.connect(self._upstream)
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    data = source.recv(65_536)
                    if not data:
                        return
                    if source is client and COMMIT in data and self._commits_left:
                        self._commits_left -= 1
                        if not self._commits_left:
                            self._cut(server, data)
                            return
                    (server if source is client else client).sendall(data)

    def _cut(self, server: socket.socket, commit: bytes) -> None:
        self.cuts += 1
        if self._is_forwarded:
            server.sendall(commit)
            assert server.recv(65_536), "the server answers that it is committed"
