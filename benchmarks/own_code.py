"""Times the stretches of our own code on the hub's loop, between one await and the next.

What a task does between two awaits is one block for everybody else. A task of ours is ours as a
whole; in a task of the hub, which calls our gate or our pages' data, only the part inside our
functions is.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

from benchmarks.spans import Span, Stopwatch

__all__ = ["time_own_code"]

#: Told of each stretch: how long it took, whose it was, and whether it lies in no other one.
Note = Callable[[Span, str, bool], None]
#: The embedded spawner is not among them: the plain hub has it, too.
_MODULES = ("jhub_tokens.hub", "jhub_spawner.gate", "jhub_authenticator.membership")


def time_own_code(note: Note) -> None:
    """Time all methods of ours that the hub runs on its loop; call it once they are imported."""
    for owner in list(_own_classes()):
        for name, function in list(vars(owner).items()):
            if name.startswith("__"):
                continue
            if inspect.iscoroutinefunction(function):
                setattr(owner, name, _timed_coroutine(function, note))
            elif inspect.isfunction(function):
                setattr(owner, name, _timed_function(function, note))


def _own_classes() -> Iterator[type]:
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(_MODULES):
            for value in vars(module).values():
                if inspect.isclass(value) and value.__module__ == module_name:
                    yield value


class _Stretch:
    """Times a stretch. Everything here runs in one thread, and stretches nest properly."""

    __slots__ = ("_name", "_note", "_watch")
    _depth = 0

    def __init__(self, note: Note, name: str) -> None:
        self._note, self._name = note, name

    def __enter__(self) -> None:
        _Stretch._depth += 1
        self._watch = Stopwatch()

    def __exit__(self, *exception: object) -> None:
        span = self._watch.read()
        _Stretch._depth -= 1
        self._note(span, self._name, _Stretch._depth == 0)


def _timed_function(function: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        with _Stretch(note, function.__qualname__):
            return function(*args, **kwargs)

    return timed


def _timed_coroutine(function: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @functools.wraps(function)
    async def timed(*args: Any, **kwargs: Any) -> Any:
        return await _Driver(function(*args, **kwargs), note, function.__qualname__)

    return timed


class _Driver(Awaitable[Any]):
    """Drives a coroutine and times each of its stretches."""

    def __init__(self, coroutine: Any, note: Note, name: str) -> None:
        self._coroutine = coroutine
        self._note = note
        self._name = name

    def __await__(self) -> Generator[Any, Any, Any]:
        step, value = self._coroutine.send, None
        while True:
            try:
                with _Stretch(self._note, self._name):
                    waits_for = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = self._coroutine.send, (yield waits_for)
            except BaseException as error:
                # A cancellation or an error of what it waits for, GeneratorExit included.
                step, value = self._coroutine.throw, error
