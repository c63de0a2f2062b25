"""Recording what the ledger tells its driver, and telling a driver the same without the ledger.

Recorded is at the driver's own connection and cursor, so that nothing escapes that goes round
SQLAlchemy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
from sqlalchemy import Engine, event

__all__ = ["Operation", "Recorder", "Step", "recording", "replay", "statements"]

Kind = Literal["execute", "executemany", "commit", "rollback"]

#: What SQLAlchemy asks to learn whether a pooled connection lives; no part of an operation.
_PINGS = ("SELECT 1", "")


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the driver."""

    kind: Kind
    text: str = ""
    parameters: Any = None


Operation = list[Step]


@dataclass(slots=True)
class Recorder:
    """What was recorded, by operation; steps outside of one (connecting) are left out."""

    operations: list[Operation] = field(default_factory=list)
    _open: Operation | None = None

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Record what happens inside as one operation."""
        self._open = []
        try:
            yield
        finally:
            done, self._open = self._open, None
            while done and done[-1].kind == "rollback":
                done.pop()  # a pool's, on taking the connection back
            self.operations.append(done)

    def note(self, kind: Kind, text: Any = "", parameters: Any = None) -> None:
        """Add a step to the operation that is open, if one is."""
        if self._open is None:
            return
        if kind == "execute" and str(text).strip(" ;\n").upper() in _PINGS:
            return
        if kind == "executemany":
            parameters = list(parameters)
        self._open.append(Step(kind, str(text), parameters))


def statements(operation: Operation) -> int:
    """Return how many statements an operation has, commits apart; a batch counts once."""
    return sum(step.kind in ("execute", "executemany") for step in operation)


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record every connection that an engine makes while this is open."""
    recorder = Recorder()

    def connect(dialect: Any, _record: Any, args: Any, options: dict[str, Any]) -> Any:
        if dialect.name == "sqlite":
            options["factory"] = _sqlite_factory(recorder)
            return None
        return _postgres_connection(recorder).connect(*args, **options)

    event.listen(Engine, "do_connect", connect)
    try:
        yield recorder
    finally:
        event.remove(Engine, "do_connect", connect)


def _sqlite_factory(recorder: Recorder) -> type[sqlite3.Connection]:
    class RecordingCursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> RecordingCursor:
            recorder.note("execute", sql, parameters)
            super().execute(sql, parameters)
            return self

        def executemany(self, sql: str, parameters: Iterable[Any], /) -> RecordingCursor:
            rows = list(parameters)
            recorder.note("executemany", sql, rows)
            super().executemany(sql, rows)
            return self

    class RecordingConnection(sqlite3.Connection):
        def cursor(self, factory: Any = None) -> Any:
            return super().cursor(RecordingCursor)

        def commit(self) -> None:
            recorder.note("commit")
            super().commit()

        def rollback(self) -> None:
            recorder.note("rollback")
            super().rollback()

    return RecordingConnection


def _postgres_connection(recorder: Recorder) -> type[psycopg.Connection[Any]]:
    class RecordingCursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            recorder.note("execute", query, params)
            return super().execute(query, params, **options)

        def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
            rows = list(params_seq)
            recorder.note("executemany", query, rows)
            super().executemany(query, rows, **options)

    class RecordingConnection(psycopg.Connection[Any]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.cursor_factory = RecordingCursor

        def commit(self) -> None:
            recorder.note("commit")
            super().commit()

        def rollback(self) -> None:
            recorder.note("rollback")
            super().rollback()

    return RecordingConnection


def replay(connection: Any, operations: Sequence[Operation]) -> None:
    """Say to a driver's connection what was recorded, and fetch every answer."""
    cursor = connection.cursor()
    for operation in operations:
        for step in operation:
            if step.kind == "execute":
                cursor.execute(step.text, step.parameters)
                if cursor.description:
                    cursor.fetchall()
            elif step.kind == "executemany":
                cursor.executemany(step.text, step.parameters)
            elif step.kind == "commit":
                connection.commit()
            else:
                connection.rollback()
