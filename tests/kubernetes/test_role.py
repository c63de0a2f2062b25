"""The hub's role holds the least: each verb less breaks something, and not the books."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import httpx
import pytest

from tests.hub.harness import eventually
from tests.kubernetes.cluster import Json
from tests.kubernetes.conftest import MakeHub
from tests.kubernetes.harness import ROLE, KubernetesHub

_RESOURCES = {rule["resources"][0]: rule["verbs"] for rule in ROLE}
_RELOADED = "catalogue reloaded"


@pytest.fixture(scope="module")
def acting(make_module_hub: MakeHub) -> KubernetesHub:
    """Return a hub whose role changes while it runs."""
    return make_module_hub(after="c.Spawner.start_timeout = 30").start()


def test_every_verb_is_looked_at() -> None:
    looked_at = {("pods", "list"), ("pods", "watch"), ("events", "list"), ("events", "watch")}
    looked_at |= set(_ACTS)
    named = {(resource, verb) for resource, verbs in _RESOURCES.items() for verb in verbs}
    assert named == looked_at


def test_no_server_starts_without_creating_pods(acting: KubernetesHub) -> None:
    with _without(acting, "pods", "create"):
        assert _start_fails(acting, "no-create")


def test_no_server_stops_without_deleting_pods(acting: KubernetesHub) -> None:
    acting.add_user("no-delete")
    acting.start_server("no-delete")
    acting.wait_session("no-delete")
    with _without(acting, "pods", "delete"):
        # The hub swallows what a spawner's stop raises and answers 204: that tells nothing.
        acting.api("DELETE", "users/no-delete/server")
        eventually(lambda: "no-delete outlived its stop" in acting.log(), "the stop is tried")
        # It lives on, and so does its session: nobody uses a server for nothing.
        assert acting.pod("no-delete")["status"]["phase"] == "Running"
        assert acting.standing("no-delete")["sessions"]
    acting.wait_no_pod("no-delete")
    assert acting.wait_ended("no-delete").cost_is_exact


@pytest.mark.parametrize("verb", ["create", "get"])
def test_no_first_start_without_claims(acting: KubernetesHub, verb: str) -> None:
    with _without(acting, "persistentvolumeclaims", verb):
        assert _start_fails(acting, f"no-claim-{verb}")


def test_no_volume_grows_without_patching_claims(acting: KubernetesHub) -> None:
    name = "no-patch"
    acting.add_user(name)
    acting.start_server(name)
    [volume] = acting.claims_of(name)
    acting.stop_server(name)
    with _workspace(acting, "2Gi"):
        with _without(acting, "persistentvolumeclaims", "patch"):
            acting.start_server(name)
            assert _size(acting, volume) == "1Gi"
            acting.stop_server(name)
        acting.start_server(name)
        assert _size(acting, volume) == "2Gi"
        acting.stop_server(name)


def test_no_start_with_keys_without_creating_secrets(acting: KubernetesHub) -> None:
    acting.add_user("has-keys")
    acting.add_key("has-keys")
    with _without(acting, "secrets", "create"):
        assert _start_fails(acting, "has-keys")


def test_no_key_opens_a_running_server_without_patching_secrets(acting: KubernetesHub) -> None:
    name = "new-keys"
    acting.add_user(name)
    first = acting.add_key(name)
    acting.start_server(name)
    acting.wait_session(name)
    assert acting.keys_in_pod(name) == [first]
    with _without(acting, "secrets", "patch"):
        second = acting.add_key(name)
        eventually(
            lambda: "stay as they are for now: (403)" in acting.log(),
            "the hub tells that it cannot",
            within_s=90,
        )
        assert acting.keys_in_pod(name) == [first]
    eventually(
        lambda: sorted(acting.keys_in_pod(name)) == sorted([first, second]),
        "both keys are there",
        within_s=90,
    )
    acting.stop_server(name)
    eventually(lambda: not acting.secrets_of_servers(), "the Secret goes with its pod", within_s=60)


_ACTS = [
    ("secrets", "create"),
    ("secrets", "patch"),
    ("pods", "create"),
    ("pods", "delete"),
    ("persistentvolumeclaims", "create"),
    ("persistentvolumeclaims", "get"),
    ("persistentvolumeclaims", "patch"),
]


@pytest.mark.slow
@pytest.mark.parametrize("resource", ["pods", "events"])
def test_a_hub_that_may_not_look_starts_nothing(make_hub: MakeHub, resource: str) -> None:
    hub = make_hub(after="c.Spawner.start_timeout = 15")
    _set_role(hub, _role_without(resource, "list"))
    hub.start()
    hub.add_user("blind")
    try:
        answer = hub.post_start("blind", {"profile": "cpu"})
        failed = answer.status_code >= 400 or bool(hub.progress("blind")[-1].get("failed"))
    except httpx.HTTPError:
        failed = True  # KubeSpawner ends a hub whose watch does not work
    assert failed or _has_ended(hub)


@pytest.mark.slow
@pytest.mark.parametrize("resource", ["pods", "events"])
def test_a_hub_that_may_not_watch_lists_without_end(make_hub: MakeHub, resource: str) -> None:
    """KubeSpawner lists anew after each watch that fails, five times a second, and says so."""
    hub = make_hub()
    _set_role(hub, _role_without(resource, "watch"))
    hub.start()
    hub.add_user("polled")
    hub.start_server("polled")
    eventually(
        lambda: hub.log().count("Error when watching resources") > 10,
        "the hub complains again and again",
        within_s=60,
    )
    hub.stop_server("polled")


def _has_ended(hub: KubernetesHub) -> bool:
    assert hub.process is not None
    return bool(eventually(lambda: hub.process.poll() is not None, "the hub ends", within_s=60))


def _start_fails(hub: KubernetesHub, name: str) -> bool:
    hub.add_user(name)
    answer = hub.post_start(name, {"profile": "cpu"})
    failed = answer.status_code >= 400 or bool(hub.progress(name)[-1].get("failed"))
    assert hub.wait_ended(name).charged_grains == 0
    hub.wait_no_pod(name)
    return failed


def _role_without(resource: str, verb: str) -> list[Json]:
    rules = copy.deepcopy(ROLE)
    [rule] = [rule for rule in rules if resource in rule["resources"]]
    rule["verbs"].remove(verb)
    return rules


def _set_role(hub: KubernetesHub, rules: list[Json]) -> None:
    hub.namespace.patch("roles", "hub", {"rules": rules})
    # The API server's own copy follows a moment later.
    body = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    user = f"system:serviceaccount:{hub.namespace.name}:hub"

    def holds() -> bool:
        for resource, verbs in _RESOURCES.items():
            [now] = [rule["verbs"] for rule in rules if resource in rule["resources"]]
            for verb in verbs:
                asked = {"namespace": hub.namespace.name, "verb": verb, "resource": resource}
                review = hub.namespace.cluster.call(
                    "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                    {**body, "spec": {"user": user, "resourceAttributes": asked}},
                )  # fmt: skip
                if review["status"]["allowed"] != (verb in now):
                    return False
        return True

    eventually(holds, "the role holds")


@contextlib.contextmanager
def _without(hub: KubernetesHub, resource: str, verb: str) -> Iterator[None]:
    _set_role(hub, _role_without(resource, verb))
    try:
        yield
    finally:
        _set_role(hub, ROLE)


@contextlib.contextmanager
def _workspace(hub: KubernetesHub, size: str) -> Iterator[None]:
    file = hub.directory / "catalogue.yaml"
    before, reloaded = file.read_text(), hub.log().count(_RELOADED)
    file.write_text(before.replace("workspace: 1Gi", f"workspace: {size}"))
    try:
        eventually(lambda: hub.log().count(_RELOADED) > reloaded, "the catalogue is read")
        yield
    finally:
        file.write_text(before)


def _size(hub: KubernetesHub, volume: str) -> str:
    claim = hub.namespace.get("persistentvolumeclaims", volume)
    size: str = claim["spec"]["resources"]["requests"]["storage"]
    return size
