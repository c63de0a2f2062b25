"""When a pod is over, since when and why, for what clusters really say."""

import pytest

from jhub_tokens.service.cluster.endings import Sighting, ending_of
from jhub_tokens.service.cluster.pods import NodeSeen, PodSeen, instant_ms

from .fake_api import node, pod, terminated

AT = "2026-11-01T10:00:00Z"
AT_MS = instant_ms(AT)
NOW_MS = AT_MS + 20_000
DELETED = {"deletionTimestamp": "2026-11-01T10:00:05Z", "deletionGracePeriodSeconds": 30}
#: As the API server of 1.26 and later words it.
EXHAUSTED = "TerminationByKubelet"


def disrupted(reason, at=AT):
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason}
    return {"conditions": [{**condition, "lastTransitionTime": at}]}


def seen(raw, *, of_node=None, known_ms=NOW_MS, **facts):
    item = NodeSeen.of(of_node) if of_node else None
    facts.setdefault("sees_nodes", of_node is not None)
    return ending_of(Sighting(PodSeen.of(raw), NOW_MS, known_ms, node=item, **facts))


OOM = terminated(AT, "OOMKilled", 137)


@pytest.mark.parametrize(
    ("raw", "facts", "reason"),
    [
        (pod("p", status={"phase": "Failed", "containerStatuses": [OOM]}), {}, "oom"),
        (
            pod("p", spec={"restartPolicy": "Never"}, status={"containerStatuses": [OOM]}),
            {},
            "oom",
        ),
        (
            pod("p", status={"phase": "Succeeded", "containerStatuses": [terminated(AT)]}),
            {},
            "exited",
        ),
        (
            pod("p", status={"phase": "Failed", "containerStatuses": [terminated(AT, "Error", 3)]}),
            {},
            "crashed",
        ),
        (
            pod(
                "p", metadata=DELETED, status={"containerStatuses": [terminated(AT, "Error", 137)]}
            ),
            {},
            "deleted",
        ),
        (
            pod(
                "p",
                status={
                    "phase": "Failed",
                    "reason": "Evicted",
                    "containerStatuses": [terminated(AT, "Error", 137)],
                },
            ),
            {},
            "evicted",
        ),
        (
            pod(
                "p",
                metadata=DELETED,
                status={
                    **disrupted("PreemptionByScheduler"),
                    "containerStatuses": [terminated(AT, "Error", 143)],
                },
            ),
            {},
            "displaced",
        ),
        (
            pod(
                "p",
                metadata=DELETED,
                status={
                    **disrupted("EvictionByEvictionAPI"),
                    "containerStatuses": [terminated(AT, "Error", 143)],
                },
            ),
            {},
            "evicted",
        ),
        (
            pod(
                "p",
                status={
                    "phase": "Failed",
                    "reason": "Terminated",
                    **disrupted(EXHAUSTED),
                    "containerStatuses": [terminated(AT, "Error", 143)],
                },
            ),
            {"spot": True},
            "preempted",
        ),
        (
            pod(
                "p",
                status={
                    "phase": "Failed",
                    "reason": "NodeShutdown",
                    "containerStatuses": [terminated(AT, "Error", 143)],
                },
            ),
            {},
            "node_lost",
        ),
    ],
)
def test_a_finish_that_was_observed(raw, facts, reason):
    ending = seen(raw, **facts)
    assert (ending.reason, ending.ended_ms, ending.exact) == (reason, AT_MS, True)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({}, "node_lost"),
        ({"cloud.google.com/gke-spot": "true"}, "preempted"),
        ({"eks.amazonaws.com/capacityType": "ON_DEMAND"}, "node_lost"),
    ],
)
def test_a_pod_that_is_deleted_on_a_node_out_of_reach_has_ended_with_it(labels, reason):
    lost = node(ready="Unknown", since=AT, labels=labels)
    ending = seen(pod("p", metadata=DELETED), of_node=lost)
    assert (ending.reason, ending.ended_ms, ending.exact) == (reason, AT_MS, True)


def test_a_node_that_is_gone_took_its_pods_along():
    ending = seen(pod("p"), of_node=node(), node_gone_ms=AT_MS, gone=True)
    assert (ending.reason, ending.ended_ms, ending.exact) == ("node_lost", AT_MS, True)


def test_a_spot_node_that_is_being_drained_is_taken_back():
    leaving = node(
        labels={"karpenter.sh/capacity-type": "spot"},
        spec={"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]},
    )
    raw = pod("p", metadata=DELETED, status={"containerStatuses": [terminated(AT, "Error", 143)]})
    assert seen(raw, of_node=leaving).reason == "preempted"


def test_a_node_that_does_not_answer_may_come_back():
    assert seen(pod("p"), of_node=node(ready="Unknown", since=AT)) is None


def test_what_no_watch_saw_is_no_sign_of_death():
    """Without fresh nodes, a missing node is no lost one."""
    assert seen(pod("p", metadata=DELETED), sees_nodes=False) is None


def test_a_restart_in_place_is_the_same_server():
    again = {"name": "notebook", "state": {"running": {"startedAt": AT}}, "lastState": OOM["state"]}
    assert seen(pod("p", status={"containerStatuses": [OOM]})) is None
    assert seen(pod("p", status={"containerStatuses": [again]})) is None
    # Its last end counts if it is not started again after all.
    waits = {"name": "notebook", "state": {"waiting": {}}, "lastState": OOM["state"]}
    ending = seen(pod("p", metadata=DELETED, status={"containerStatuses": [waits]}))
    assert (ending.reason, ending.ended_ms) == ("oom", AT_MS)


@pytest.mark.parametrize(("known_ms", "ended_ms"), [(NOW_MS, NOW_MS), (AT_MS, AT_MS), (None, 0)])
def test_a_pod_that_vanished_lived_for_as_long_as_it_was_watched(known_ms, ended_ms):
    ending = seen(pod("p"), known_ms=known_ms, gone=True)
    assert (ending.reason, ending.ended_ms, ending.exact) == ("deleted", ended_ms, False)


@pytest.mark.parametrize("key", ["state", "lastState"])
def test_a_deleted_pod_whose_kubelet_missed_its_end_ended_no_later_than_that_was_seen(key):
    """That of 1.20 says that it waits, and others that it is over; neither knows since when."""
    missed = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
    container = {"name": "notebook", "state": {"waiting": {}}, key: missed}
    assert seen(pod("p", status={"containerStatuses": [container]})) is None  # it may go on
    ending = seen(pod("p", metadata=DELETED, status={"containerStatuses": [container]}))
    assert (ending.reason, ending.ended_ms, ending.exact) == ("deleted", NOW_MS, False)


def test_a_living_pod_has_no_end():
    for phase in ("Pending", "Running", "Unknown"):
        assert seen(pod("p", status={"phase": phase}), of_node=node()) is None
    assert seen(pod("p", metadata=DELETED), of_node=node()) is None


def test_a_sidecar_is_not_the_server():
    side = {**terminated(AT, "Error", 1), "name": "sidecar"}
    raw = pod("p", spec={"restartPolicy": "Never"})
    raw["status"]["containerStatuses"].insert(0, side)
    assert seen(raw) is None
