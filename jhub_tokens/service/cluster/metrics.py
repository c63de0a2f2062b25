"""What Prometheus sees of the cluster, in the service's own registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["ClusterMetrics"]


class ClusterMetrics:
    """The observer's own metrics.

    Parameters
    ----------
    registry
        Where they are registered: the service's.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.fresh = Gauge(
            "jhub_tokens_cluster_watch_fresh",
            "1 if what a watch shows may be taken for the truth, else 0",
            ["watch"],
            registry=registry,
        )
        self.age_seconds = Gauge(
            "jhub_tokens_cluster_watch_age_seconds",
            "How long ago a watch was last known to show what the API server has",
            ["watch"],
            registry=registry,
        )
        self.lists = Gauge(
            "jhub_tokens_cluster_watch_lists",
            "Whole lists taken in since the start; many of them mean interrupted watches",
            ["watch"],
            registry=registry,
        )
        self.objects = Gauge(
            "jhub_tokens_cluster_watch_objects", "Objects known", ["watch"], registry=registry
        )
        self.ends = Counter(
            "jhub_tokens_cluster_ends",
            "Sessions that the cluster ended, or whose end it corrected",
            ["reason"],
            registry=registry,
        )
        self.strays = Gauge(
            "jhub_tokens_cluster_stray_pods",
            "Servers' pods that run without an open session",
            ["why"],
            registry=registry,
        )
        self.strays_stopped = Counter(
            "jhub_tokens_cluster_stray_pods_stopped",
            "Pods without a session that were stopped",
            registry=registry,
        )
        self.volumes_uncopied = Gauge(
            "jhub_tokens_cluster_volumes_uncopied",
            "Members' volumes without a usable snapshot of the day; Inf: snapshots cannot be made",
            registry=registry,
        )
        self.pool_nodes = Gauge(
            "jhub_tokens_pool_nodes", "Nodes of a pool that can be used", ["pool"],
            registry=registry,
        )  # fmt: skip
        self.pool_amount = Gauge(
            "jhub_tokens_pool_resources",
            "What a pool's usable nodes have, and what of it is free; CPU in cores",
            ["pool", "resource", "of"],
            registry=registry,
        )
        self.pool_waiting = Gauge(
            "jhub_tokens_pool_waiting", "Servers that wait for a node of a pool", ["pool"],
            registry=registry,
        )  # fmt: skip
