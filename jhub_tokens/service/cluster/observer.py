"""The observer: watches on pods and nodes, and what follows from them.

Any number of replicas may observe the same cluster. Each tells the books what it sees, and the
books take the first word; what is free is read from memory.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.clock import Clock
from jhub_tokens.ledger.ends import ClusterEnd
from jhub_tokens.service.books import Books
from jhub_tokens.service.cluster.api import Api, ApiProblem
from jhub_tokens.service.cluster.availability import Board, taken_of
from jhub_tokens.service.cluster.endings import Sighting, ending_of
from jhub_tokens.service.cluster.metrics import ClusterMetrics
from jhub_tokens.service.cluster.pods import NodeSeen, PodLoad, PodSeen
from jhub_tokens.service.cluster.quantities import CPU, MEMORY, Amounts
from jhub_tokens.service.cluster.settings import ClusterSettings
from jhub_tokens.service.cluster.snapshots import VolumeSnapshots
from jhub_tokens.service.cluster.strays import SessionFinder, Stray, Strays
from jhub_tokens.service.cluster.telling import EndTeller
from jhub_tokens.service.cluster.waits import Waits
from jhub_tokens.service.cluster.watching import Change, Watch
from jhub_tokens.service.executors import Workers
from jhub_tokens.service.metrics import Metrics

__all__ = ["ClusterObserver"]

log = structlog.get_logger(__name__)

#: How often it looks for pods without a session.
LOOK_S = 30.0
#: What is free is reckoned anew no more often than this.
BOARD_MS = 1_000
_CONNECT_AGAIN_S = 30.0
#: How often it looks whether the day's snapshots are still to be made.
_TEND_S = 900.0
#: How often it looks whether a service that has just begun has its books open.
_BOOKS_S = 1.0
#: How many nodes that are gone are remembered, for pods whose end is told after them.
_GONE_NODES_MAX = 1_000
_REMEDY_PODS = "give the service's account the Role in docs/cluster-observer.md"
_REMEDY_VOLUMES = (
    "see that the cluster has the VolumeSnapshot API and a CSI driver that makes snapshots, and "
    "give the service's account the Role jhub-tokens-snapshots in docs/cluster-observer.md"
)
_REMEDY_NODES = (
    "bind the optional ClusterRole in docs/cluster-observer.md, or set "
    "JHUB_TOKENS_CLUSTER_AVAILABILITY=0; until then offers do not tell what is free"
)


class ClusterObserver:
    """Watches one cluster for the service.

    Parameters
    ----------
    settings
        Where the cluster is and what to do there.
    books, workers, clock, metrics
        The service's own.
    on_booked
        Called when ends were booked.
    sleep
        Waits between tries.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        books: Books,
        workers: Workers,
        clock: Clock,
        metrics: Metrics,
        on_booked: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self._books = books
        self._workers = workers
        self._clock = clock
        self._metrics = ClusterMetrics(metrics.registry)
        self._sleep = sleep
        self._teller = EndTeller(books, workers, self._metrics, on_booked)
        self._waits = Waits()
        self._strays = Strays()
        self._api: Api | None = None
        self.volumes: VolumeSnapshots | None = None  #: None: no snapshots are made
        self.namespace = settings.namespace
        self.pods: Watch[PodSeen] | None = None
        self.nodes: Watch[NodeSeen] | None = None
        self.loads: Watch[PodLoad] | None = None
        self._nodes: dict[str, NodeSeen] = {}  # the last of each name
        self._gone_nodes: dict[str, int] = {}  # since when
        self._sessions: dict[str, str] = {}  # pods, and the open session each is for
        self._said: set[str] = set()  # strays that were logged
        self._asked: dict[str, Amounts] = {}  # what the latest server of each profile takes
        self._boards: dict[str, Board] = {}  # by language, since pools have titles
        self.looks = 0  #: looks for pods without a session since the start

    @property
    def watches(self) -> list[Watch[Any]]:
        """What is watched."""
        return [watch for watch in (self.pods, self.nodes, self.loads) if watch is not None]

    @property
    def strays(self) -> tuple[Stray, ...]:
        """Pods without a session, as of the last look."""
        return self._strays.found

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self._observe()
            except Exception:
                log.exception("the observer failed and begins anew")
                await self._sleep(_CONNECT_AGAIN_S)

    async def _observe(self) -> None:
        api = await self._connect()
        try:
            self._prepare(api)
            async with asyncio.TaskGroup() as group:
                for watch in self.watches:
                    group.create_task(watch.run(), name=f"cluster-{watch.name}")
                group.create_task(self._teller.run(), name="cluster-ends")
                group.create_task(self._look_again(), name="cluster-look")
                if self.volumes is not None:
                    group.create_task(self._tend(self.volumes), name="cluster-snapshots")
        finally:
            await api.close()

    async def _connect(self) -> Api:
        said = ""
        while True:
            try:
                return await Api.connect(self.settings)
            except ApiProblem as problem:
                if str(problem) != said:
                    said = str(problem)
                    log.error(
                        "the cluster cannot be looked at",
                        reason=said,
                        remedy="run the service in the cluster with a service account, or set "
                        "JHUB_TOKENS_CLUSTER=kubeconfig and KUBECONFIG",
                    )
                await self._sleep(_CONNECT_AGAIN_S)

    def _prepare(self, api: Api) -> None:
        self._api = api
        self.namespace = api.namespace
        if self.settings.snapshot_days:
            self.volumes = VolumeSnapshots(
                api, self.settings.snapshot_days, self.settings.snapshot_class
            )
        options: dict[str, Any] = {"sleep": self._sleep}
        self.pods = Watch(
            "pods",
            api,
            f"/api/v1/namespaces/{api.namespace}/pods",
            PodSeen.of,
            self._clock,
            query={"labelSelector": self.settings.selector},
            on_change=self._pod_changed,
            remedy=_REMEDY_PODS,
            **options,
        )
        if not self.settings.availability:
            return
        options["remedy"] = _REMEDY_NODES
        self.nodes = Watch(
            "nodes", api, "/api/v1/nodes", NodeSeen.of, self._clock,
            on_change=self._node_changed, **options,
        )  # fmt: skip
        # What others run takes room as well. What is finished takes none.
        alive = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
        self.loads = Watch(
            "all pods", api, "/api/v1/pods", PodLoad.of, self._clock, query=alive, **options
        )

    # --- ends ------------------------------------------------------------------------------

    def _pod_changed(self, change: Change[PodSeen]) -> None:
        pod = change.item
        self._waits.note(pod)
        if pod.profile is not None and pod.requests is not None and not change.gone:
            self._asked[pod.profile] = pod.requests
        self._boards.clear()
        self._judge(pod, change.at_ms, change.known_ms, gone=change.gone)
        if change.gone:
            self._sessions.pop(pod.uid, None)

    def _node_changed(self, change: Change[NodeSeen]) -> None:
        node = change.item
        self._nodes[node.name] = node
        self._boards.clear()
        if change.gone:
            known_ms = change.known_ms or change.at_ms
            self._gone_nodes[node.name] = known_ms
            while len(self._gone_nodes) > _GONE_NODES_MAX:
                oldest = next(iter(self._gone_nodes))
                del self._gone_nodes[oldest]
                self._nodes.pop(oldest, None)
        else:
            self._gone_nodes.pop(node.name, None)
        if (change.gone or not node.ready) and self.pods is not None:
            now_ms = self._clock.now_ms()
            if self.pods.is_fresh(now_ms):
                for pod in self.pods.items.values():
                    if pod.node == node.name:
                        self._judge(pod, now_ms, now_ms, gone=False)

    def _judge(self, pod: PodSeen, at_ms: int, known_ms: int | None, *, gone: bool) -> None:
        """Tell the books if a pod is over."""
        session_id = self._sessions.get(pod.uid) or pod.session_id
        if session_id is None:
            return
        ending = ending_of(
            Sighting(
                pod,
                at_ms,
                known_ms,
                gone=gone,
                node=self._nodes.get(pod.node or ""),
                node_gone_ms=self._gone_nodes.get(pod.node or ""),
                sees_nodes=self.nodes is not None and self.nodes.is_fresh(at_ms),
                spot=self._is_spot(pod),
            )
        )
        if ending is not None:
            self._teller.tell(
                ClusterEnd(
                    session_id,
                    ending.ended_ms,
                    ending.reason,
                    exact=ending.exact,
                    exit_code=pod.exit_code,
                    node=pod.node,
                )
            )

    def _is_spot(self, pod: PodSeen) -> bool:
        if pod.pool is None or not self._books.is_open:
            return False
        pool = self._books.catalogue.pools.get(pod.pool)
        return pool is not None and pool.spot

    # --- pods without a session ------------------------------------------------------------

    async def _look_again(self) -> None:
        while True:
            try:
                await self.look()
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("looking for pods without a session failed")
            await self._sleep(LOOK_S * random.uniform(0.9, 1.1))

    async def look(self) -> None:
        """Find pods without a session, say so, and stop them if that is the policy."""
        self._show_watches()
        now_ms = self._clock.now_ms()
        if self.pods is None or not self.pods.is_fresh(now_ms) or not self._books.is_open:
            return
        ledger = self._books.ledger
        for pod in self.pods.items.values():
            if pod.deleting_ms is not None:  # its node may have been lost meanwhile
                self._judge(pod, now_ms, now_ms, gone=False)
        pods = Strays.alive(self.pods.items.values())
        finder = SessionFinder(await self._workers.read(ledger.cluster.open_sessions))
        found = {pod.uid: finder.of(pod) for pod in pods}
        sessions = {uid: session_id for uid, session_id in found.items() if session_id}
        self._sessions.update(sessions)
        alone = [pod.session_id for pod in pods if pod.uid not in sessions and pod.session_id]
        known = await self._workers.read(ledger.cluster.known, alone) if alone else frozenset()
        strays = self._strays.look(pods, sessions, known, now_ms)
        self._say(strays)
        if self.settings.on_stray != "report":
            for stray in strays:
                if now_ms - stray.since_ms >= self.settings.stray_after_ms:
                    await self._stop(stray)
        self.looks += 1

    def _say(self, strays: tuple[Stray, ...]) -> None:
        for why in ("closed", "unknown", "unlabelled"):
            count = sum(stray.why == why for stray in strays)
            self._metrics.strays.labels(why).set(count)
        for stray in strays:
            if stray.pod.uid not in self._said:
                log.warning(
                    "a pod runs without a session",
                    pod=stray.pod.name,
                    why=stray.why,
                    session=stray.pod.session_id,
                    policy=self.settings.on_stray,
                )
        self._said = {stray.pod.uid for stray in strays}

    async def _stop(self, stray: Stray) -> None:
        if stray.why != "closed" and self.settings.on_stray == "stop-closed":
            return
        assert self._api is not None
        path = f"/api/v1/namespaces/{stray.pod.namespace}/pods/{stray.pod.name}"
        # Not another pod of that name that has come since.
        body = {"preconditions": {"uid": stray.pod.uid}}
        try:
            await self._api.call("DELETE", path, body=body)
        except ApiProblem as problem:
            if problem.status not in (404, 409):
                log.error(
                    "a pod without a session cannot be stopped",
                    pod=stray.pod.name,
                    reason=str(problem),
                    remedy=_REMEDY_PODS if problem.is_forbidden else "it is tried again",
                )
            return
        log.warning("a pod without a session was stopped", pod=stray.pod.name, why=stray.why)
        self._metrics.strays_stopped.inc()

    # --- volumes ---------------------------------------------------------------------------

    async def _tend(self, volumes: VolumeSnapshots) -> None:
        """Make each day's snapshots, once it has come."""
        while True:
            while not self._books.is_open:
                await self._sleep(_BOOKS_S)
            try:
                await volumes.tend(self._clock.now_ms(), self._books.catalogue.zone)
                self._metrics.volumes_uncopied.set(volumes.uncopied)
            except ApiProblem as problem:
                self._metrics.volumes_uncopied.set(math.inf)
                log.error("snapshots cannot be made", reason=str(problem), remedy=_REMEDY_VOLUMES)
            except Exception:
                log.exception("making snapshots failed")
            await self._sleep(_TEND_S * random.uniform(0.8, 1.2))

    # --- where servers are -----------------------------------------------------------------

    @property
    def sees_pods(self) -> bool:
        """Whether it knows the pods as they are now; else an address may be another's already."""
        return self.pods is not None and self.pods.is_fresh(self._clock.now_ms())

    def address_of(self, session_id: str) -> str | None:
        """Return where the pod of a session is reached; None: it has no address yet."""
        assert self.pods is not None, "see sees_pods"
        for pod in self.pods.items.values():
            mine = self._sessions.get(pod.uid) or pod.session_id
            if mine == session_id and pod.address and not pod.is_finished:
                return pod.address
        return None

    # --- what is free ----------------------------------------------------------------------

    def board(self, catalogue: Catalogue) -> Board | None:
        """Return what is free now; None: that is not known, or not known freshly."""
        now_ms = self._clock.now_ms()
        watches = (self.pods, self.nodes, self.loads)
        if any(watch is None or not watch.is_fresh(now_ms) for watch in watches):
            return None
        assert self.pods is not None and self.nodes is not None and self.loads is not None
        board = self._boards.get(i18n.language())
        is_old = board is None or not 0 <= now_ms - board.now_ms < BOARD_MS
        if board is None or is_old or board.catalogue is not catalogue:
            board = self._boards[i18n.language()] = Board(
                catalogue,
                list(self.nodes.items.values()),
                taken_of(self.loads.items.values()),
                [pod for pod in self.pods.items.values() if pod.is_waiting],
                self._waits,
                self._asked,
                now_ms,
            )
        return board

    def _show_watches(self) -> None:
        now_ms = self._clock.now_ms()
        metrics = self._metrics
        for watch in self.watches:
            metrics.fresh.labels(watch.name).set(watch.is_fresh(now_ms))
            metrics.lists.labels(watch.name).set(watch.lists)
            metrics.objects.labels(watch.name).set(len(watch.items))
            if watch.fresh_at_ms is not None:
                age_s = max(0, now_ms - watch.fresh_at_ms) / 1000
                metrics.age_seconds.labels(watch.name).set(age_s)
        board = self.board(self._books.catalogue) if self._books.is_open else None
        if board is None:
            # A pool of which nothing is known must not look like one that is as it was.
            metrics.pool_nodes.clear()
            metrics.pool_amount.clear()
            metrics.pool_waiting.clear()
            return
        for pool in board.catalogue.pools.values():
            metrics.pool_nodes.labels(pool.name).set(len(board.nodes_of(pool)))
            metrics.pool_waiting.labels(pool.name).set(len(board.waiting_for(pool.name)))
            for resource in (CPU, MEMORY, pool.gpu_resource):
                factor = 1000 if resource == CPU else 1
                total, free = board.totals(pool, resource)
                amount = metrics.pool_amount
                amount.labels(pool.name, resource, "total").set(total / factor)
                amount.labels(pool.name, resource, "free").set(free / factor)
