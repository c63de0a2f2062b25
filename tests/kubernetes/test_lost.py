"""Pods that a hub has lost: stopped, or reported; those of others and of its own servers stay."""

from __future__ import annotations

from typing import Any

from jhub_tokens.wire import labels
from tests.hub.harness import eventually
from tests.kubernetes.cluster import image
from tests.kubernetes.conftest import MakeHub
from tests.kubernetes.harness import GONE_S, KubernetesHub

OFTEN = "import jhub_tokens.hub.agent\njhub_tokens.hub.agent.TEND_S = 1.0\n"


def test_a_lost_pod_is_stopped_and_a_running_server_is_not(make_hub: MakeHub) -> None:
    hub = make_hub(before=OFTEN).start()
    hub.add_user("ada")
    hub.start_server("ada", profile="cpu")
    _lose(hub, "lost", "hub")
    _lose(hub, "of-another-hub", "another")
    eventually(
        lambda: hub.namespace.find("pods", "lost") is None, "the lost pod is gone", within_s=GONE_S
    )
    assert hub.namespace.find("pods", "of-another-hub") is not None
    assert hub.pod("ada")["status"]["phase"] == "Running"
    assert "belongs to no server of this hub; it is stopped" in hub.log()


def test_pods_left_by_a_hub_that_was_killed_are_found_by_the_next(make_hub: MakeHub) -> None:
    hub = make_hub(before=OFTEN).start()
    _lose(hub, "lost", "hub")
    hub.kill()
    hub.start()  # no server was started, so nothing is watched yet
    eventually(
        lambda: hub.namespace.find("pods", "lost") is None, "the lost pod is gone", within_s=GONE_S
    )


def test_a_lost_pod_is_only_reported_where_the_operator_says_so(make_hub: MakeHub) -> None:
    hub = make_hub(before=OFTEN, after='c.TokenKubeSpawner.lost_servers = "report"').start()
    _lose(hub, "lost", "hub")
    hub.kill()
    hub.start()
    eventually(lambda: "belongs to no server of this hub" in hub.log(), "a report", within_s=60)
    assert hub.namespace.find("pods", "lost") is not None


def _lose(hub: KubernetesHub, name: str, of: str) -> None:
    """Make a pod that looks like a server of the hub called `of`."""
    pod: dict[str, Any] = {
        "metadata": {
            "name": name,
            "labels": {
                "component": "singleuser-server",
                labels.HUB: of,
                labels.START_KEY: f"start-of-{name}",
                labels.SESSION: "0" * 32,
            },
            "annotations": {"hub.jupyter.org/username": f"owner-of-{name}"},
        },
        "spec": {
            "containers": [
                {
                    "name": "notebook",
                    "image": image(),
                    "command": ["tiny-server"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "automountServiceAccountToken": False,
        },
    }
    hub.namespace.create("pods", pod)
