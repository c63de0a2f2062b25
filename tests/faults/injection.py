"""Failures placed before or after any statement and any COMMIT that the process sends."""

from contextlib import contextmanager

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import OperationalError


class Injector:
    """Counts the points at which an operation can fail, and makes it fail at one of them.

    A point is the instant before or after a statement or a COMMIT. It listens to every engine
    of the process, so it knows nothing of how the ledger is built.
    """

    def __init__(self):
        self.points = []  # (what, "before" or "after") in order, of the last run
        self._fail_at = None
        self._listening = False

    @contextmanager
    def run(self, fail_at=None):
        """Count points within; fail at the one of this index, once."""
        self.points = []
        self._fail_at = fail_at
        self._listening = True
        try:
            yield
        finally:
            self._listening = False

    def _pass(self, what, when):
        if not self._listening:
            return
        self.points.append((what, when))
        if len(self.points) - 1 == self._fail_at:
            self._listening = False  # what is done about the failure works
            cause = Exception(f"injected {when} {what}")
            raise OperationalError("injected", {}, cause)

    @contextmanager
    def installed(self, monkeypatch):
        """Listen to all engines while within."""

        def before(_connection, _cursor, statement, *_):
            self._pass(statement, "before")

        def after(_connection, _cursor, statement, *_):
            self._pass(statement, "after")

        commit = DefaultDialect.do_commit

        def do_commit(dialect, connection):
            self._pass("COMMIT", "before")
            commit(dialect, connection)
            self._pass("COMMIT", "after")

        event.listen(Engine, "before_cursor_execute", before)
        event.listen(Engine, "after_cursor_execute", after)
        monkeypatch.setattr(DefaultDialect, "do_commit", do_commit)
        try:
            yield self
        finally:
            event.remove(Engine, "before_cursor_execute", before)
            event.remove(Engine, "after_cursor_execute", after)
