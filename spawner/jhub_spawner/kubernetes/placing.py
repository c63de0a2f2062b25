"""From an admission to the values of a pod: where it runs, how much it gets, what it may do.

Pure. Everything is computed anew from the operator's own values at each start, so that nothing
of an earlier start, such as a GPU, can stick to a spawner that failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jhub_spawner.kubernetes.merging import both_required, has_mount, items_of, with_items
from jhub_spawner.kubernetes.quantities import as_quantity
from jhub_tokens import wire

__all__ = ["PLACED", "escaped", "placed"]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_SHM = "/dev/shm"
_GPU_SUFFIX = "/gpu"

#: The traits that a start sets; each is put back when the start is over.
PLACED = (
    "cpu_limit",
    "cpu_guarantee",
    "environment",
    "extra_annotations",
    "extra_labels",
    "extra_pod_config",
    "extra_resource_guarantees",
    "extra_resource_limits",
    "image",
    "mem_limit",
    "mem_guarantee",
    "node_affinity_preferred",
    "node_affinity_required",
    "node_selector",
    "pod_affinity_preferred",
    "pod_affinity_required",
    "pod_anti_affinity_preferred",
    "pod_anti_affinity_required",
    "priority_class_name",
    "storage_capacity",
    "tolerations",
    "volume_mounts",
    "volumes",
)


def escaped(text: str) -> str:
    """Return text that KubeSpawner's templates leave as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def placed(
    base: Mapping[str, Any], admission: wire.Admission, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Return the values of traits for an admitted start.

    Parameters
    ----------
    base
        The operator's values of the traits in `PLACED`.
    admission
        What was admitted.
    labels
        By which the pod tells whose it is.
    """
    pool = admission.pool or wire.NodePool(pool="", title="")
    return {
        **_amounts(base, admission, pool),
        **_place(base, admission, pool),
        **_affinities(base, pool.affinity),
        **_shared_memory(base, admission.shm_bytes),
        "image": admission.image_reference or base["image"],
        "environment": _environment(base["environment"], admission),
        "extra_labels": {**base["extra_labels"], **labels},
        "storage_capacity": as_quantity(admission.workspace_bytes)
        if admission.workspace_bytes
        else base["storage_capacity"],
    }


def _amounts(
    base: Mapping[str, Any], admission: wire.Admission, pool: wire.NodePool
) -> dict[str, Any]:
    """Limits as admitted; requests the same, or what the operator guarantees instead."""
    cpu, memory_bytes = admission.hardware.cpu, admission.hardware.memory_bytes
    gpus = {name: "0" for name in base["extra_resource_limits"] if name.endswith(_GPU_SUFFIX)}
    gpus[pool.gpu_resource] = str(admission.hardware.gpus)
    return {
        "cpu_limit": cpu,
        "cpu_guarantee": cpu if base["cpu_guarantee"] is None else min(base["cpu_guarantee"], cpu),
        "mem_limit": memory_bytes,
        "mem_guarantee": memory_bytes
        if base["mem_guarantee"] is None
        else min(base["mem_guarantee"], memory_bytes),
        # Said on a server without GPUs as well, whatever the operator's own values or a quota's
        # defaults say.
        "extra_resource_limits": {**base["extra_resource_limits"], **gpus},
        "extra_resource_guarantees": {**base["extra_resource_guarantees"], **gpus},
    }


def _place(
    base: Mapping[str, Any], admission: wire.Admission, pool: wire.NodePool
) -> dict[str, Any]:
    pod_config = dict(base["extra_pod_config"])
    if pool.runtime_class:
        pod_config["runtimeClassName"] = pool.runtime_class
    return {
        "node_selector": {**base["node_selector"], **pool.selector, **admission.node_selector},
        "tolerations": with_items(base["tolerations"], [_toleration(t) for t in pool.tolerations]),
        "priority_class_name": pool.priority_class or base["priority_class_name"],
        # One run of a server is one run of its container: what ends, for want of memory or
        # otherwise, is not started again behind the member's back.
        "extra_pod_config": {"restartPolicy": "Never", "enableServiceLinks": False, **pod_config},
    }


def _toleration(toleration: wire.Toleration) -> dict[str, Any]:
    written = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value or None,
        "effect": toleration.effect,
        "tolerationSeconds": toleration.seconds,
    }
    return {name: value for name, value in written.items() if value is not None}


def _affinities(base: Mapping[str, Any], affinity: Mapping[str, Any]) -> dict[str, Any]:
    nodes = affinity.get("nodeAffinity") or {}
    values: dict[str, Any] = {
        "node_affinity_required": both_required(
            (nodes.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [],
            list(items_of(base["node_affinity_required"])),
        ),
        "node_affinity_preferred": with_items(
            base["node_affinity_preferred"], nodes.get(_PREFERRED) or []
        ),
    }
    for kind, trait in (("podAffinity", "pod_affinity"), ("podAntiAffinity", "pod_anti_affinity")):
        pods = affinity.get(kind) or {}
        for when, suffix in ((_REQUIRED, "required"), (_PREFERRED, "preferred")):
            name = f"{trait}_{suffix}"
            values[name] = with_items(base[name], pods.get(when) or [])
    return values


def _shared_memory(base: Mapping[str, Any], shm_bytes: int | None) -> dict[str, Any]:
    volumes: Sequence[Mapping[str, Any]] = ()
    mounts: Sequence[Mapping[str, Any]] = ()
    if shm_bytes and not has_mount(base["volume_mounts"], _SHM):
        memory = {"medium": "Memory", "sizeLimit": as_quantity(shm_bytes)}
        volumes = [{"name": "jhub-tokens-shm", "emptyDir": memory}]
        mounts = [{"name": "jhub-tokens-shm", "mountPath": _SHM}]
    return {
        "volumes": with_items(base["volumes"], volumes),
        "volume_mounts": with_items(base["volume_mounts"], mounts),
    }


def _environment(own: Mapping[str, Any], admission: wire.Admission) -> dict[str, Any]:
    ours = {name: escaped(value) for name, value in admission.environment.items()}
    if not admission.hardware.gpus:
        # Where NVIDIA's runtime is the default of a node, images that ask for "all" would see GPUs
        # that others have paid for.
        ours.setdefault("NVIDIA_VISIBLE_DEVICES", "void")
    return {**ours, **own}
