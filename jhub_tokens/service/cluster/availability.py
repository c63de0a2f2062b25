"""What is free now in each pool, and what to tell a member about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from jhub_tokens.catalogue import Catalogue, Pool, Profile
from jhub_tokens.i18n import _
from jhub_tokens.service.cluster.pods import NodeSeen, PodLoad, PodSeen
from jhub_tokens.service.cluster.quantities import CPU, MEMORY, PODS, Amounts
from jhub_tokens.service.cluster.scheduling import belongs, fits, is_usable
from jhub_tokens.service.cluster.waits import Waits
from jhub_tokens.service.texts import duration_text
from jhub_tokens.wire import Availability, PoolAvailability

__all__ = ["Board", "needs_of", "taken_of"]


def needs_of(profile: Profile, pool: Pool, seen: Amounts | None = None) -> dict[str, int]:
    """Return what a server of a profile takes of a node of the pool.

    A spawner may be told to ask for less than a server may use: what the profile's latest server
    asked for is the truth, where there was one.
    """
    needs = {CPU: round(profile.cpu * 1000), MEMORY: profile.memory_bytes, PODS: 1}
    if seen is not None:
        needs |= {CPU: seen.get(CPU, 0), MEMORY: seen.get(MEMORY, 0)}
    if profile.gpus:
        needs[pool.gpu_resource] = profile.gpus
    return needs


def taken_of(loads: Iterable[PodLoad]) -> dict[str, dict[str, int]]:
    """Return what pods take of each node."""
    taken: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for load in loads:
        if load.node is not None:
            here = taken[load.node]
            for name, amount in load.requests.items():
                here[name] += amount
    return taken


@dataclass(frozen=True, slots=True)
class Board:
    """Nodes and what is taken of them, at one instant.

    Parameters
    ----------
    catalogue
        The pools.
    nodes
        All nodes.
    taken
        What pods take of each.
    waiting
        Servers' pods that have no node yet.
    waits
        How long others had to wait.
    asked
        What the latest server of each profile asked for.
    now_ms
        The instant.
    """

    catalogue: Catalogue
    nodes: Sequence[NodeSeen]
    taken: Mapping[str, Amounts]
    waiting: Sequence[PodSeen]
    waits: Waits
    asked: Mapping[str, Amounts]
    now_ms: int
    _found: dict[tuple[str, str], PoolAvailability] = field(default_factory=dict)

    def nodes_of(self, pool: Pool) -> list[NodeSeen]:
        """Return the pool's nodes that can be used."""
        return [node for node in self.nodes if belongs(node, pool) and is_usable(node, pool)]

    def totals(self, pool: Pool, resource: str) -> tuple[int, int]:
        """Return how much of a resource the pool's usable nodes have, and how much is free."""
        has = [(node, (node.allocatable or {}).get(resource, 0)) for node in self.nodes_of(pool)]
        free = (
            max(0, amount - self.taken.get(node.name, {}).get(resource, 0)) for node, amount in has
        )
        return sum(amount for _node, amount in has), sum(free)

    def waiting_for(self, pool: str) -> list[PodSeen]:
        """Return the servers' pods that wait for a node of a pool."""
        return [pod for pod in self.waiting if pod.pool == pool]

    def has_place(self, profile: Profile) -> bool | None:
        """Tell whether a server of a profile would find a place now; None: not known."""
        if not profile.pools:
            return None
        return any(pool.free for pool in self.pools(profile))

    def pools(self, profile: Profile) -> list[PoolAvailability]:
        """Return what each pool of a profile has for it."""
        return [self._pool(profile, self.catalogue.pools[name]) for name in profile.pools]

    def availability(self, profile: Profile) -> Availability | None:
        """Return what to show with an offer, without alternatives; None: its nodes are not known.

        The texts are in the language of the task.
        """
        if not profile.pools:
            return None
        pools = self.pools(profile)
        return Availability(
            pools=[
                pool.model_copy(update={"waiting_reason": self._waiting_reason(pool.pool)})
                for pool in pools
            ],
            text=self._text(pools),
        )

    def _pool(self, profile: Profile, pool: Pool) -> PoolAvailability:
        key = (profile.name, pool.name)
        if key not in self._found:
            nodes, needs = (
                self.nodes_of(pool),
                needs_of(profile, pool, self.asked.get(profile.name)),
            )
            free = sum(fits(node, self.taken.get(node.name, {}), needs) for node in nodes)
            self._found[key] = PoolAvailability(
                pool=pool.name,
                title=pool.title,
                gpu_model=pool.gpu_model,
                free=free,
                total=sum(fits(node, {}, needs) for node in nodes),
                nodes=len(nodes),
                waiting=len(self.waiting_for(pool.name)),
                expected_wait_s=None if free else self.waits.expected_s(pool.name, self.now_ms),
            )
        return self._found[key]

    def _waiting_reason(self, pool: str) -> str:
        said = next((pod.waits_for for pod in self.waiting_for(pool) if pod.waits_for), "")
        return waiting_text(said, self.catalogue.pools[pool].gpu_resource) if said else ""

    def _text(self, pools: Sequence[PoolAvailability]) -> str:
        free, total = sum(pool.free for pool in pools), sum(pool.total for pool in pools)
        if free:
            return _("%(free)s of %(total)s free now", free=free, total=total)
        if total:
            parts = [_("none of %(total)s free now", total=total)]
        else:
            parts = [_("no node of this kind is up now")]
        waiting = sum(pool.waiting for pool in pools)
        if waiting:
            parts.append(_("%(count)s waiting", count=waiting))
        known = [pool.expected_wait_s for pool in pools if pool.expected_wait_s is not None]
        if known:
            usual = duration_text(_rounded_ms(min(known)))
            parts.append(_("recently it took about %(duration)s", duration=usual))
        return " · ".join(parts)


def waiting_text(said: str, gpu_resource: str) -> str:
    """Return the scheduler's word why a pod has no node, in plain words."""
    lowered = said.lower()
    if f"insufficient {gpu_resource}".lower() in lowered:
        return _("no GPU is free")
    if "insufficient memory" in lowered:
        return _("no node has enough memory free")
    if "insufficient cpu" in lowered:
        return _("no node has enough cores free")
    if "persistentvolumeclaim" in lowered or "volume" in lowered:
        return _("its volume cannot be reached from a free node")
    if "match" in lowered or "taint" in lowered or "unschedulable" in lowered:
        return _("no node of this kind is ready")
    return _("no node has room")


def _rounded_ms(seconds: int) -> int:
    """Return a wait as it is told: minutes from the second minute on."""
    return seconds * 1000 if seconds < 120 else round(seconds / 60) * 60_000
