"""GPUs as the scheduler counts them: the node is made to offer some, which is all it looks at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub.harness import eventually
from tests.kubernetes.cluster import Cluster, Json
from tests.kubernetes.harness import GPU, KubernetesHub


@pytest.fixture
def one_gpu(cluster: Cluster) -> Iterator[None]:
    with cluster.gpus(1, GPU):
        yield


def test_two_members_race_for_the_last_gpu(hub: KubernetesHub, one_gpu: None) -> None:
    names = ["racer-1", "racer-2"]
    for name in names:
        hub.add_user(name)
    for name in names:
        answer = hub.post_start(name, {"profile": "gpu", "gpu_model": "T4"})
        assert answer.status_code in (201, 202), answer.text
    first = eventually(
        lambda: next((n for n in names if hub.servers(n).get("", {}).get("ready")), None),
        "one of them has the GPU",
        within_s=60,
    )
    [second] = set(names) - {first}
    condition = eventually(lambda: _unscheduled(hub.pod(second)), "the other waits for it")
    assert f"Insufficient {GPU}" in condition["message"]
    [(ready_ms, *_)] = hub.usage(second)
    assert ready_ms is None  # waiting is free

    hub.stop_server(first)
    freed = hub.wait_ended(first)
    hub.wait_server(second)
    session = hub.wait_session(second)
    assert session["ready_at_ms"] >= freed.ended_ms - 1000
    hub.stop_server(second)
    assert hub.wait_ended(second).cost_is_exact


def test_a_server_without_gpus_says_so_also_after_one_with(
    hub: KubernetesHub, one_gpu: None
) -> None:
    hub.add_user("changes")
    hub.start_server("changes", profile="gpu", gpu_model="T4")
    assert _gpus(hub.pod("changes")) == {"limits": "1", "requests": "1"}
    hub.stop_server("changes")
    hub.start_server("changes", profile="cpu")
    assert _gpus(hub.pod("changes")) == {"limits": "0", "requests": "0"}
    hub.stop_server("changes")


def _unscheduled(pod: Json) -> Json | None:
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            found: Json = condition
            return found
    return None


def _gpus(pod: Json) -> dict[str, str]:
    resources = pod["spec"]["containers"][0]["resources"]
    return {part: resources[part].get(GPU) for part in ("limits", "requests")}
