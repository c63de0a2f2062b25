"""The objects of our chart, offered to a real API server: it would take every one of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.layers import rendered, tokens_values
from tests.kubernetes.chart import FOREIGN, offer
from tests.kubernetes.cluster import Cluster, ClusterError, Namespace


def pod_templates(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for each in objects:
        spec = each.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            name = f"{each['metadata']['name']}-probe"
            found.append(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": name, **template["metadata"]},
                    "spec": {**template["spec"], "serviceAccountName": "default"},
                }
            )
    return found


@pytest.mark.parametrize("example", ["university", "company"])
def test_the_server_takes_every_object(
    cluster: Cluster, namespace: Namespace, example: str
) -> None:
    values = tokens_values(example)
    values["priorityClasses"] = [{"name": f"{namespace.name}-standard", "value": 10}]
    objects = [e for e in rendered(values, namespace.name) if e["kind"] not in FOREIGN]
    for each in objects:
        answer = offer(cluster, namespace.name, each)
        assert answer["metadata"]["name"] == each["metadata"]["name"]


def test_its_pods_pass_in_a_restricted_namespace(cluster: Cluster, namespace: Namespace) -> None:
    pods = pod_templates(rendered(tokens_values("university"), namespace.name))
    assert len(pods) == 4  # the service, the migration, the audit, the backup
    for pod in pods:
        offer(cluster, namespace.name, pod)


def test_a_pod_that_wants_more_is_refused(cluster: Cluster, namespace: Namespace) -> None:
    pod = pod_templates(rendered(tokens_values("university"), namespace.name))[0]
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(ClusterError, match="PodSecurity"):
        offer(cluster, namespace.name, pod)


def test_a_wrong_field_is_refused(cluster: Cluster, namespace: Namespace) -> None:
    service = next(
        e for e in rendered(tokens_values("university"), namespace.name) if e["kind"] == "Service"
    )
    service["spec"]["ports"][0]["port"] = "ten"
    with pytest.raises(ClusterError):
        offer(cluster, namespace.name, service)
