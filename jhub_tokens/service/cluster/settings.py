"""What the cluster observer is told from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from jhub_tokens.service.errors import SettingsError

__all__ = ["ClusterSettings", "cluster_settings_from"]

Access = Literal["in-cluster", "kubeconfig"]
OnStray = Literal["report", "stop-closed", "stop"]

#: The label of servers' pods, as KubeSpawner sets it.
SERVERS = "component=singleuser-server"
T = TypeVar("T", bound=str)

_ACCESS: tuple[Access, ...] = ("in-cluster", "kubeconfig")
_ON_STRAY: tuple[OnStray, ...] = ("report", "stop-closed", "stop")


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Where the cluster is and what to do there.

    Parameters
    ----------
    access
        With the pod's own service account, or with a kubeconfig file.
    kubeconfig, context
        The kubeconfig's path and context; empty: the usual place, its current context.
    namespace
        Where the servers' pods are; empty: the own one, or the context's.
    selector
        The label selector of servers' pods.
    availability
        Whether to look at nodes and at all pods, so that offers tell what is free.
    on_stray
        What becomes of pods without a session: they are reported, stopped if their session is
        over, or all stopped.
    stray_after_ms
        How long such a pod must have been seen before that.
    snapshot_days
        How long daily snapshots of members' volumes are kept; 0: none are made.
    snapshot_class
        Their VolumeSnapshotClass; empty: the cluster's default.
    """

    access: Access
    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    selector: str = SERVERS
    availability: bool = True
    on_stray: OnStray = "report"
    stray_after_ms: int = 10 * 60_000
    snapshot_days: int = 0
    snapshot_class: str = ""


def cluster_settings_from(env: Mapping[str, str], access: str = "") -> ClusterSettings | None:
    """Read the settings from the environment; None: there is no cluster to look at.

    Raises
    ------
    SettingsError
        If one makes no sense.
    """
    access = access or env.get("JHUB_TOKENS_CLUSTER", "").strip()
    if not access:
        return None
    return ClusterSettings(
        access=_one_of("JHUB_TOKENS_CLUSTER", access, _ACCESS),
        kubeconfig=env.get("KUBECONFIG", ""),
        context=env.get("JHUB_TOKENS_CLUSTER_CONTEXT", "").strip(),
        namespace=env.get("JHUB_TOKENS_CLUSTER_NAMESPACE", "").strip(),
        selector=env.get("JHUB_TOKENS_CLUSTER_SELECTOR", "").strip() or SERVERS,
        availability=_one_of(
            "JHUB_TOKENS_CLUSTER_AVAILABILITY",
            env.get("JHUB_TOKENS_CLUSTER_AVAILABILITY", "").strip() or "1",
            ("0", "1"),
        )
        == "1",
        on_stray=_one_of(
            "JHUB_TOKENS_CLUSTER_STRAYS",
            env.get("JHUB_TOKENS_CLUSTER_STRAYS", "").strip() or "report",
            _ON_STRAY,
        ),
        stray_after_ms=_whole(env, "JHUB_TOKENS_CLUSTER_STRAY_MINUTES", 10, 1, 24 * 60) * 60_000,
        snapshot_days=_whole(env, "JHUB_TOKENS_CLUSTER_SNAPSHOT_DAYS", 0, 0, 366),
        snapshot_class=env.get("JHUB_TOKENS_CLUSTER_SNAPSHOT_CLASS", "").strip(),
    )


def _one_of(name: str, text: str, choices: tuple[T, ...]) -> T:
    for choice in choices:
        if text == choice:
            return choice
    raise SettingsError(f"{name}={text}: write one of {', '.join(choices)}")


def _whole(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = env.get(name, "").strip() or str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise SettingsError(f"{name}={text}: write a whole number from {least} to {most}")
    return int(text)
