"""What administrators are shown of the cluster."""

from __future__ import annotations

from jhub_tokens.catalogue import Pool
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.cluster.availability import Board
from jhub_tokens.service.cluster.quantities import CPU, MEMORY
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.members import lacks_scope
from jhub_tokens.wire import ClusterView, PoolState, PoolWaiting, StrayPod, WatchState

__all__ = ["cluster_view"]


def cluster_view(service: Service, caller: Caller) -> ClusterView:
    """Return the cluster as this replica sees it, for somebody who may read everything.

    Raises
    ------
    Problem
        If the caller may not.
    """
    if not caller.may_read_all:
        raise lacks_scope("custom:jhub-tokens:read")
    now_ms, observer = service.clock.now_ms(), service.cluster
    if observer is None:
        return ClusterView(observed=False, as_of_ms=now_ms)
    board = observer.board(service.books.catalogue)
    return ClusterView(
        observed=True,
        namespace=observer.namespace,
        watches=[
            WatchState(
                watch=watch.name,
                fresh=watch.is_fresh(now_ms),
                fresh_at_ms=watch.fresh_at_ms,
                objects=len(watch.items),
                problem=str(watch.problem) if watch.problem else "",
            )
            for watch in observer.watches
        ],
        stray_policy=observer.settings.on_stray,
        strays=[
            StrayPod(
                pod=stray.pod.name,
                namespace=stray.pod.namespace,
                why=stray.why,
                since_ms=stray.since_ms,
                member=stray.pod.member,
                server_name=stray.pod.server_name,
                session_id=stray.pod.session_id,
                node=stray.pod.node,
            )
            for stray in observer.strays
        ],
        pools=None
        if board is None
        else [_pool(pool, board) for pool in board.catalogue.pools.values()],
        as_of_ms=now_ms,
    )


def _pool(pool: Pool, board: Board) -> PoolState:
    cpu, cpu_free = board.totals(pool, CPU)
    memory, memory_free = board.totals(pool, MEMORY)
    gpus, gpus_free = board.totals(pool, pool.gpu_resource)
    return PoolState(
        pool=pool.name,
        title=pool.title,
        gpu_model=pool.gpu_model,
        spot=pool.spot,
        nodes=len(board.nodes_of(pool)),
        gpus=gpus,
        gpus_free=gpus_free,
        cpu_m=cpu,
        cpu_free_m=cpu_free,
        memory_bytes=memory,
        memory_free_bytes=memory_free,
        waiting=[
            PoolWaiting(
                pod=pod.name, member=pod.member, since_ms=pod.created_ms, reason=pod.waits_for
            )
            for pod in board.waiting_for(pool.name)
        ],
        expected_wait_s=board.waits.expected_s(pool.name, board.now_ms),
    )
