"""A hub whose servers are pods of a real cluster; hub, service and proxy are processes here.

So they are started, killed and read as fast as those of the other tests, and pods reach them at the
address of this machine.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from jhub_tokens.wire.labels import START_KEY
from tests.hub.harness import API_TOKEN, HubProcess, eventually
from tests.kubernetes.cluster import Json, Namespace, image

#: As our images start it.
REAL_SERVER = ["tini", "--", "/opt/server/bin/python", "-I", "/usr/local/bin/jhub-entrypoint"]

#: A pod may take so long to go, though its container ended at once: a kubelet that looks while it
#: ends a pod sees the rest only when it sweeps, once a minute.
GONE_S = 150.0

#: What the scheduler is made to count.
GPU = "nvidia.com/gpu"

CATALOGUE = """\
title: Test
zone: UTC
default_plan: pro
adopt_profile: cpu
top_up: Ask the admin of the tests.
policy:
  minimum_run: 5s
  grace: 4s
  stop_time: 10s
  warn_before: [30m]
  overrun: waive
pools:
  any: {{title: any node, selector: {{kubernetes.io/os: linux}}}}
  t4: {{title: T4 nodes, gpu_model: T4, selector: {{kubernetes.io/os: linux}}, gpu_resource: {gpu}}}
  # There is none of these.
  a100:
    title: A100 nodes
    gpu_model: A100
    selector: {{kubernetes.io/os: linux}}
    gpu_resource: tests.jhub-tokens/none
profiles:
  # Little enough for many of them on a small node.
  cpu: {{title: CPU, rate: 60, cpu: 0.02, memory: 64M, pools: [any]}}
  notebook: {{title: Notebook, rate: 60, cpu: 0.5, memory: 1G, pools: [any]}}
  gpu: {{title: One GPU, rate: 600, cpu: 0.02, memory: 64M, gpus: 1, pools: [t4, a100], shm: 8M}}
  huge: {{title: More than any node has, rate: 60, cpu: 4000, memory: 64M, pools: [any]}}
  eater: {{title: Less than it takes, rate: 60, cpu: 0.5, memory: 8M, pools: [any]}}
plans:
  pro:
    title: Pro
    tokens: 300
    profiles: [cpu, notebook, gpu, huge, eater]
    max_servers: 3
    workspace: 1Gi
  brief: {{title: Brief, tokens: 1, profiles: [cpu, notebook], workspace: 1Gi}}
  herd: {{title: Herd, tokens: 40, profiles: [cpu], max_servers: 50, workspace: 1Gi}}
images:
  there: {{title: There, lifecycle: recommended}}
  missing: {{title: Nowhere, reference: "localhost/there-is-no-such-image:1"}}
assign:
  - {{plan: brief, members: [{brief}]}}
  - {{plan: herd, members: [herd]}}
"""

CONFIG = """\
from jhub_authenticator import DemoAuthenticator
from jhub_tokens.hub import configure

c = get_config()
c.JupyterHub.bind_url = "http://0.0.0.0:{port}"
c.JupyterHub.hub_bind_url = "http://0.0.0.0:{hub_port}"
c.JupyterHub.hub_connect_url = "http://{address}:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.auth_token = "the-proxy-token-of-the-tests"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.db_url = "sqlite:///{directory}/jupyterhub.sqlite"
c.JupyterHub.authenticator_class = DemoAuthenticator
c.Authenticator.admin_users = {{"admin"}}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.init_spawners_timeout = -1
c.Spawner.consecutive_failure_limit = 5
c.Spawner.http_timeout = 90
c.Spawner.start_timeout = 120
c.Spawner.poll_interval = 5

c.JupyterHub.spawner_class = "token-kubernetes"
c.KubeSpawner.namespace = "{namespace}"
c.KubeSpawner.image = "{image}"
c.KubeSpawner.cmd = {command}
c.KubeSpawner.delete_grace_period = 5
c.KubeSpawner.storage_class = "{storage_class}"
configure_kwargs = dict(
    catalogue="{directory}/catalogue.yaml",
    state_dir="{directory}/state",
    url_from_servers="http://{address}:{port}",
    service_environment={service_environment},
)
{before}
configure(c, **configure_kwargs)
c.JupyterHub.services = [{{"name": "tests", "api_token": "{api_token}"}}]
c.JupyterHub.load_roles = [
    {{
        "name": "tests",
        "services": ["tests"],
        "scopes": [
            "admin:users", "admin:servers", "tokens", "access:services", "access:servers",
            "proxy", "custom:jhub-tokens:read", "custom:jhub-tokens:grant",
        ],
    }},
]
{after}
"""

_DOCS = Path(__file__).parents[2] / "docs"


def rules_of(file: str, kind: str = "Role") -> list[Json]:
    """Return what an account may do as the documentation's manifests say."""
    documents = yaml.safe_load_all((_DOCS / file).read_text())
    return [rule for found in documents if found["kind"] == kind for rule in found["rules"]]


#: The least that a hub needs; each verb less breaks something (test_role.py).
ROLE = rules_of("hub-rbac.yaml")

_BRIEF = ", ".join(f"brief-{number}" for number in range(1, 61))


@contextmanager
def observer_environment(namespace: Namespace, directory: Path) -> Iterator[dict[str, str]]:
    """Return what a token service is told that looks at the cluster, with an account of its own."""
    file = "cluster-observer-rbac.yaml"
    kubeconfig = namespace.account("tokens", rules_of(file), directory)
    with namespace.on_whole_cluster("tokens", rules_of(file, "ClusterRole")):
        yield {
            "JHUB_TOKENS_CLUSTER": "kubeconfig",
            "JHUB_TOKENS_CLUSTER_NAMESPACE": namespace.name,
            "KUBECONFIG": str(kubeconfig),
        }


class KubernetesHub(HubProcess):
    """One hub in a directory of its own, with a namespace for its pods."""

    def __init__(
        self,
        directory: Path,
        namespace: Namespace,
        *,
        kubeconfig: Path | None = None,
        service_environment: dict[str, str] | None = None,
        real_server: bool = False,
        ssh: bool = False,
        command: list[str] | None = None,
        storage_class: str,
        before: str = "",
        after: str = "",
    ) -> None:
        self.namespace = namespace
        self.kubeconfig = kubeconfig or namespace.account("hub", ROLE, directory)
        self._storage_class = storage_class
        self._service_environment = service_environment or {}
        self._ssh = ssh
        self._command = command or (REAL_SERVER if real_server else ["tiny-server"])
        super().__init__(directory, real_server=real_server, before=before, after=after)
        # What this hub may do on the cluster is what its role says.
        self.environment["KUBECONFIG"] = str(self.kubeconfig)
        text = CATALOGUE.format(brief=_BRIEF, gpu=GPU)
        directory.joinpath("catalogue.yaml").write_text(text)

    def configure(self, before: str = "", after: str = "") -> None:
        address = self.namespace.cluster.address()
        if self._ssh:
            self._service_environment |= {
                "JHUB_TOKENS_SSH": "tunnel",
                "JHUB_TOKENS_PUBLIC_URL": f"http://{address}:{self.port}/services/tokens/",
            }
        text = CONFIG.format(
            address=address,
            port=self.port,
            hub_port=self.hub_port,
            proxy_port=self.proxy_port,
            directory=self.directory,
            namespace=self.namespace.name,
            image=image(),
            command=self._command,
            storage_class=self._storage_class,
            service_environment=self._service_environment,
            api_token=API_TOKEN,
            before=before,
            after=after,
        )
        self.directory.joinpath("jupyterhub_config.py").write_text(text)

    def start(self, *, ready: bool = True, within_s: float = 180.0) -> KubernetesHub:
        """Start it; a cluster on the same machine leaves it less of the processors."""
        super().start(ready=ready, within_s=within_s)
        return self

    # --- pods -----------------------------------------------------------------------------------

    def pod(self, name: str, server: str = "") -> Json:
        pod = self.namespace.pod_of(name, server)
        assert pod is not None, f"{name} has no pod"
        return pod

    def claims_of(self, name: str, server: str = "") -> list[str]:
        """Return the names of the claims that a member's server has mounted."""
        volumes = self.pod(name, server)["spec"]["volumes"]
        claims = (volume.get("persistentVolumeClaim") for volume in volumes)
        return [claim["claimName"] for claim in claims if claim]

    def delete_pod(self, name: str, grace_s: int | None = None) -> None:
        self.namespace.delete("pods", self.pod(name)["metadata"]["name"], grace_s)

    # --- SSH keys -------------------------------------------------------------------------------

    def add_key(self, name: str, line: str = "") -> str:
        """Add a public key to a member's own, by default a new one; return its line."""
        line = line or public_line(Ed25519PrivateKey.generate())
        token = self.api("POST", f"users/{name}/tokens", json={"note": "for the test"}).json()

        def added() -> bool:
            response = self.tokens(
                "POST",
                "members/me/ssh-keys",
                json={"name": f"key-{now_ms()}", "key": line},
                headers={"Authorization": f"token {token['token']}"},
            )
            assert response.status_code == 201 or "no_membership" in response.text, response.text
            return response.status_code == 201

        # A user whom the hub's API made becomes a member when the hub tells of it.
        eventually(added, f"{name} has a key")
        return line

    def keys_in_pod(self, name: str) -> list[str]:
        """Return the keys in the Secret that a member's pod has mounted, without comments."""
        volumes = self.pod(name)["spec"]["volumes"]
        [secret] = [v["secret"]["secretName"] for v in volumes if v["name"] == "ssh-keys"]
        data = self.namespace.get("secrets", secret)["data"]["authorized_keys"]
        lines = base64.b64decode(data).decode().splitlines()
        return [" ".join(line.split()[:2]) for line in lines]

    def secrets_of_servers(self) -> list[Json]:
        """Return the Secrets that were made for servers."""
        return self.namespace.items("secrets", START_KEY)

    @contextmanager
    def held(self, name: str) -> Iterator[Callable[[], int | None]]:
        """Keep what the API knows of a pod, until it has told when its container finished.

        It tells None if the kubelet has missed that, as that of 1.20 does in one of thirty pods
        that are deleted: it removes a container that has ended before it has looked at its end.
        """
        pod = self.pod(name)["metadata"]["name"]

        def hold(finalizers: list[str] | None) -> None:
            self.namespace.patch("pods", pod, {"metadata": {"finalizers": finalizers}})

        def end() -> Json | None:
            [status] = self.namespace.get("pods", pod)["status"]["containerStatuses"]
            return status["state"].get("terminated") or status["lastState"].get("terminated")

        def finished_ms() -> int | None:
            finish = eventually(end, f"the container of {name} ends", within_s=60)["finishedAt"]
            return finish and round(datetime.fromisoformat(finish).timestamp() * 1000)

        hold(["tests.jhub-tokens/held"])
        try:
            yield finished_ms
        finally:
            hold(None)

    def notices(self, name: str) -> list[str]:
        """Return what a member is told."""
        return [notice["text"] for notice in self.standing(name)["notices"]]

    def evict_pod(self, name: str) -> None:
        """Evict it as a drained node does."""
        pod = self.pod(name)["metadata"]["name"]
        # policy/v1 came with 1.22, and v1beta1 went with 1.25.
        versions = self.namespace.cluster.call("GET", "/apis/policy")["versions"]
        latest = versions[0]["groupVersion"]
        body = {"apiVersion": latest, "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{self.namespace.name}/pods/{pod}/eviction"
        self.namespace.cluster.call("POST", path, body)

    def wait_stopped(self, name: str, server: str = "", within_s: float = GONE_S) -> None:
        """Wait as for any hub, for as long as pods take to go."""
        super().wait_stopped(name, server, within_s)

    def wait_no_pod(self, name: str, within_s: float = GONE_S) -> None:
        eventually(
            lambda: self.namespace.pod_of(name) is None, f"{name} has no pod", within_s=within_s
        )

    def wait_gone(self, name: str, within_s: float = GONE_S) -> None:
        """Wait until neither cluster nor hub has anything of a member's servers."""
        self.wait_no_pod(name, within_s)
        eventually(
            lambda: not self.servers(name), f"the hub has forgotten {name}", within_s=within_s
        )

    def progress(self, name: str) -> list[Json]:
        """Return all events of the progress of a start, waiting for its end."""
        events = []
        path = f"/hub/api/users/{name}/server/progress"
        with self.client.stream("GET", path, timeout=180) as response:
            assert response.status_code == 200, response.read()
            for line in response.iter_lines():
                if line.startswith("data:"):
                    events.append(json.loads(line.removeprefix("data:")))
        return events

    # --- ends -----------------------------------------------------------------------------------

    def wait_ended(self, name: str, within_s: float = GONE_S) -> Ended:
        """Return the member's one session once it has ended."""

        def ended() -> Ended | None:
            rows = self.usage(name)
            assert len(rows) <= 1, rows
            if not rows or rows[0][1] is None:
                return None
            return Ended(*rows[0])

        return eventually(ended, f"the session of {name} has ended", within_s=within_s)


class Ended:
    """A session that has ended, as the books hold it."""

    def __init__(self, ready_ms: Any, ended_ms: Any, reason: Any, charged: Any, rate: Any) -> None:
        self.ready_ms, self.ended_ms, self.reason = ready_ms, ended_ms, reason
        self.charged_grains, self.rate_mtok_h = charged, rate

    @property
    def cost_is_exact(self) -> bool:
        return self.charged_grains == self.rate_mtok_h * (self.ended_ms - self.ready_ms)


def public_line(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def now_ms() -> int:
    return time.time_ns() // 1_000_000
