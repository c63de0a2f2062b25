"""Each way in which a cluster fails a start: told with its cause, free, and with nothing left."""

from __future__ import annotations

import html
import re

import pytest

from tests.hub.harness import eventually
from tests.kubernetes.conftest import MakeHub
from tests.kubernetes.harness import KubernetesHub


@pytest.fixture(scope="module")
def failing(make_module_hub: MakeHub) -> KubernetesHub:
    """Return a hub that waits little where the cluster might still do it."""
    return make_module_hub(after=PATIENCE).start()


PATIENCE = """\
c.TokenKubeSpawner.scheduling_patience = 8
c.TokenKubeSpawner.start_patience = 8
"""


def test_no_node_is_large_enough(failing: KubernetesHub) -> None:
    told = _fail(failing, "unschedulable", profile="huge")
    assert "no node has room" in told.lower()
    assert "smaller profile" in told


def test_no_gpu_is_there(failing: KubernetesHub) -> None:
    told = _fail(failing, "no-gpu", profile="gpu", gpu_model="A100")
    assert "no gpu of this kind is free" in told.lower()
    assert "profile without one" in told


def test_the_image_cannot_be_pulled(failing: KubernetesHub) -> None:
    told = _fail(failing, "no-image", profile="cpu", image="missing")
    assert "cannot be pulled" in told
    assert "another image" in told


def test_out_of_memory_at_the_start(failing: KubernetesHub) -> None:
    told = _fail(failing, "eats-at-start", profile="eater")
    assert "out of memory" in told
    assert "more memory" in told


def test_the_namespace_is_full(failing: KubernetesHub) -> None:
    failing.namespace.create(
        "resourcequotas", {"metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
    )
    try:
        eventually(
            lambda: "hard" in failing.namespace.get("resourcequotas", "full")["status"],
            "the quota holds",
        )
        told = _fail(failing, "over-quota", profile="cpu")
    finally:
        failing.namespace.delete("resourcequotas", "full")
    assert "reached the limit" in told
    assert "others have stopped" in told


def test_after_all_these_the_hub_still_starts_servers(failing: KubernetesHub) -> None:
    failing.add_user("after-all")
    failing.start_server("after-all")
    failing.stop_server("after-all")


def _fail(hub: KubernetesHub, name: str, **options: str) -> str:
    """Let a start fail, free and with nothing left; return what the member is told."""
    hub.add_user(name)
    answer = hub.post_start(name, options)
    if answer.status_code in (201, 202):
        last = hub.progress(name)[-1]
        assert last.get("failed"), last
        told = last.get("html_message") or last["message"]
    else:
        assert answer.status_code in (400, 403, 409, 503), answer.text
        told = answer.json()["message"]
    ended = hub.wait_ended(name)
    assert ended.charged_grains == 0
    hub.wait_no_pod(name)
    assert not hub.servers(name)
    return html.unescape(re.sub(r"<[^>]+>", " ", told))
