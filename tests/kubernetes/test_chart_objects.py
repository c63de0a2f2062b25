"""The objects of our chart, offered to a real API server: it would take every one of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.layers import rendered, tokens_values
from tests.kubernetes.cluster import Cluster, ClusterError, Namespace

#: Of the Prometheus operator, which a cluster of tests need not have.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}


def offer(cluster: Cluster, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
    """Have the server check an object, with all its admission, and keep nothing.

    An old server has some kinds in an earlier version only; the fields that we use are the same.
    """
    group, _, version = body["apiVersion"].rpartition("/")
    versions = [version]
    if group:
        known = cluster.call("GET", f"/apis/{group}")["versions"]
        versions += [each["version"] for each in known if each["version"] != version]
    for each in versions:
        base = f"/apis/{group}/{each}" if group else f"/api/{each}"
        try:
            resources = cluster.call("GET", base)["resources"]
        except ClusterError:
            continue
        for resource in resources:
            if resource["kind"] == body["kind"] and "/" not in resource["name"]:
                inside = f"/namespaces/{namespace}" if resource["namespaced"] else ""
                path = f"{base}{inside}/{resource['name']}?dryRun=All"
                body = {**body, "apiVersion": f"{group}/{each}" if group else each}
                return cluster.call("POST", path, body)
    pytest.fail(f"the server knows no {body['kind']} of {group}")


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
