"""How long a watch is asked for: long where the server speaks by itself, short where it does not.

API servers send a bookmark about once a minute, but promise none, and one more just before they
end a watch (https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks). A long
watch costs next to no requests, and shows for sure that it lives only by bookmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LONG_S", "PROBE_S", "SHORT_S", "Pace"]

#: Fresh by its end alone.
SHORT_S = 40
#: Still fresh by its end alone, and long enough to see whether a bookmark comes before.
PROBE_S = 75
#: Fresh by its bookmarks only.
LONG_S = 300
#: A bookmark that comes earlier than this is not the one before the end of a probe.
_BY_ITSELF_MS = 65_000
#: How often a server that speaks by itself does.
_BOOKMARK_S = 60
#: What cuts silent connections after a minute, as load balancers do, is not tried at once again.
_SHORT_AFTER_FAILURE = 15
#: How long after it should have spoken a watch's silence means trouble.
_SILENCE_S = 15


@dataclass(slots=True)
class Pace:
    """Learns from one watch after another how long the next may be."""

    speaks: bool = False
    short_left: int = 0

    @property
    def watch_s(self) -> int:
        """How long the server is asked to keep the next watch open."""
        if self.speaks:
            return LONG_S
        return SHORT_S if self.short_left else PROBE_S

    @property
    def silence_s(self) -> int:
        """How long the next watch may be silent before that means trouble."""
        return (_BOOKMARK_S if self.speaks else self.watch_s) + _SILENCE_S

    def bookmark(self, age_ms: int) -> None:
        """Note a bookmark that came so long after the watch began."""
        self.speaks = self.speaks or age_ms < _BY_ITSELF_MS

    def ended(self) -> None:
        """Note that the server ended a watch in good order."""
        self.short_left = max(0, self.short_left - 1)

    def failed(self) -> None:
        """Note that a watch was cut off, or fell silent."""
        self.speaks = False
        self.short_left = _SHORT_AFTER_FAILURE
