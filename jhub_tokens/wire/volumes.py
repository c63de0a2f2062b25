"""Snapshots of a member's volume, and what was restored from them."""

from __future__ import annotations

from jhub_tokens.wire.base import Wire

__all__ = ["RestoredVolume", "VolumeCopies", "VolumeCopy"]


class VolumeCopy(Wire):
    """A snapshot of the workspace, as it was then."""

    snapshot: str
    taken_at_ms: int
    taken_at: str  # for people
    size_bytes: int | None = None
    ready: bool  # whether it can be restored


class RestoredVolume(Wire):
    """A volume that was made from a snapshot, beside the workspace."""

    volume: str
    snapshot: str
    made_at_ms: int
    path: str  # where servers started from now on have it
    ready: bool  # False: it is filled when a server first uses it, or still is


class VolumeCopies(Wire):
    """A member's snapshots and restored volumes, the latest first."""

    kept: bool  # whether snapshots are made at all
    snapshots: list[VolumeCopy] = []
    restored: list[RestoredVolume] = []
    restored_max: int = 0
