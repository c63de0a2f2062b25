"""When a pod is over, since when and why: pure, from what was last seen of pod and node.

A container that is started again within its pod is one server that goes on. A pod whose watch
is stale is neither dead nor alive: whoever asks must know what was seen and when.
"""

from __future__ import annotations

from dataclasses import dataclass

from jhub_tokens.ledger.ends import ClusterEndReason
from jhub_tokens.service.cluster.pods import NodeSeen, PodSeen

__all__ = ["Ending", "Sighting", "ending_of"]

#: Words of a kubelet that shuts down with its node.
_SHUT_DOWN = ("NodeShutdown", "Shutdown", "Terminated")
_DISPLACED = ("PreemptionByScheduler", "PreemptionByKubeScheduler")


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a pod: since when, why, and whether that instant was observed."""

    ended_ms: int
    reason: ClusterEndReason
    exact: bool


@dataclass(frozen=True, slots=True)
class Sighting:
    """A pod as it was last seen.

    Parameters
    ----------
    pod
        Its last known state.
    at_ms
        When this became known.
    known_ms
        Up to when nothing of this kind was known to have happened: the same instant if it was
        watched, earlier if the watch had been interrupted, None if nobody watched before.
    gone
        Whether the API server has it no more.
    node, node_gone_ms
        Its node as last seen, and since when there is none such any more.
    sees_nodes
        Whether nodes are watched, so that one that is missing is gone.
    spot
        Whether its nodes may be taken back at short notice.
    """

    pod: PodSeen
    at_ms: int
    known_ms: int | None
    gone: bool = False
    node: NodeSeen | None = None
    node_gone_ms: int | None = None
    sees_nodes: bool = False
    spot: bool = False

    @property
    def node_is_lost(self) -> bool:
        """Whether its node is gone or does not answer."""
        if not self.sees_nodes or self.pod.node is None:
            return False
        return self.node is None or self.node_gone_ms is not None or not self.node.ready

    @property
    def lost_ms(self) -> int | None:
        """Since when its node is gone or does not answer, if it is and that is known."""
        if not self.node_is_lost or self.node is None:
            return None
        return self.node_gone_ms if self.node.ready else self.node.ready_changed_ms

    @property
    def may_be_taken_back(self) -> bool:
        """Whether it ran on a spot node."""
        return self.spot or self.pod.spot or (self.node is not None and self.node.is_spot)


def ending_of(seen: Sighting) -> Ending | None:
    """Return the end of a pod, None while it lives or may go on."""
    pod = seen.pod
    is_out = pod.exit_code is not None and (not pod.restarts or pod.deleting_ms is not None)
    is_lost = pod.deleting_ms is not None and seen.node_is_lost
    if not (seen.gone or pod.is_finished or is_out or is_lost):
        return None
    reason = _reason(seen)
    if pod.finished_ms is not None:
        return Ending(pod.finished_ms, reason, exact=True)
    for since_ms in (seen.lost_ms, pod.disruption_ms):
        if since_ms is not None:
            return Ending(min(since_ms, seen.at_ms), reason, exact=True)
    # Nobody saw it finish: it is known to have lived while it was watched, and no longer.
    return Ending(seen.known_ms or 0, reason, exact=False)


def _reason(seen: Sighting) -> ClusterEndReason:
    pod = seen.pod
    lost: ClusterEndReason = "preempted" if seen.may_be_taken_back else "node_lost"
    if pod.finish_reason == "OOMKilled":
        return "oom"
    if pod.status_reason in _SHUT_DOWN or pod.status_reason == "NodeLost":
        return lost
    if pod.status_reason == "Evicted":
        return "evicted"
    if pod.disruption in _DISPLACED or pod.status_reason == "Preempting":
        return "displaced"
    if seen.node_is_lost or pod.disruption == "DeletionByPodGC":
        return lost
    is_leaving = seen.node is not None and seen.node.is_leaving
    if is_leaving and (pod.disruption or pod.deleting_ms is not None):
        return lost if seen.may_be_taken_back else "evicted"
    if pod.disruption:
        return "evicted"
    if pod.deleting_ms is not None or pod.finished_ms is None:
        return "deleted"
    return "exited" if pod.exit_code == 0 else "crashed"
