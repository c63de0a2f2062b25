"""The cluster observer on a real cluster: real ends of real pods, and what its account may see."""

import asyncio
import os
import uuid
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.clock import SystemClock
from jhub_tokens.ledger import open_ledger
from jhub_tokens.service.cluster import strays
from jhub_tokens.service.cluster.api import Api, ApiProblem
from jhub_tokens.service.cluster.observer import ClusterObserver
from jhub_tokens.service.cluster.pods import instant_ms
from jhub_tokens.service.cluster.settings import ClusterSettings
from jhub_tokens.service.executors import Workers
from jhub_tokens.service.metrics import Metrics
from jhub_tokens.wire import Identity
from tests.ledger.conftest import CATALOGUE, Hub

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.skipif(not os.environ.get("KUBECONFIG"), reason="KUBECONFIG names no cluster"),
]

IMAGE = os.environ.get("JHUB_TOKENS_TEST_IMAGE", "localhost/jhub-tokens-singleuser:test")
RBAC = Path(__file__).parents[2] / "docs" / "cluster-observer-rbac.yaml"
GPU = "example.com/observed-gpu"
POOL = {"title": "All nodes", "gpu_model": "T4", "gpu_resource": GPU}


async def until(condition, what, *, seconds=120):
    async with asyncio.timeout(seconds):
        while not (found := condition()):
            await asyncio.sleep(0.1)
        return found


class Scene:
    """A namespace, books with a hub that tells, and an observer between the two."""

    def __init__(self, admin, namespace, ledger, clock, catalogue):
        self.admin, self.namespace, self.ledger, self.clock = admin, namespace, ledger, clock
        self.hub = Hub(ledger, clock)
        self.books = SimpleNamespace(is_open=True, ledger=ledger, catalogue=catalogue)
        self.members = 0

    @property
    def pods_path(self):
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def run(self, command, *, memory="128Mi", node=None, **spec):
        """Start a server: its session in the books, its pod in the cluster."""
        self.members += 1
        name = f"member-{self.members}"
        identity = Identity(hub_user_id=self.members, created="2026-01-01", name=name)
        key = self.hub.start(self.ledger.ensure_member(identity), identity, "gpu")
        row = next(row for row in sessions(self.ledger) if row["start_key"] == key)
        container = {
            "name": "notebook",
            "image": IMAGE,
            "command": ["/bin/sh", "-c", command],
            "resources": {
                "limits": {"memory": memory},
                "requests": {"cpu": "10m", "memory": "16Mi"},
            },
        }
        await self.admin.call(
            "POST",
            self.pods_path,
            body={
                "metadata": {
                    "name": name,
                    "labels": {
                        "component": "singleuser-server",
                        "jhub-tokens/session": row["session_id"],
                        "jhub-tokens/pool": "all",
                    },
                },
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 2,
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    **({"nodeName": node} if node else {}),
                    **spec,
                },
            },
        )
        self.hub.ready(key)
        return name, key

    async def pod(self, name):
        return await self.admin.call("GET", f"{self.pods_path}/{name}")

    async def ended(self, key, seconds=120):
        def end():
            row = next(row for row in sessions(self.ledger) if row["start_key"] == key)
            return row if row["ended_ms"] is not None else None

        return await until(end, "the session has ended", seconds=seconds)

    @asynccontextmanager
    async def observing(self, kubeconfig=None, **policy):
        """Let an observer work, by default as an administrator."""
        settings = ClusterSettings(
            access="kubeconfig", namespace=self.namespace, kubeconfig=kubeconfig or "", **policy
        )
        workers = Workers()
        observer = ClusterObserver(
            settings, self.books, workers, self.clock, Metrics(), lambda: None
        )
        task = asyncio.create_task(observer.run())
        try:
            await until(lambda: observer.pods and observer.pods.lists, "it has listed")
            yield observer
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            workers.close()


def sessions(ledger):
    with ledger._store.read() as connection:
        return connection.exec_driver_sql("select * from sessions").mappings().all()


@pytest.fixture
async def scene(tmp_path):
    admin = await Api.connect(ClusterSettings(access="kubeconfig"))
    name = f"k3-{uuid.uuid4().hex[:8]}"
    await admin.call("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    clock = SystemClock()
    pools = yaml.safe_dump({"pools": {"all": {**POOL, "selector": {"observed": name}}}})
    text = CATALOGUE.format(enforce="true", overrun="waive") + pools
    catalogue = parse_catalogue(text.replace("gpu_models: [T4, A100]", "pools: [all]"), "test.yaml")
    ledger = open_ledger(f"sqlite:///{tmp_path}/books.sqlite", clock, lambda: catalogue)
    yield Scene(admin, name, ledger, clock, catalogue)
    await admin.call("DELETE", f"/api/v1/namespaces/{name}")
    await admin.close()
    findings = ledger.audit()
    ledger.close()
    assert findings == ()


async def finish_ms(scene, name):
    status = (await scene.pod(name))["status"]["containerStatuses"][0]
    return instant_ms(status["state"]["terminated"]["finishedAt"])


async def test_out_of_memory(scene):
    async with scene.observing():
        name, key = await scene.run("exec tiny-server --eat")
        row = await scene.ended(key)
        assert row["end_reason"] == "oom"
        assert row["ended_ms"] == max(row["ready_ms"], await finish_ms(scene, name))
        (notice,) = scene.ledger.notices(row["member_id"])
        assert (notice.kind, notice.params["reason"]) == ("ended", "oom")


@pytest.mark.parametrize(("command", "reason"), [("exit 3", "crashed"), ("exit 0", "exited")])
async def test_its_own_process_ends(scene, command, reason):
    async with scene.observing():
        name, key = await scene.run(f"sleep 3; {command}")
        row = await scene.ended(key)
        assert row["end_reason"] == reason
        assert row["ended_ms"] == max(row["ready_ms"], await finish_ms(scene, name))


async def test_a_deleted_pod(scene):
    async with scene.observing() as observer:
        name, key = await scene.run("trap 'exit 0' TERM; sleep 600 & wait")
        await until(lambda: any(p.started_ms for p in observer.pods.items.values()), "it runs")
        asked_ms = scene.clock.now_ms()
        await scene.admin.call("DELETE", f"{scene.pods_path}/{name}")
        row = await scene.ended(key)
        assert row["end_reason"] == "deleted"
        # Whole seconds of the kubelet's clock, which is this machine's.
        assert asked_ms - 1000 <= row["ended_ms"] <= scene.clock.now_ms()
        scene.hub.stop(key)
        scene.hub.tell()
        assert (await scene.ended(key))["end_reason"] == "stopped"


async def test_an_end_while_nobody_watched(scene):
    """The service was away; the pod still tells when its container finished."""
    async with scene.observing() as observer:
        name, key = await scene.run("sleep 5; exit 3")
        await until(lambda: any(p.started_ms for p in observer.pods.items.values()), "it runs")
    while "terminated" not in (await scene.pod(name))["status"]["containerStatuses"][0]["state"]:
        await asyncio.sleep(0.2)
    assert all(row["ended_ms"] is None for row in sessions(scene.ledger))
    async with scene.observing():
        row = await scene.ended(key)
        assert row["ended_ms"] == max(row["ready_ms"], await finish_ms(scene, name))


@asynccontextmanager
async def node(scene, **status):
    """A node without a kubelet."""
    name = f"{scene.namespace}-node"
    made = {
        "metadata": {"name": name, "labels": {"observed": scene.namespace}},
        "status": status,
    }
    await scene.admin.call("POST", "/api/v1/nodes", body=made)
    try:
        yield name
    finally:
        with suppress(ApiProblem):
            await scene.admin.call("DELETE", f"/api/v1/nodes/{name}")


async def test_a_node_that_is_gone(scene):
    """The pod is on a node that never answers; the node goes, and the control plane cleans up."""
    async with scene.observing() as observer, node(scene) as name:
        await until(lambda: any(n.name == name for n in observer.nodes.items.values()), "a node")
        pod, key = await scene.run("sleep 600", node=name)
        await until(lambda: observer.pods.items, "a pod")
        await scene.admin.call("DELETE", f"/api/v1/nodes/{name}")
        gone_ms = scene.clock.now_ms()
        await scene.admin.call("DELETE", f"{scene.pods_path}/{pod}")
        row = await scene.ended(key)
        assert row["end_reason"] == "node_lost"
        assert abs(row["ended_ms"] - gone_ms) < 10_000


async def account(scene, tmp_path, *kinds):
    """A kubeconfig for a service account that has the documented roles of some kinds."""
    names = {"jhub": scene.namespace}
    account_path = f"/api/v1/namespaces/{scene.namespace}/serviceaccounts"
    await scene.admin.call("POST", account_path, body={"metadata": {"name": "jhub-tokens"}})
    for document in yaml.safe_load_all(RBAC.read_text()):
        if document["kind"].removesuffix("Binding") not in kinds:
            continue
        meta = document["metadata"]
        if "namespace" in meta:
            meta["namespace"] = names[meta["namespace"]]
        else:
            meta["name"] = f"{meta['name']}-{scene.namespace}"
            if "roleRef" in document:
                document["roleRef"]["name"] = meta["name"]
        for subject in document.get("subjects", ()):
            subject["namespace"] = names[subject["namespace"]]
        where = f"namespaces/{scene.namespace}/" if "namespace" in meta else ""
        plural = document["kind"].lower() + "s"
        path = f"/apis/rbac.authorization.k8s.io/v1/{where}{plural}"
        await scene.admin.call("POST", path, body=document)
    request = {"spec": {"expirationSeconds": 3600}}
    answer = await scene.admin.call("POST", f"{account_path}/jhub-tokens/token", body=request)
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"].split(":")[0]).read_text())
    config["users"] = [{"name": "observer", "user": {"token": answer["status"]["token"]}}]
    context = next(c for c in config["contexts"] if c["name"] == config["current-context"])
    context["context"]["user"] = "observer"
    path = tmp_path / "observer.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@asynccontextmanager
async def cluster_roles(scene):
    try:
        yield
    finally:
        for plural in ("clusterroles", "clusterrolebindings"):
            name = f"jhub-tokens-availability-{scene.namespace}"
            with suppress(ApiProblem):
                await scene.admin.call(
                    "DELETE", f"/apis/rbac.authorization.k8s.io/v1/{plural}/{name}"
                )


async def test_the_role_alone_observes_ends_and_no_nodes(scene, tmp_path):
    config = await account(scene, tmp_path, "Role")
    async with scene.observing(config) as observer:
        _, key = await scene.run("sleep 1; exit 3")
        assert (await scene.ended(key))["end_reason"] == "crashed"
        assert observer.nodes.problem.is_forbidden and observer.loads.problem.is_forbidden
        assert observer.board(scene.books.catalogue) is None


async def test_the_cluster_role_tells_what_is_free(scene, tmp_path):
    """The real scheduler counts the same: what it puts on the node is free no more."""
    async with cluster_roles(scene):
        config = await account(scene, tmp_path, "Role", "ClusterRole")
        profile = scene.books.catalogue.profiles["gpu"]
        has = {"cpu": "64", "memory": "256Gi", "pods": "10", GPU: "2"}
        ready = {"type": "Ready", "status": "True", "reason": "Test", "message": ""}
        async with scene.observing(config) as observer, node(scene) as name:

            async def alive():
                # Nobody else speaks for a node without a kubelet.
                status = {"capacity": has, "allocatable": has, "conditions": [ready]}
                path = f"/api/v1/nodes/{name}/status"
                await scene.admin.call("PATCH", path, body={"status": status})

            def free():
                board = observer.board(scene.books.catalogue)
                return None if board is None else board.pools(profile)[0]

            await alive()
            await until(lambda: (found := free()) and found.total == 2, "two GPUs")
            assert free().free == 2
            wants = {"nodeSelector": {"observed": scene.namespace}, "tolerations": [
                {"operator": "Exists"}
            ]}  # fmt: skip
            await scene.run("sleep 600", **wants, containers=[gpu_container()])
            await until(lambda: free().free == 1, "one is taken")
            await scene.run("sleep 600", **wants, containers=[gpu_container()])
            await until(lambda: free().free == 0, "both are taken")
            await scene.run("sleep 600", **wants, containers=[gpu_container()])

            def said():
                board = observer.board(scene.books.catalogue)
                return None if board is None else board.availability(profile)

            await until(lambda: said().pools[0].waiting_reason, "the scheduler says why it waits")
            assert said().pools[0].waiting_reason == "no GPU is free"
            assert said().text == "none of 2 free now · 1 waiting"


def gpu_container():
    return {
        "name": "notebook",
        "image": IMAGE,
        "command": ["sleep", "600"],
        "resources": {"limits": {GPU: "1"}},
    }


async def test_a_pod_without_a_session_is_stopped(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(strays, "REPORT_AFTER_MS", 0)
    _, key = await scene.run("sleep 600")
    scene.hub.stop(key)
    scene.hub.tell()
    config = await account(scene, tmp_path, "Role")
    async with scene.observing(config, on_stray="stop", stray_after_ms=0) as observer:
        await until(lambda: observer.looks, "it looks")
        assert [stray.why for stray in observer.strays] == ["closed"]
        await until(lambda: all(p.deleting_ms for p in observer.pods.items.values()), "stopped")


async def test_without_the_role_nothing_is_told(scene, tmp_path):
    config = await account(scene, tmp_path)
    api = await Api.connect(ClusterSettings(access="kubeconfig", kubeconfig=config))
    with pytest.raises(ApiProblem) as refused:
        await api.call("GET", scene.pods_path)
    await api.close()
    assert refused.value.is_forbidden
