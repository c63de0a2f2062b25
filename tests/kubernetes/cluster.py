"""A real Kubernetes as the tests use it: any that `KUBECONFIG` names, by its REST API."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from kubernetes_asyncio import client, config
from kubernetes_asyncio.stream import WsApiClient

from tests.hub.harness import eventually

Json = dict[str, Any]

_GROUPS = {
    "persistentvolumeclaims": "api/v1",
    "persistentvolumes": "api/v1",
    "roles": "apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "apis/rbac.authorization.k8s.io/v1",
    "clusterroles": "apis/rbac.authorization.k8s.io/v1",
    "clusterrolebindings": "apis/rbac.authorization.k8s.io/v1",
    "priorityclasses": "apis/scheduling.k8s.io/v1",
    "storageclasses": "apis/storage.k8s.io/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
    "deployments": "apis/apps/v1",
    "jobs": "apis/batch/v1",
}
_PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}


class ClusterError(AssertionError):
    """An answer of the API server that a test did not expect."""


class Cluster:
    """The API server that `KUBECONFIG` names, as whoever it names."""

    def __init__(self) -> None:
        settings, token = asyncio.run(_settings())
        self.url: str = settings.host
        self.ca_file: str = settings.ssl_ca_cert
        context = ssl.create_default_context(cafile=self.ca_file)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        self.http = httpx.Client(
            base_url=self.url,
            verify=context,
            timeout=30,
            trust_env=False,
            headers={"Authorization": token} if token else {},
        )

    # --- the API --------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Json:
        response = self.http.request(method, path, json=body, **kwargs)
        if response.status_code >= 300:
            raise ClusterError(f"{method} {path}: {response.status_code} {response.text}")
        answer: Json = response.json()
        return answer

    def answers(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, kind: str, name: str = "", namespace: str = "") -> Json:
        return self.call("GET", _path(kind, name, namespace))

    def find(self, kind: str, name: str, namespace: str = "") -> Json | None:
        response = self.http.get(_path(kind, name, namespace))
        if response.status_code == 404:
            return None
        response.raise_for_status()
        answer: Json = response.json()
        return answer

    def items(self, kind: str, namespace: str = "", labels: str = "") -> list[Json]:
        found = self.http.get(_path(kind, "", namespace), params={"labelSelector": labels})
        found.raise_for_status()
        items: list[Json] = found.json()["items"]
        return items

    def create(self, kind: str, body: Json, namespace: str = "") -> Json:
        return self.call("POST", _path(kind, "", namespace), body)

    def patch(
        self, kind: str, name: str, body: Any, namespace: str = "", *, how: str = "merge",
        part: str = "",
    ) -> Json:  # fmt: skip
        path = _path(kind, name, namespace) + (f"/{part}" if part else "")
        return self.call("PATCH", path, body, headers={"Content-Type": _PATCHES[how]})

    def delete(self, kind: str, name: str, namespace: str = "", grace_s: int | None = None) -> None:
        params = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        response = self.http.delete(_path(kind, name, namespace), params=params)
        assert response.status_code in (200, 202, 404), response.text

    # --- what there is --------------------------------------------------------------------------

    def node(self) -> Json:
        """Return the node on which the pods of the tests run: the first that takes any."""
        for node in self.items("nodes"):
            taints = node["spec"].get("taints") or []
            if not any(taint["effect"] == "NoSchedule" for taint in taints):
                return node
        raise ClusterError("no node takes pods")

    def node_address(self) -> str:
        """Return the address of the node on which the pods of the tests run."""
        addresses = self.node()["status"]["addresses"]
        return next(str(a["address"]) for a in addresses if a["type"] == "InternalIP")

    def address(self) -> str:
        """Return the address of this machine as pods reach it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((self.node_address(), 9))  # sends nothing; the kernel chooses the way
            return str(probe.getsockname()[0])

    def default_storage_class(self) -> str | None:
        for storage in self.items("storageclasses"):
            annotations = storage["metadata"].get("annotations") or {}
            if annotations.get("storageclass.kubernetes.io/is-default-class") == "true":
                return str(storage["metadata"]["name"])
        return None

    @contextlib.contextmanager
    def namespace(self, *, enforce: str = "restricted") -> Iterator[Namespace]:
        name = f"jhub-tokens-{secrets.token_hex(4)}"
        labels = {"pod-security.kubernetes.io/enforce": enforce}
        self.create("namespaces", {"metadata": {"name": name, "labels": labels}})
        namespace = Namespace(self, name)
        try:
            # Pods are refused before it is there.
            eventually(lambda: namespace.find("serviceaccounts", "default"), "a service account")
            yield namespace
        finally:
            for pod in namespace.items("pods"):
                namespace.delete("pods", pod["metadata"]["name"], grace_s=0)
            self.delete("namespaces", name)

    @contextlib.contextmanager
    def gpus(self, count: int, resource: str = "nvidia.com/gpu") -> Iterator[None]:
        """Make the scheduler count GPUs that the node does not have."""
        name = self.node()["metadata"]["name"]
        key = "/status/capacity/" + resource.replace("~", "~0").replace("/", "~1")
        self.patch(
            "nodes", name, [{"op": "add", "path": key, "value": str(count)}],
            how="json", part="status",
        )  # fmt: skip
        try:
            eventually(
                lambda: self.node()["status"]["allocatable"].get(resource) == str(count),
                "the node offers GPUs",
            )
            yield
        finally:
            self.patch("nodes", name, [{"op": "remove", "path": key}], how="json", part="status")


class Namespace:
    """A namespace of one's own, removed with everything in it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def get(self, kind: str, name: str) -> Json:
        return self.cluster.get(kind, name, self.name)

    def find(self, kind: str, name: str) -> Json | None:
        return self.cluster.find(kind, name, self.name)

    def items(self, kind: str, labels: str = "") -> list[Json]:
        return self.cluster.items(kind, self.name, labels)

    def create(self, kind: str, body: Json) -> Json:
        return self.cluster.create(kind, body, self.name)

    def patch(self, kind: str, name: str, body: Any, **kwargs: Any) -> Json:
        return self.cluster.patch(kind, name, body, self.name, **kwargs)

    def delete(self, kind: str, name: str, grace_s: int | None = None) -> None:
        self.cluster.delete(kind, name, self.name, grace_s)

    def pod_of(self, user: str, server: str = "") -> Json | None:
        """Return the pod of a member's server; fails if there are several."""
        names = {"username": user, "servername": server}
        found = [
            pod
            for pod in self.items("pods", "component=singleuser-server")
            if all(
                pod["metadata"]["annotations"].get(f"hub.jupyter.org/{key}", "") == value
                for key, value in names.items()
            )
        ]
        assert len(found) <= 1, [pod["metadata"]["name"] for pod in found]
        return found[0] if found else None

    def run(self, pod: str, *command: str) -> str:
        """Run a command in a pod; return what it prints."""
        return asyncio.run(_run(self.name, pod, command))

    def account(self, name: str, rules: list[Json], directory: Path) -> Path:
        """Make a service account that may do what `rules` say; return its kubeconfig."""
        self.create("serviceaccounts", {"metadata": {"name": name}})
        self.create("roles", {"metadata": {"name": name}, "rules": rules})
        self.create("rolebindings", self._binding("Role", name, name))
        path = f"/api/v1/namespaces/{self.name}/serviceaccounts/{name}/token"
        asked = {"spec": {"audiences": [], "expirationSeconds": 6 * 3600}}
        token = self.cluster.call("POST", path, asked)["status"]["token"]
        file = directory / f"{name}.kubeconfig"
        file.write_text(json.dumps(_kubeconfig(self.cluster, self.name, token)))
        file.chmod(0o600)
        return file

    @contextlib.contextmanager
    def on_whole_cluster(self, name: str, rules: list[Json]) -> Iterator[None]:
        """Let an account of this namespace do what `rules` say everywhere."""
        role = f"{self.name}-{name}"
        self.cluster.create("clusterroles", {"metadata": {"name": role}, "rules": rules})
        try:
            body = self._binding("ClusterRole", role, name)
            self.cluster.create("clusterrolebindings", body)
            yield
        finally:
            self.cluster.delete("clusterrolebindings", role)
            self.cluster.delete("clusterroles", role)

    def _binding(self, kind: str, role: str, account: str) -> Json:
        return {
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.name}],
        }


class Volumes:
    """Volumes for claims: the cluster's own, or directories of a node that is this machine.

    A cluster without a default StorageClass is given one of `local` volumes, which get the pod's
    group as real ones do.
    """

    def __init__(self, cluster: Cluster, directory: Path, count: int = 40) -> None:
        self._cluster = cluster
        self._made: list[str] = []
        own = cluster.default_storage_class()
        self.storage_class = own or f"jhub-tokens-{secrets.token_hex(4)}"
        self._ours = own is None
        if own is not None:
            return
        cluster.create(
            "storageclasses",
            {
                "metadata": {"name": self.storage_class},
                "provisioner": "kubernetes.io/no-provisioner",
                "allowVolumeExpansion": True,
                "reclaimPolicy": "Retain",
            },
        )
        node = cluster.node()["metadata"]["labels"]["kubernetes.io/hostname"]
        for number in range(count):
            place = directory / f"volume-{number}"
            place.mkdir(parents=True)
            name = f"{self.storage_class}-{number}"
            cluster.create(
                "persistentvolumes", _local_volume(name, self.storage_class, place, node)
            )
            self._made.append(name)

    def close(self) -> None:
        for name in self._made:
            self._cluster.delete("persistentvolumes", name)
        if self._ours:
            self._cluster.delete("storageclasses", self.storage_class)


async def _run(namespace: str, pod: str, command: Sequence[str]) -> str:
    settings, _ = await _settings()
    async with WsApiClient(settings) as sockets:
        said: str = await client.CoreV1Api(sockets).connect_get_namespaced_pod_exec(
            pod, namespace, command=list(command), stdout=True, stderr=True
        )
    return said


def _kubeconfig(cluster: Cluster, namespace: str, token: str) -> Json:
    authority = base64.b64encode(Path(cluster.ca_file).read_bytes()).decode()
    where = {"server": cluster.url, "certificate-authority-data": authority}
    context = {"cluster": "tests", "user": "tests", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "contexts": [{"name": "tests", "context": context}],
        "clusters": [{"name": "tests", "cluster": where}],
        "users": [{"name": "tests", "user": {"token": token}}],
    }


async def _settings() -> tuple[client.Configuration, str | None]:
    settings = client.Configuration()
    await config.load_kube_config(client_configuration=settings)
    return settings, await settings.get_api_key_with_prefix("BearerToken")


def _local_volume(name: str, storage_class: str, place: Path, node: str) -> Json:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": storage_class,
            "local": {"path": str(place)},
            "nodeAffinity": {
                "required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]},
            },
        },
    }


def _path(kind: str, name: str, namespace: str) -> str:
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/{_GROUPS.get(kind, 'api/v1')}{within}/{kind}" + (f"/{name}" if name else "")


def image() -> str:
    """Return the single-user image, see ``ci/kubernetes/image``."""
    name = os.environ.get("JHUB_TOKENS_TEST_IMAGE")
    assert name, "set JHUB_TOKENS_TEST_IMAGE to the name that ci/kubernetes/image --name prints"
    return name
