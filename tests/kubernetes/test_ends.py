"""Whatever ends a server, its session ends with it: at that instant, once, and with a reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hub.harness import eventually
from tests.kubernetes.harness import Ended, KubernetesHub, now_ms

#: Clocks of the API are whole seconds.
_SECOND_MS = 1000


def test_a_stop_by_the_member(hub: KubernetesHub) -> None:
    _start(hub, "stopped")
    begun_ms = now_ms()
    hub.stop_server("stopped")
    gone_ms = now_ms()
    ended = _check(hub, "stopped", "stopped")
    assert begun_ms - _SECOND_MS <= ended.ended_ms <= gone_ms


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [("exits", "exit/0", "exited"), ("crashes", "exit/3", "crashed"), ("eats", "eat", "oom")],
)
def test_an_end_from_inside(hub: KubernetesHub, name: str, path: str, reason: str) -> None:
    _start(hub, name)
    with hub.held(name) as finished_ms:
        hub.client.get(f"/user/{name}/{path}")
        at_ms = finished_ms()
        _known(hub, name, reason)
    ended = _check(hub, name, reason)
    assert at_ms is not None
    assert abs(ended.ended_ms - at_ms) < _SECOND_MS
    told = hub.notices(name)
    assert any("ran out of memory" in text for text in told) == (reason == "oom"), told


def test_a_deleted_pod(hub: KubernetesHub) -> None:
    _taken_away(hub, "deleted", hub.delete_pod, "deleted")


def test_an_eviction(hub: KubernetesHub) -> None:
    """Evict it as a drained node does; 1.20 says of it what it says of a deletion."""
    _taken_away(hub, "evicted", hub.evict_pod, "evicted", "deleted")


def _taken_away(hub: KubernetesHub, name: str, take: Callable[[str], None], *reasons: str) -> None:
    """Check that a session ends with its container, or as soon as the cluster tells that it did."""
    _start(hub, name)
    with hub.held(name) as finished_ms:
        begun_ms = now_ms()
        take(name)
        at_ms = finished_ms()
        _known(hub, name, *reasons)
        known_ms = now_ms()
    ended = _check(hub, name, *reasons)
    first_ms, last_ms = (begun_ms, known_ms) if at_ms is None else (at_ms, at_ms)
    assert first_ms - _SECOND_MS < ended.ended_ms < last_ms + _SECOND_MS


def _start(hub: KubernetesHub, name: str) -> None:
    hub.add_user(name)
    hub.start_server(name)
    hub.wait_session(name)


def _known(hub: KubernetesHub, name: str, *reasons: str) -> None:
    """Wait until the books know why: hub and cluster tell in either order, and the cluster knows.

    While the pod is held: one that is gone between two looks has taken its reason along.
    """
    told: list[str | None] = []

    def known() -> bool:
        told[:] = [hub.wait_ended(name).reason]
        return told[0] in reasons

    try:
        eventually(known, "the books know why", within_s=60)
    except AssertionError as error:
        raise AssertionError(f"{told} is none of {reasons}") from error


def _check(hub: KubernetesHub, name: str, *reasons: str) -> Ended:
    """Return how the session has ended, once nothing of the server is left."""
    hub.wait_gone(name)
    eventually(lambda: f"/user/{name}/" not in hub.routes(), "its route is gone", within_s=60)
    _known(hub, name, *reasons)
    ended = hub.wait_ended(name)
    assert ended.cost_is_exact
    return ended
