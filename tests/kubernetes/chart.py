"""Our chart on a real cluster: its objects offered, or installed and running."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.helm.layers import of_kind, rendered
from tests.hub.harness import eventually
from tests.kubernetes.cluster import Cluster, ClusterError, Json, Namespace

#: Of the Prometheus operator, which a cluster of tests need not have.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}


def offer(cluster: Cluster, namespace: str, body: Json) -> Json:
    """Have the server check an object, with all its admission, and keep nothing."""
    path, body = _place(cluster, namespace, body)
    return cluster.call("POST", f"{path}?dryRun=All", body)


def _place(cluster: Cluster, namespace: str, body: Json) -> tuple[str, Json]:
    """Return where objects of this kind are made, and the object as this server knows its kind.

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
                known_as = f"{group}/{each}" if group else each
                return f"{base}{inside}/{resource['name']}", {**body, "apiVersion": known_as}
    pytest.fail(f"the server knows no {body['kind']} of {group}")


class Release:
    """Our chart, installed as Helm installs it; `objects` is what was rendered."""

    def __init__(self, namespace: Namespace, values: Mapping[str, Any]) -> None:
        self.namespace = namespace
        self.objects = [e for e in rendered(values, namespace.name) if e["kind"] not in FOREIGN]
        self._cluster_wide: list[str] = []
        self._address = ""  # of the token service

    def install(self) -> None:
        """Run the hooks, each to its end, then make all the rest."""
        for body in self.objects:
            if "helm.sh/hook" in body["metadata"].get("annotations", {}):
                self._create(body)
                self.wait_done(body["metadata"]["name"])
        # Services first, for the address that names stand for.
        for body in sorted(self.objects, key=lambda body: body["kind"] != "Service"):
            if "helm.sh/hook" not in body["metadata"].get("annotations", {}):
                self._create(self._with_names(body))
        for component in ("service", "ssh-gateway"):
            self.wait_available(component)

    def url(self) -> str:
        """Return where the token service is, by an address that does not change."""
        [port] = self.namespace.get("services", "jhub-tokens")["spec"]["ports"]
        return f"http://{self._address}:{port['port']}"

    def secret(self, key: str) -> str:
        """Return what the chart made up."""
        [secret] = of_kind(self.objects, "Secret", "jhub-tokens")
        return base64.b64decode(secret["data"][key]).decode()

    def pods(self, component: str) -> list[Json]:
        return self.namespace.items("pods", f"app.kubernetes.io/component={component}")

    def wait_available(self, component: str) -> None:
        """Wait until all replicas of a component are ready, beside any that are ending."""
        [wanted] = [
            body["spec"]["replicas"]
            for body in of_kind(self.objects, "Deployment")
            if body["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == component
        ]

        def available() -> bool:
            conditions = [
                condition["status"]
                for pod in self.pods(component)
                if "deletionTimestamp" not in pod["metadata"]
                for condition in pod["status"].get("conditions", [{"type": "Ready", "status": ""}])
                if condition["type"] == "Ready"
            ]
            return conditions == ["True"] * wanted

        eventually(available, f"{component} is available", within_s=180, every_s=0.5)

    def run_now(self, cron_job: str) -> None:
        """Run what a CronJob runs, and wait until it has succeeded."""
        [body] = of_kind(self.objects, "CronJob", cron_job)
        spec = body["spec"]["jobTemplate"]["spec"]
        name = f"{cron_job}-now"
        self.namespace.create("jobs", {"metadata": {"name": name}, "spec": spec})
        self.wait_done(name)

    def wait_done(self, job: str) -> None:
        """Wait until a Job has succeeded; fail at once if it has failed."""

        def done() -> bool:
            status = self.namespace.get("jobs", job)["status"]
            for condition in status.get("conditions", []):
                assert condition["type"] != "Failed", f"{job}: {self._logs(job)}"
            return bool(status.get("succeeded"))

        eventually(done, f"the Job {job} is done", within_s=180, every_s=0.5)

    def uninstall(self) -> None:
        """Remove what does not go with the namespace."""
        for path in self._cluster_wide:
            self.namespace.cluster.call("DELETE", path)

    def _create(self, body: Json) -> None:
        cluster = self.namespace.cluster
        path, body = _place(cluster, self.namespace.name, body)
        made = cluster.call("POST", path, body)
        if "namespace" not in made["metadata"]:
            self._cluster_wide.append(f"{path}/{made['metadata']['name']}")
        if made["kind"] == "Service" and made["metadata"]["name"] == "jhub-tokens":
            self._address = made["spec"]["clusterIP"]

    def _with_names(self, body: Json) -> Json:
        """Let pods know the service by name, on a cluster that has no DNS."""
        if body["kind"] == "Deployment":
            names = {"ip": self._address, "hostnames": ["jhub-tokens"]}
            body["spec"]["template"]["spec"]["hostAliases"] = [names]
        return body

    def _logs(self, job: str) -> str:
        said = []
        for pod in self.namespace.items("pods", f"job-name={job}"):
            path = f"/api/v1/namespaces/{self.namespace.name}/pods/{pod['metadata']['name']}/log"
            said.append(self.namespace.cluster.http.get(path).text)
        return "\n".join(said)[-4000:]


@contextlib.contextmanager
def installed(namespace: Namespace, values: Mapping[str, Any]) -> Iterator[Release]:
    """Install our chart, and remove it again."""
    release = Release(namespace, values)
    try:
        release.install()
        yield release
    finally:
        release.uninstall()
