"""What the cluster observer sees, for administrators."""

from __future__ import annotations

from typing import Literal

from jhub_tokens.wire.base import Wire

__all__ = ["ClusterView", "PoolState", "PoolWaiting", "StrayPod", "WatchState"]


class WatchState(Wire):
    """A watch, and whether what it shows may be believed."""

    watch: str
    fresh: bool
    fresh_at_ms: int | None = None  # up to when it is known what the API server has
    objects: int = 0
    problem: str = ""  # why it does not work at present


class StrayPod(Wire):
    """A server's pod that runs without an open session."""

    pod: str
    namespace: str
    why: Literal["closed", "unknown", "unlabelled"]
    since_ms: int
    member: str | None = None
    server_name: str = ""
    session_id: str | None = None
    node: str | None = None


class PoolWaiting(Wire):
    """A server that waits for a node."""

    pod: str
    member: str | None = None
    since_ms: int | None = None
    reason: str = ""  # as the scheduler says it


class PoolState(Wire):
    """A pool's usable nodes and what is taken of them; CPU in thousandths of a core."""

    pool: str
    title: str
    gpu_model: str | None = None
    spot: bool = False
    nodes: int
    gpus: int
    gpus_free: int
    cpu_m: int
    cpu_free_m: int
    memory_bytes: int
    memory_free_bytes: int
    waiting: list[PoolWaiting] = []
    expected_wait_s: int | None = None


class ClusterView(Wire):
    """The cluster as this replica sees it."""

    observed: bool  # whether there is a cluster to look at
    namespace: str = ""
    watches: list[WatchState] = []
    stray_policy: Literal["report", "stop-closed", "stop"] = "report"
    strays: list[StrayPod] = []
    pools: list[PoolState] | None = None  # None: not known, or not freshly
    as_of_ms: int
