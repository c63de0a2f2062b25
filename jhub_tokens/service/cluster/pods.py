"""A pod and a node as far as the observer cares: parsed from the API server's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jhub_tokens.service.cluster.quantities import Amounts, amounts_of, requests_of
from jhub_tokens.wire import labels

__all__ = ["NodeSeen", "PodLoad", "PodSeen", "Taint", "instant_ms"]

_MAIN_CONTAINER = "notebook"  # as KubeSpawner calls it
_USERNAME = "hub.jupyter.org/username"
_SERVER_NAME = "hub.jupyter.org/servername"
_FINISHED = ("Succeeded", "Failed")
#: Labels by which providers mark nodes that they may take back at short notice.
_SPOT = {
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-preemptible": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
    "node.kubernetes.io/lifecycle": "spot",
}
#: Taints that say that a node is about to be taken away.
_LEAVING = (
    "aws-node-termination-handler/",
    "cloud.google.com/impending-node-termination",
    "DeletionCandidateOfClusterAutoscaler",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "node.cloudprovider.kubernetes.io/shutdown",
    "node.kubernetes.io/out-of-service",
    "remediation.aws.amazon.com/",
)


def instant_ms(text: object) -> int | None:
    """Return an RFC 3339 instant in milliseconds since the epoch, None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A server's pod.

    Parameters
    ----------
    uid, name, namespace
        Which one it is.
    session_id, start_key, profile, pool, spot, hub
        What our labels say; a start that went through unasked has no session yet.
    member, server_name
        The hub's own annotations.
    created_ms, scheduled_ms
        When it was made, and when it was given a node.
    deleting_ms
        When its deletion was asked for.
    node, address
        Where it runs, and where it is reached.
    phase, status_reason
        The pod's own state, and why, in one word.
    restarts
        Whether its container is started again when it fails.
    started_ms, finished_ms, exit_code, finish_reason
        Of the server's container: its present start, or else its last end, whose instant a
        kubelet may have missed.
    disruption, disruption_ms
        What the cluster does to it and since when (its `DisruptionTarget`).
    waits_for
        The scheduler's word why it has no node yet.
    requests
        What it takes of a node.
    """

    uid: str
    name: str
    namespace: str
    session_id: str | None = None
    start_key: str | None = None
    profile: str | None = None
    pool: str | None = None
    spot: bool = False
    hub: str | None = None
    member: str | None = None
    server_name: str = ""
    created_ms: int | None = None
    scheduled_ms: int | None = None
    deleting_ms: int | None = None
    node: str | None = None
    address: str | None = None
    phase: str = ""
    status_reason: str = ""
    restarts: bool = False
    started_ms: int | None = None
    finished_ms: int | None = None
    exit_code: int | None = None
    finish_reason: str = ""
    disruption: str = ""
    disruption_ms: int | None = None
    waits_for: str = ""
    requests: Amounts | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it has ended for good by its own state."""
        return self.phase in _FINISHED

    @property
    def is_waiting(self) -> bool:
        """Whether it has no node yet."""
        return self.node is None and not self.is_finished and self.deleting_ms is None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> PodSeen:
        """Read the API server's JSON; what is missing there is missing here."""
        meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
        marks: Mapping[str, str] = meta.get("labels") or {}
        notes: Mapping[str, str] = meta.get("annotations") or {}
        conditions = {c.get("type"): c for c in status.get("conditions") or ()}
        scheduled, disrupted = conditions.get("PodScheduled"), conditions.get("DisruptionTarget")
        is_scheduled = scheduled is not None and scheduled.get("status") == "True"
        is_disrupted = disrupted is not None and disrupted.get("status") == "True"
        waits = scheduled is not None and scheduled.get("status") == "False"
        return cls(
            uid=meta["uid"],
            name=meta["name"],
            namespace=meta.get("namespace") or "",
            session_id=marks.get(labels.SESSION) or None,
            start_key=marks.get(labels.START_KEY) or None,
            profile=marks.get(labels.PROFILE) or None,
            pool=marks.get(labels.POOL) or None,
            spot=marks.get(labels.SPOT) == "true",
            hub=marks.get(labels.HUB) or None,
            member=notes.get(_USERNAME),
            server_name=notes.get(_SERVER_NAME) or "",
            created_ms=instant_ms(meta.get("creationTimestamp")),
            scheduled_ms=instant_ms(scheduled.get("lastTransitionTime"))
            if scheduled is not None and is_scheduled
            else None,
            deleting_ms=_deleting_ms(meta),
            node=spec.get("nodeName") or None,
            address=status.get("podIP") or None,
            phase=status.get("phase") or "",
            status_reason=status.get("reason") or "",
            restarts=spec.get("restartPolicy") != "Never",
            disruption=(disrupted.get("reason") or "") if disrupted and is_disrupted else "",
            disruption_ms=instant_ms(disrupted.get("lastTransitionTime"))
            if disrupted is not None and is_disrupted
            else None,
            waits_for=(scheduled.get("message") or scheduled.get("reason") or "")
            if scheduled is not None and waits
            else "",
            requests=requests_of(spec),
            **_container(status),
        )


def _deleting_ms(meta: Mapping[str, Any]) -> int | None:
    """Return when a deletion was asked for: the API server tells when its grace is over."""
    over_ms = instant_ms(meta.get("deletionTimestamp"))
    if over_ms is None:
        return None
    return over_ms - int(meta.get("deletionGracePeriodSeconds") or 0) * 1000


def _container(status: Mapping[str, Any]) -> dict[str, Any]:
    found = list(status.get("containerStatuses") or ())
    mine = [one for one in found if one.get("name") == _MAIN_CONTAINER] or found[:1]
    if not mine:
        return {}
    state: Mapping[str, Any] = mine[0].get("state") or {}
    if "running" in state:
        return {"started_ms": instant_ms(state["running"].get("startedAt"))}
    # One that waits to be started again has ended before.
    last: Mapping[str, Any] = mine[0].get("lastState") or {}
    ended = state.get("terminated") or last.get("terminated")
    if not ended:
        return {}
    return {
        "started_ms": instant_ms(ended.get("startedAt")),
        "finished_ms": instant_ms(ended.get("finishedAt")),
        "exit_code": ended.get("exitCode"),
        "finish_reason": ended.get("reason") or "",
    }


@dataclass(frozen=True, slots=True)
class PodLoad:
    """Any pod of the cluster, as a load on its node."""

    node: str | None
    requests: Amounts

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> PodLoad | None:
        """Read the API server's JSON; None: it takes nothing (any more)."""
        spec, status = raw.get("spec") or {}, raw.get("status") or {}
        if status.get("phase") in _FINISHED:
            return None
        return cls(spec.get("nodeName") or None, requests_of(spec))


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps pods off a node that do not tolerate it."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node.

    Parameters
    ----------
    name, marks
        Its name and labels.
    taints, cordoned
        What keeps pods off.
    ready
        Whether its kubelet says that it works; one that is out of reach says nothing.
    ready_changed_ms
        Since when that is so.
    allocatable
        What pods may take of it.
    """

    name: str
    marks: Mapping[str, str]
    taints: tuple[Taint, ...] = ()
    cordoned: bool = False
    ready: bool = False
    ready_changed_ms: int | None = None
    allocatable: Amounts | None = None

    @property
    def is_spot(self) -> bool:
        """Whether its provider marks it as one that may be taken back."""
        return any(self.marks.get(name) == value for name, value in _SPOT.items())

    @property
    def is_leaving(self) -> bool:
        """Whether it is about to be taken away."""
        return any(taint.key.startswith(_LEAVING) for taint in self.taints)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> NodeSeen:
        """Read the API server's JSON."""
        meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
        conditions = {c.get("type"): c for c in status.get("conditions") or ()}
        ready: Mapping[str, Any] = conditions.get("Ready") or {}
        return cls(
            name=meta["name"],
            marks=meta.get("labels") or {},
            taints=tuple(
                Taint(t.get("key") or "", t.get("value") or "", t.get("effect") or "")
                for t in spec.get("taints") or ()
            ),
            cordoned=bool(spec.get("unschedulable")),
            ready=ready.get("status") == "True",
            ready_changed_ms=instant_ms(ready.get("lastTransitionTime")),
            allocatable=amounts_of(status.get("allocatable")),
        )
