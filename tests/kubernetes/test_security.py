"""Servers run where Pod Security's "restricted" is enforced, and hold no key to the cluster."""

from __future__ import annotations

import pytest

from tests.kubernetes.cluster import ClusterError, Namespace, image
from tests.kubernetes.conftest import MakeHub
from tests.kubernetes.harness import KubernetesHub


def test_what_a_server_may_do(hub: KubernetesHub) -> None:
    hub.add_user("looks")
    hub.start_server("looks")
    pod = hub.pod("looks")
    assert not pod["spec"].get("hostNetwork") and not pod["spec"].get("hostPID")
    assert not any("hostPath" in volume for volume in pod["spec"]["volumes"])

    # As the kernel has it, not as the manifest says.
    name = pod["metadata"]["name"]
    status = dict(
        line.split(":\t", 1)
        for line in hub.namespace.run(name, "cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )
    assert status["Uid"].split() == ["1000"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"  # a filter
    found = hub.namespace.run(name, "ls", "/var/run/secrets/kubernetes.io")
    assert "No such file" in found
    # The volume is the member's to write.
    assert hub.namespace.run(name, "touch", "/workspace/written") == ""
    hub.stop_server("looks")


@pytest.mark.parametrize(
    "spec",
    [
        {"hostNetwork": True},
        {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
        {"containers": [{"name": "c", "image": "x", "securityContext": {"privileged": True}}]},
        {},  # it does not say that it is not root
    ],
)
def test_the_namespace_takes_no_pod_that_may_more(namespace: Namespace, spec: dict) -> None:  # type: ignore[type-arg]
    container = {"name": "c", "image": image(), "command": ["tiny-server"]}
    body = {"metadata": {"name": "more"}, "spec": {"containers": [container], **spec}}
    with pytest.raises(ClusterError, match="PodSecurity"):
        namespace.create("pods", body)


@pytest.mark.parametrize(
    ("asks", "said", "logged"),
    [
        (
            "c.KubeSpawner.extra_pod_config = {'hostNetwork': True}",
            "does not allow servers that are set up like this",
            r"violates PodSecurity \"restricted",
        ),
        (  # against the rest of what the spawner says of its container: no API server takes that
            "c.KubeSpawner.privileged = True",
            "does not accept this server",
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
    ],
)
def test_an_operator_who_asks_for_more_is_told(
    make_hub: MakeHub, asks: str, said: str, logged: str
) -> None:
    hub = make_hub(after=asks).start()
    hub.add_user("privileged")
    answer = hub.post_start("privileged", {"profile": "cpu"})
    assert answer.status_code == 409, answer.text
    assert said in answer.json()["message"]
    assert logged in hub.log()
    assert hub.wait_ended("privileged").charged_grains == 0
