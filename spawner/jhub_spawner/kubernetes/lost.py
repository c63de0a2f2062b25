"""Pods of this hub that it knows nothing of: after a crash in a start, or with a lost database.

A server that the hub has in its database is found again by the hub itself, and its session goes
on. What is left over here answers to nobody: no route leads to it, no one can stop it, and its
session is over, since no snapshot shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import Any, ClassVar

from kubernetes_asyncio.client.rest import ApiException
from traitlets import Enum, HasTraits

from jhub_tokens.hub import runtime
from jhub_tokens.wire import labels

__all__ = ["LostServers", "lost_among"]

_NAME_ANNOTATION = "hub.jupyter.org/username"


def lost_among(
    pods: Iterable[dict[str, Any]], hub: str, known: Collection[str], start_keys: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return the pods, by uid, that belong to the hub but to none of its servers.

    Parameters
    ----------
    pods
        As the API has them.
    hub
        The hub's label.
    known
        Namespace and name of the pods of all servers that run, start or stop.
    start_keys
        Labels of starts that are not over, whatever the hub has forgotten of them.
    """
    found: dict[str, dict[str, Any]] = {}
    for pod in pods:
        metadata = pod["metadata"]
        has = metadata.get("labels") or {}
        if has.get(labels.HUB) != hub or metadata.get("deletionTimestamp"):
            continue
        if f"{metadata['namespace']}/{metadata['name']}" in known:
            continue
        if has.get(labels.START_KEY) in start_keys:
            continue
        found[metadata["uid"]] = pod
    return found


class LostServers(HasTraits):
    """Mixin for a KubeSpawner: finds what the hub has lost, again and again, at no cost."""

    lost_servers = Enum(
        ["stop", "report"],
        "stop",
        config=True,
        help="""
        What happens to pods of this hub that it knows nothing of: ``stop`` them, or ``report``
        them in the log only.
        """,
    )

    #: Those seen at the last look: a server that starts just now must not be taken for lost.
    _suspects: ClassVar[frozenset[str]] = frozenset()
    _reported: ClassVar[set[str]] = set()
    _looked = False

    @classmethod
    async def tend_servers(cls, app: Any, open_keys: Collection[str]) -> None:
        """Look for lost pods; stop or report those that were lost the last time already.

        The first look lists them; later ones read what KubeSpawner watches anyway.
        """
        spawner: Any = cls(_mock=True, parent=app)
        pods = await cls._pods(spawner)
        if pods is None:
            return
        known = {
            f"{server.namespace}/{server.pod_name}"
            for user in list(app.users.values())
            for server in list(user.spawners.values())
            if server.active and hasattr(server, "pod_name")
        }
        hub = labels.label_value(runtime.current().settings.hub_name)
        starts = {labels.label_value(key) for key in open_keys}
        lost = lost_among(pods, hub, known, starts)
        again = [pod for uid, pod in lost.items() if uid in cls._suspects]
        LostServers._suspects = frozenset(lost)
        for pod in again:
            await cls._settle(spawner, pod)

    @classmethod
    async def _pods(cls, spawner: Any) -> list[dict[str, Any]] | None:
        reflector = spawner.pod_reflector
        if reflector is not None and reflector.first_load_future.done():
            return list(reflector.pods.values())
        if LostServers._looked and not LostServers._suspects:
            return None  # no server was started since, else it would be watched
        selector = f"component={spawner.component_label},{labels.HUB}"
        if spawner.enable_user_namespaces:
            listed = await spawner.api.list_pod_for_all_namespaces(label_selector=selector)
        else:
            listed = await spawner.api.list_namespaced_pod(
                spawner.namespace, label_selector=selector
            )
        LostServers._looked = True
        plain = spawner.api.api_client.sanitize_for_serialization
        return [plain(pod) for pod in listed.items]

    @classmethod
    async def _settle(cls, spawner: Any, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        has, name = metadata.get("labels") or {}, metadata["name"]
        whose = (metadata.get("annotations") or {}).get(_NAME_ANNOTATION, "somebody")
        session = has.get(labels.SESSION, "none")
        if spawner.lost_servers == "report":
            if metadata["uid"] not in cls._reported:
                cls._reported.add(metadata["uid"])
                spawner.log.error(
                    "The pod %s of %s (session %s) belongs to no server of this hub", name, whose,
                    session,
                )  # fmt: skip
            return
        spawner.log.error(
            "The pod %s of %s (session %s) belongs to no server of this hub; it is stopped", name,
            whose, session,
        )  # fmt: skip
        try:
            await spawner.api.delete_namespaced_pod(
                name=name,
                namespace=metadata["namespace"],
                grace_period_seconds=spawner.delete_grace_period,
            )
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
