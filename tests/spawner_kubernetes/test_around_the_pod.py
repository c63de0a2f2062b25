"""What a start asks of the API server besides the pod, and what it leaves behind."""

from __future__ import annotations

import asyncio
import base64
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes_asyncio.client.rest import ApiException

from jhub_spawner.kubernetes import TokenKubeSpawner
from jhub_spawner.kubernetes.failed import StartFailed
from jhub_spawner.kubernetes.lost import lost_among
from jhub_tokens.ssh_keys import keys_digest
from jhub_tokens.wire import labels

from .conftest import GIB, Make, admission, cpu, plain

Json = dict[str, Any]
KEY = "ssh-ed25519 AAAA"
POD = SimpleNamespace(metadata=SimpleNamespace(name="jupyter-ada"))


class Api:
    """Notes what is asked, and answers as told to; the real server is in tests/kubernetes."""

    def __init__(self, spawner: TokenKubeSpawner, **answers: Any) -> None:
        self.asked: list[tuple[str, Json]] = []
        self._answers = answers
        self._spawner = spawner

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.asked.append((name, {**kwargs, "args": args}))
            if name == "create_namespaced_pod":
                appear(self._spawner)
            answer = self._answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def names(self) -> list[str]:
        return [name for name, _ in self.asked]

    def of(self, name: str) -> Json:
        return next(kwargs for asked, kwargs in self.asked if asked == name)


def watches(spawner: TokenKubeSpawner) -> tuple[Any, Any]:
    """Return what stands for KubeSpawner's watches of pods and events."""
    loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    loaded.set_result(None)
    pods = SimpleNamespace(pods={}, resources={}, first_load_future=loaded)
    events = SimpleNamespace(events=[], resources={}, first_load_future=loaded)
    for kind, reflector in (("pods", pods), ("events", events)):
        type(spawner).reflectors[spawner._get_reflector_key(kind)] = reflector
    return pods, events


def appear(
    spawner: TokenKubeSpawner, *, uid: str = "uid-1", label: str | None = None, **status: Any
) -> None:
    """Let the watch see the pod of the present start."""
    pods = spawner.pod_reflector.pods
    pods[f"{spawner.namespace}/{spawner.pod_name}"] = {
        "metadata": {
            "name": spawner.pod_name,
            "namespace": spawner.namespace,
            "uid": uid,
            "labels": {labels.START_KEY: label or spawner.start_label()},
        },
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Pending", "podIP": "127.0.0.1", "containerStatuses": [], **status},
    }


async def ready_to_start(make: Make, what: Any, answers: Json | None = None, **traits: Any) -> Any:
    spawner = make(**traits)
    watches(spawner)
    spawner.api = Api(spawner, **(answers or {}))
    spawner.token_admission = what
    await spawner.apply_admission(what)
    return spawner


def claim(size: str, **metadata: Any) -> Any:
    return SimpleNamespace(
        metadata=SimpleNamespace(deletion_timestamp=None, **metadata),
        spec=SimpleNamespace(resources=SimpleNamespace(requests={"storage": size})),
    )


# --- the claim ------------------------------------------------------------------------------------

READ = "read_namespaced_persistent_volume_claim"
PATCH = "patch_namespaced_persistent_volume_claim"


async def test_a_claim_grows_with_the_plan_and_is_looked_at_once(make: Make) -> None:
    spawner = await ready_to_start(make, cpu(workspace_bytes=50 * GIB), {READ: claim("10Gi")})
    await spawner.tend_claim()
    assert spawner.api.names() == [READ, PATCH]
    assert spawner.api.of(PATCH)["body"] == {
        "spec": {"resources": {"requests": {"storage": "50Gi"}}}
    }
    again = make()
    again.load_state(spawner.get_state())
    again.api = Api(again)
    await again.apply_admission(cpu(workspace_bytes=50 * GIB))
    await again.tend_claim()
    assert again.api.names() == []  # nothing changed, nothing is asked


async def test_a_claim_never_shrinks(make: Make) -> None:
    spawner = await ready_to_start(make, cpu(workspace_bytes=10 * GIB), {READ: claim("50Gi")})
    await spawner.tend_claim()
    assert spawner.api.names() == [READ]


async def test_where_a_claim_cannot_grow_the_start_goes_on(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {READ: claim("10Gi"), PATCH: ApiException(status=403, reason="Forbidden")}
    spawner = await ready_to_start(make, cpu(workspace_bytes=50 * GIB), answers)
    caplog.set_level("WARNING", logger=spawner.log.name)
    spawner.log.propagate = True
    await spawner.tend_claim()
    assert "allowVolumeExpansion" in caplog.text
    spawner.api.asked.clear()
    await spawner.tend_claim()
    assert spawner.api.names() == [READ, PATCH]  # it may be allowed by now


async def test_a_claim_that_an_administrator_deleted_is_made_anew(make: Make) -> None:
    spawner = await ready_to_start(make, cpu(), {READ: ApiException(status=404)})
    spawner._pvc_exists = True
    await spawner.tend_claim()
    assert spawner._pvc_exists is False  # KubeSpawner makes it then


async def test_nothing_starts_on_a_claim_that_is_going(make: Make) -> None:
    going = claim("10Gi")
    going.metadata.deletion_timestamp = "2026-01-01"
    spawner = await ready_to_start(make, cpu(), {READ: going})
    with pytest.raises(StartFailed, match="being deleted"):
        await spawner.tend_claim()


async def test_deleting_a_hub_user_deletes_no_claim(make: Make) -> None:
    for name in ("", "second"):
        spawner = make(name=name)
        spawner.api = Api(spawner)
        await spawner.delete_forever()
        assert spawner.api.names() == []


# --- SSH keys -------------------------------------------------------------------------------------


async def keys_volume(spawner: TokenKubeSpawner) -> Json | None:
    volumes = plain(await spawner.get_pod_manifest())["spec"]["volumes"]
    found: list[Json] = [volume["secret"] for volume in volumes if volume["name"] == "ssh-keys"]
    return found[0] if found else None


async def test_keys_are_in_a_secret_that_goes_with_the_pod(make: Make) -> None:
    spawner = await ready_to_start(make, cpu(authorized_keys=[KEY, KEY + "B"]))
    spawner.token_attempt = SimpleNamespace(label=spawner.start_label())
    assert await spawner._make_create_pod_request(POD, 5)
    assert spawner.api.names() == ["create_namespaced_pod", "create_namespaced_secret"]
    _namespace, secret = spawner.api.of("create_namespaced_secret")["args"]
    assert base64.b64decode(secret.data["authorized_keys"]).decode() == f"{KEY}\n{KEY}B\n"
    (owner,) = secret.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid) == ("Pod", spawner.pod_name, "uid-1")
    mounted = await keys_volume(spawner)
    assert mounted == {"secretName": secret.metadata.name, "optional": False}
    assert spawner.ssh_keys_digest == keys_digest([KEY, KEY + "B"])


async def test_without_keys_there_is_no_secret_and_none_is_waited_for(make: Make) -> None:
    spawner = await ready_to_start(make, cpu())
    spawner.token_attempt = SimpleNamespace(label=spawner.start_label())
    await spawner._make_create_pod_request(POD, 5)
    assert spawner.api.names() == ["create_namespaced_pod"]
    mounted = await keys_volume(spawner)
    assert mounted is not None and mounted["optional"] is True


async def test_new_keys_reach_a_running_server(make: Make) -> None:
    spawner = await ready_to_start(make, cpu(authorized_keys=[KEY]))
    spawner.token_attempt = SimpleNamespace(label=spawner.start_label())
    await spawner._make_create_pod_request(POD, 5)
    after = make()
    after.load_state(spawner.get_state())  # also of a hub that was restarted meanwhile
    watches(after)
    after.api = Api(after)
    new = [KEY + "C"]
    await after.set_authorized_keys(new, keys_digest(new))
    asked = after.api.of("patch_namespaced_secret")
    assert asked["name"] == spawner.ssh_secret_name
    assert base64.b64decode(asked["body"]["data"]["authorized_keys"]).decode() == f"{KEY}C\n"
    assert after.ssh_keys_digest == keys_digest(new)


async def test_the_first_key_makes_the_secret_that_was_not_needed_before(make: Make) -> None:
    gone = {"patch_namespaced_secret": ApiException(status=404)}
    spawner = await ready_to_start(make, cpu(), gone)
    spawner.token_attempt = SimpleNamespace(label=spawner.start_label())
    await spawner._make_create_pod_request(POD, 5)
    await spawner.set_authorized_keys([KEY], keys_digest([KEY]))
    assert spawner.api.names()[-1] == "create_namespaced_secret"
    assert spawner.ssh_keys_digest == keys_digest([KEY])


async def test_a_service_for_ssh_leads_to_this_start_alone(make: Make) -> None:
    port = SimpleNamespace(node_port=30022)
    made = SimpleNamespace(metadata=SimpleNamespace(name="s"), spec=SimpleNamespace(ports=[port]))
    answers = {"create_namespaced_service": made}
    spawner = await ready_to_start(make, cpu(), answers, ssh_service="NodePort")
    spawner.token_attempt = SimpleNamespace(label=spawner.start_label())
    await spawner._make_create_pod_request(POD, 5)
    _namespace, service = spawner.api.of("create_namespaced_service")["args"]
    assert service.spec.selector == {labels.START_KEY: spawner.start_label()}
    assert (service.spec.type, service.spec.ports[0].target_port) == ("NodePort", 2222)


async def test_without_ssh_nothing_of_it_is_there(make: Make) -> None:
    spawner = await ready_to_start(make, cpu(authorized_keys=[KEY]), ssh=False)
    await spawner._make_create_pod_request(POD, 5)
    assert spawner.api.names() == ["create_namespaced_pod"]
    assert await keys_volume(spawner) is None
    env = (await spawner.get_pod_manifest()).spec.containers[0].env
    assert {entry.name: entry.value for entry in env}["JHUB_SSH"] == "off"


# --- starts that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"containerStatuses": [{"name": "notebook", "ready": False, "state": {
            "terminated": {"reason": "OOMKilled", "exitCode": 137}}}], "phase": "Failed"},
         "out of memory"),
        ({"containerStatuses": [{"name": "notebook", "ready": False, "state": {
            "waiting": {"reason": "InvalidImageName"}}}]}, "cannot be pulled"),
    ],
)  # fmt: skip
async def test_a_start_that_cannot_succeed_fails_at_once_and_leaves_no_pod(
    make: Make, status: Json, said: str
) -> None:
    spawner = await ready_to_start(make, cpu(), {READ: claim("10Gi")})

    async def created(*_args: Any) -> bool:
        appear(spawner, **status)
        return True

    spawner._make_create_pod_request = created
    with pytest.raises(StartFailed, match=said) as failed:
        await asyncio.wait_for(spawner.start(), 20)
    assert failed.value.jupyterhub_message.startswith(failed.value.refusal.message)
    deleted = spawner.api.of("delete_namespaced_pod")
    assert (deleted["name"], deleted["grace_period_seconds"]) == (spawner.pod_name, 0)


async def test_a_start_that_takes_too_long_names_what_it_waited_for(make: Make) -> None:
    spawner = await ready_to_start(make, cpu(), {READ: claim("10Gi")}, start_timeout=1)

    async def created(*_args: Any) -> bool:
        message = "0/3 nodes are available: 3 Insufficient cpu."
        condition = {"type": "PodScheduled", "status": "False", "message": message}
        appear(spawner, conditions=[condition])
        return True

    spawner._make_create_pod_request = created
    with pytest.raises(StartFailed, match="No node has room"):
        await spawner.start()
    assert "delete_namespaced_pod" in spawner.api.names()


async def test_a_cancelled_start_leaves_no_pod(make: Make) -> None:
    spawner = await ready_to_start(make, cpu(), {READ: claim("10Gi")})
    made = asyncio.Event()

    async def created(*_args: Any) -> bool:
        appear(spawner)
        made.set()
        return True

    spawner._make_create_pod_request = created
    future = spawner.start()
    await asyncio.wait_for(made.wait(), 10)
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    async with asyncio.timeout(10):
        while "delete_namespaced_pod" not in spawner.api.names():
            await asyncio.sleep(0)


async def test_a_quota_is_named(make: Make) -> None:
    over = ApiException(status=403, reason="Forbidden")
    over.body = 'pods "jupyter-ada" is forbidden: exceeded quota: members'
    spawner = await ready_to_start(
        make, cpu(), {READ: claim("10Gi"), "create_namespaced_pod": over}
    )
    with pytest.raises(StartFailed, match="limit of what all servers"):
        await spawner.start()


# --- whose events ---------------------------------------------------------------------------------


async def test_progress_and_events_are_never_those_of_an_earlier_start(make: Make) -> None:
    spawner = await ready_to_start(make, admission(key="the-second-start"))
    pods, events = watches(spawner)
    spawner.token_attempt = SimpleNamespace(label=spawner.start_label(), answers=False, future=None)
    for uid, reason in (("old", "Failed"), ("new", "Scheduled")):
        events.resources[uid] = {
            "reason": reason,
            "metadata": {"uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "involvedObject": {"name": spawner.pod_name, "uid": uid},
            "lastTimestamp": None,
            "eventTime": None,
        }
    appear(spawner, uid="old", label="the-first-start")
    assert spawner.current_pod() is None and spawner.events == []
    appear(spawner, uid="new")
    assert [event["reason"] for event in spawner.events] == ["Scheduled"]
    assert spawner._attempt_of(spawner.token_admission) is spawner.token_attempt
    spawner.token_admission = admission(key="a-third-start")
    assert spawner._attempt_of(spawner.token_admission) is None  # it has not begun


# --- what the hub has lost ------------------------------------------------------------------------


def seen(name: str, **has: str) -> Json:
    return {"metadata": {"name": name, "namespace": "ns", "uid": name, "labels": has}}


def test_only_this_hub_s_own_forgotten_pods_are_lost() -> None:
    ours = {labels.HUB: "hub"}
    pods = [
        seen("known", **ours),
        seen("lost", **ours, **{labels.START_KEY: "over"}),
        seen("lingers", **ours, **{labels.START_KEY: "open"}),
        seen("another-hub", **{labels.HUB: "other"}),
        seen("no-hub"),
    ]
    going = seen("going", **ours)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert list(lost_among([*pods, going], "hub", {"ns/known"}, {"open"})) == ["lost"]
