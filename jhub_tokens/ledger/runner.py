"""Running operations: each is a function of a connection, and all of it is kept or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.clock import Clock
from jhub_tokens.ledger.store import COLLIDED, DatabaseProblem, Store, describe_failure

__all__ = ["Runner"]

T = TypeVar("T")

#: How often an operation is run again before the caller hears of it.
_COLLISIONS_MAX = 3


class Runner:
    """Runs operations of the form ``operation(connection, catalogue, now_ms, …)``.

    Parameters
    ----------
    store
        The database.
    clock
        What time it is.
    catalogue
        Returns the catalogue in force.
    """

    def __init__(self, store: Store, clock: Clock, catalogue: Callable[[], Catalogue]) -> None:
        self.store = store
        self.clock = clock
        self.catalogue = catalogue

    def write(self, operation: Callable[..., T], *args: Any, **options: Any) -> T:
        """Run an operation that writes; again if it collided with another one.

        Raises
        ------
        DatabaseProblem
            If the database fails underneath it; nothing is half-written then.
        """
        for _ in range(_COLLISIONS_MAX):
            with suppress(_Collision):
                return self._run(self.store.write, operation, args, options)
        return self._run(self.store.write, operation, args, options)

    def read(self, operation: Callable[..., T], *args: Any, **options: Any) -> T:
        """Run an operation that reads, on one consistent view of the books.

        Raises
        ------
        DatabaseProblem
            If the database fails underneath it.
        """
        return self._run(self.store.read, operation, args, options)

    def _run(
        self,
        transaction: Callable[[], AbstractContextManager[Connection]],
        operation: Callable[..., T],
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> T:
        with self.translated(), transaction() as connection:
            # The clock is read under the lock: what waited longer happens later.
            return operation(connection, self.catalogue(), self.clock.now_ms(), *args, **options)

    @staticmethod
    @contextmanager
    def translated() -> Iterator[None]:
        """Turn a driver's error into a `DatabaseProblem`."""
        try:
            yield
        except DBAPIError as error:
            problem = describe_failure(error)
            if getattr(error.orig, "sqlstate", None) in COLLIDED:
                raise _Collision(problem.message, problem.remedy) from error
            raise problem from error


class _Collision(DatabaseProblem):
    """PostgreSQL undid a transaction in favour of another one; it may be run again."""
