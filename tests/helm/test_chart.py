"""Our chart: linted and rendered by Helm's engine, its objects checked against schemas."""

from __future__ import annotations

from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest

from tests.helm.layers import CHART, of_kind, rendered, tokens_values

EXAMPLES = ("university", "company")
#: Of the Prometheus operator, which is not part of Kubernetes.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}


def pods(objects: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for each in objects:
        spec = each.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            found.append((each["metadata"]["name"], template["spec"]))
    return found


@pytest.mark.parametrize("example", EXAMPLES)
def test_helm_finds_nothing_to_complain_of(example: str) -> None:
    report = helm.lint(CHART, tokens_values(example), strict=True)
    messages = [m for m in report.get("messages", []) if m.get("severity") not in (None, "INFO", 1)]
    assert messages == []


@pytest.mark.parametrize("version", ["1.30", "1.36"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_objects_are_what_kubernetes_takes(example: str, version: str) -> None:
    for each in rendered(tokens_values(example)):
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("replica",), 3),
        (("database", "secret"), "x"),
        (("cluster", "strays"), "kill"),
        (("cluster", "snapshots"), {"keep": 7}),
        (("replicas",), 0),
        (("metrics", "serviceMonitor", "enable"), True),
        (("priorityClasses",), [{"name": "a", "value": 1, "preempts": True}]),
    ],
)
def test_misspelt_keys_and_wrong_values_are_refused(path: tuple[str, ...], value: Any) -> None:
    values = tokens_values("university")
    place: Any = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(helm.HelmError):
        rendered(values)


@pytest.mark.parametrize("missing", ["catalogue", "image"])
def test_what_is_needed_is_named(missing: str) -> None:
    values = tokens_values("university")
    del values[missing]
    with pytest.raises(helm.HelmError, match=missing):
        rendered(values)


def test_an_owner_without_the_service_s_role_is_refused() -> None:
    values = tokens_values("university")
    values["database"]["serviceRole"] = ""
    with pytest.raises(helm.HelmError, match=r"database\.serviceRole"):
        rendered(values)


@pytest.mark.parametrize("example", EXAMPLES)
def test_no_pod_has_more_than_it_needs(example: str) -> None:
    objects = rendered(tokens_values(example))
    for name, spec in pods(objects):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
        # Only what watches pods may speak to the API server.
        assert spec["automountServiceAccountToken"] is (name == "jhub-tokens"), name


def test_the_schema_is_brought_forward_before_anything_else() -> None:
    objects = rendered(tokens_values("university"))
    (job,) = of_kind(objects, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--grant-to", "tokens_service"]
    owner = container["env"][0]["valueFrom"]["secretKeyRef"]["name"]
    (deployment,) = of_kind(objects, "Deployment")
    env = {e["name"]: e for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert owner == "jhub-tokens-database-owner"
    service = env["JHUB_TOKENS_DATABASE"]["valueFrom"]["secretKeyRef"]["name"]
    assert service == "jhub-tokens-database"
    assert env["JHUB_TOKENS_MIGRATE"]["value"] == "0"


def test_replicas_share_their_secrets_and_one_may_always_go() -> None:
    objects = rendered(tokens_values("company"))
    (deployment,) = of_kind(objects, "Deployment", "jhub-tokens")
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    (budget,) = of_kind(objects, "PodDisruptionBudget", "jhub-tokens")
    assert budget["spec"]["minAvailable"] == 1
    (secret,) = of_kind(rendered(tokens_values("university")), "Secret")
    assert set(secret["data"]) == {"service-token", "cookie-secret"}


def test_a_single_replica_can_be_moved() -> None:
    values = tokens_values("university") | {"replicas": 1}
    (budget,) = of_kind(rendered(values), "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1 and "minAvailable" not in budget["spec"]


def test_the_observer_gets_the_verbs_it_uses() -> None:
    def verbs(strays: str, availability: bool) -> dict[str, set[str]]:
        values = tokens_values("university")
        values["cluster"] = {"observe": True, "availability": availability, "strays": strays}
        objects = rendered(values)
        roles = [*of_kind(objects, "Role"), *of_kind(objects, "ClusterRole")]
        return {
            role["metadata"]["name"]: {v for rule in role["rules"] for v in rule["verbs"]}
            for role in roles
            if not role["metadata"]["name"].endswith("-hub")
        }

    look = {"list", "watch"}
    assert verbs("report", availability=False) == {"jhub-tokens": look}
    assert verbs("stop", availability=True) == {
        "jhub-tokens": look | {"delete"},
        "hub-jhub-tokens-availability": look,
    }


def test_daily_snapshots_come_with_their_days_their_class_and_no_verb_against_claims() -> None:
    objects = rendered(tokens_values("company"))
    (deployment,) = of_kind(objects, "Deployment", "jhub-tokens")
    env = {
        e["name"]: e.get("value")
        for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert env["JHUB_TOKENS_CLUSTER_SNAPSHOT_DAYS"] == "14"
    assert env["JHUB_TOKENS_CLUSTER_SNAPSHOT_CLASS"] == "premium"
    (role,) = [r for r in of_kind(objects, "Role") if r["metadata"]["name"] == "jhub-tokens"]
    verbs = {rule["resources"][0]: set(rule["verbs"]) for rule in role["rules"]}
    assert verbs["persistentvolumeclaims"] == {"get", "list", "create"}
    assert verbs["volumesnapshots"] == {"list", "create", "delete"}
    (deployment,) = of_kind(rendered(tokens_values("university")), "Deployment")
    assert "SNAPSHOT" not in str(deployment)


def test_snapshots_without_the_observer_that_makes_them_are_refused() -> None:
    values = tokens_values("company")
    values["cluster"]["observe"] = False
    del values["sshGateway"]
    with pytest.raises(helm.HelmError, match=r"cluster\.snapshots\.days.*cluster\.observe"):
        rendered(values)


def test_without_the_observer_there_is_no_token_to_steal() -> None:
    values = tokens_values("university")
    values["cluster"] = {"observe": False}
    objects = rendered(values)
    assert [r["metadata"]["name"] for r in of_kind(objects, "Role")] == ["jhub-tokens-hub"]
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_only_hub_proxy_and_prometheus_reach_the_service() -> None:
    (policy,) = of_kind(rendered(tokens_values("university")), "NetworkPolicy")
    sources = [source for rule in policy["spec"]["ingress"] for source in rule["from"]]
    assert sources == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "hub"}}},
        {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "proxy"}}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
    ]
