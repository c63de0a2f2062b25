"""In which zone instants are told: whoever looks may have chosen another than the billing zone.

Like the language, it is that of the task at hand, in worker threads as well. What counts, such as
the days on which periods begin, is told in the billing zone all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["display_zone", "show_in", "showing_in"]

_zone: ContextVar[str | None] = ContextVar("jhub_tokens_zone", default=None)


def display_zone(otherwise: str) -> str:
    """Return the zone to tell instants in: the chosen one, or `otherwise`."""
    return _zone.get() or otherwise


def show_in(zone: str | None) -> None:
    """Tell instants in `zone` from here on in this task; None: where the text says."""
    _zone.set(_known(zone))


@contextmanager
def showing_in(zone: str | None) -> Iterator[None]:
    """Tell instants in `zone` within a block; None changes nothing."""
    if zone is None:
        yield
        return
    token = _zone.set(_known(zone))
    try:
        yield
    finally:
        _zone.reset(token)


def _known(zone: str | None) -> str | None:
    """Return a zone that this machine knows: its own list may be older than what was chosen."""
    try:
        return zone and ZoneInfo(zone).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
