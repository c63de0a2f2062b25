"""Why a start does not get on, and what the pending page says, from what a cluster really tells.

The pods and events are cut from those of real clusters, 1.20 to 1.34.
"""

from __future__ import annotations

from typing import Any

import pytest

from jhub_spawner.kubernetes.causes import (
    hopeless,
    not_created,
    nothing_happened,
    waiting_for,
)
from jhub_spawner.kubernetes.quantities import as_bytes, as_quantity
from jhub_spawner.kubernetes.telling import steps

Json = dict[str, Any]


def pod(state: Json | None = None, *, node: str = "node-1", **status: Any) -> Json:
    """Return a pod whose container is in `state`."""
    container = [{"name": "notebook", "state": state}] if state else []
    return {
        "metadata": {"name": "jupyter-ada", "uid": "u"},
        "spec": {"nodeName": node},
        "status": {"phase": "Pending", "containerStatuses": container, **status},
    }


def unscheduled(message: str) -> Json:
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    return pod(None, node="", conditions=[condition])


def event(reason: str, message: str = "") -> Json:
    return {"reason": reason, "message": message, "involvedObject": {"uid": "u"}}


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "unschedulable", "No GPU"),
        (
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had taint",
            "unschedulable",
            "room",
        ),
        (
            "0/1 nodes are available: 1 node(s) didn't match node selector.",
            "unschedulable",
            "no node",
        ),
        ('persistentvolumeclaim "workspace-1" not found', "volume", "not there"),
        ("pod has unbound immediate PersistentVolumeClaims", "volume", "not there"),
        ("1 node(s) had volume node affinity conflict", "volume", "another zone"),
    ],
)
def test_why_no_node_takes_it(message: str, kind: str, said: str) -> None:
    cause = waiting_for(unscheduled(message), [])
    assert cause is not None and cause.kind == kind
    assert said in cause.message and cause.remedy
    assert message in cause.detail
    # A node may come any moment: it is for the operator's patience to end that.
    assert hopeless(unscheduled(message), [], 0, 1e9) is None


@pytest.mark.parametrize(
    ("reason", "message", "at_once"),
    [
        ("InvalidImageName", "couldn't parse image reference", True),
        ("ErrImageNeverPull", "Container image is not present with pull policy of Never", True),
        ("ErrImagePull", "failed to resolve reference: example/x:1: not found", True),
        ("ErrImagePull", "pull access denied, repository does not exist", True),
        ("ErrImagePull", "dial tcp: i/o timeout", False),
        ("ImagePullBackOff", "Back-off pulling image", False),
    ],
)
def test_an_image_that_cannot_be_pulled(reason: str, message: str, at_once: bool) -> None:
    stuck = pod(waiting(reason, message))
    early, late = hopeless(stuck, [], 60, 0), hopeless(stuck, [], 60, 61)
    assert (early is not None) == at_once
    assert late is not None and late.kind == "image" and "cannot be pulled" in late.message


def test_a_back_off_remembers_what_the_pull_said() -> None:
    failed = event("Failed", 'Failed to pull image "x": not found')
    cause = hopeless(pod(waiting("ImagePullBackOff", "Back-off")), [failed], 60, 0)
    assert cause is not None and "not found" in cause.detail


def test_ends_at_the_start_are_told_apart() -> None:
    oom = hopeless(pod({"terminated": {"reason": "OOMKilled", "exitCode": 137}}), [], 60, 0)
    assert oom is not None and oom.kind == "memory" and "more memory" in oom.remedy
    ended = hopeless(pod({"terminated": {"reason": "Error", "exitCode": 3}}), [], 60, 0)
    assert ended is not None and ended.kind == "exited" and "exit code 3" in ended.message
    evicted = hopeless(pod(None, phase="Failed", reason="Evicted", message="disk"), [], 60, 0)
    assert evicted is not None and evicted.kind == "ended" and "Evicted" in evicted.message
    gone = pod({"running": {}})
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    deleted = hopeless(gone, [], 60, 0)
    assert deleted is not None and "deleted" in deleted.message


def test_an_operator_s_first_container_is_meant_to_end() -> None:
    first = [{"name": "init", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]
    assert hopeless(pod(waiting("PodInitializing"), initContainerStatuses=first), [], 60, 0) is None
    first[0]["state"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
    cause = hopeless(pod(waiting("PodInitializing"), initContainerStatuses=first), [], 60, 0)
    assert cause is not None and cause.kind == "exited"


def test_a_volume_that_does_not_come() -> None:
    stuck = pod(waiting("ContainerCreating"))
    multi = event("FailedAttachVolume", "Multi-Attach error for volume pvc-1")
    cause = waiting_for(stuck, [multi])
    assert cause is not None and "another node" in cause.message and "other servers" in cause.remedy
    cause = waiting_for(stuck, [event("FailedMount", "timed out waiting for the condition")])
    assert cause is not None and cause.kind == "volume"
    # What was mended since is no cause any more.
    assert waiting_for(pod({"running": {}}), [multi]) is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, 'pods "x" is forbidden: exceeded quota: members, requested: pods=1', "quota"),
        (403, 'violates PodSecurity "restricted:latest": privileged', "config"),
        (422, "Pod is invalid: spec.containers[0].resources", "config"),
    ],
)
def test_what_the_api_server_refuses(status: int, body: str, kind: str) -> None:
    cause = not_created(status, body)
    assert cause is not None and cause.kind == kind and cause.remedy
    assert not_created(500, body) is None


def test_when_nothing_can_be_seen_it_says_how_long_it_waited() -> None:
    assert "57 s" in nothing_happened(None, 57).message


# --- the pending page -----------------------------------------------------------------------------


def said(of: Json | None, *events: Json) -> list[str]:
    told = steps(of, events, "T4 nodes")
    assert [progress for progress, _ in told] == sorted(progress for progress, _ in told)
    return [message for _, message in told]


def test_a_start_tells_its_story() -> None:
    story = [
        event("Scheduled"),
        event("Pulling", 'Pulling image "x"'),
        event("Pulled", 'Successfully pulled image "x" in 1m2.5s (1m2.6s including waiting). '
              "Image size: 4200000000 bytes."),
        event("Started"),
    ]  # fmt: skip
    assert said(None) == []
    assert said(pod(waiting("ContainerCreating")), *story[:1]) == ["A place was found on T4 nodes."]
    assert said(pod(waiting("ContainerCreating")), *story[:2])[-2:] == [
        "Your volume is attached.",
        "The image is being pulled; the first time on a node takes a while.",
    ]
    assert said(pod({"running": {}}), *story) == [
        "A place was found on T4 nodes.",
        "Your volume is attached.",
        "The image (4.2 GB) was pulled in 62 s.",
        "The server runs; Jupyter is starting.",
    ]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ('Container image "x" already present on machine', "on the node already"),
        ('Successfully pulled image "x" in 1.234567s', "pulled in 1 s"),
        ('Successfully pulled image "x" in 812ms (812ms including waiting)', "pulled in 0 s"),
    ],
)
def test_an_image_is_there_or_was_pulled(message: str, told: str) -> None:
    assert any(told in line for line in said(pod({"running": {}}), event("Pulled", message)))


def test_waiting_for_a_node_says_why_and_that_it_is_free() -> None:
    short = unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
    (line,) = said(short)
    assert "No GPU of this kind is free." in line and "waiting is free" in line
    told = steps(short, [event("TriggeredScaleUp", "pod triggered scale-up")], "")
    assert any("new node" in message for _, message in told)


def test_a_stuck_volume_and_image_are_told_while_the_cluster_tries_again() -> None:
    creating = pod(waiting("ContainerCreating"))
    lines = said(creating, event("FailedAttachVolume", "Multi-Attach error"))
    assert "still attached to another node" in lines[-1]
    pulling = pod(waiting("ImagePullBackOff", "Back-off"))
    assert "cannot be pulled" in said(pulling, event("Pulling"))[-1]


# --- quantities -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "size"),
    [("20Gi", 20 * 2**30), ("20G", 20e9), ("1.5Ti", 1.5 * 2**40), ("100", 100), ("1e3", 1000),
     ("128974848000m", 128974848)],
)  # fmt: skip
def test_quantities_are_read_as_the_cluster_writes_them(quantity: str, size: float) -> None:
    assert as_bytes(quantity) == size


def test_bytes_are_written_exactly() -> None:
    for size in (1, 1023, 1024, 5 * 2**30, 2**40, 2**30 + 1):
        assert as_bytes(as_quantity(size)) == size
    with pytest.raises(ValueError, match="quantity"):
        as_bytes("20 Gigs")
