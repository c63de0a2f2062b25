"""Where the two hubs work: a namespace with an account for each, on one cluster."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hubs import Hub
from tests.kubernetes.cluster import Cluster, Namespace, Volumes, image
from tests.kubernetes.harness import ROLE, observer_environment

__all__ = ["CPU", "MEMORY", "Place", "places"]

#: Fifty of them fit on a node with two cores; with less, starting Python is all that is measured.
CPU = 0.03
MEMORY = "48M"

_CATALOGUE = f"""\
title: Benchmark
zone: UTC
default_plan: member
adopt_profile: cpu
policy: {{minimum_run: 5m, grace: 2m, stop_time: 30s}}
pools:
  any: {{title: any node, selector: {{kubernetes.io/os: linux}}}}
profiles:
  cpu: {{title: CPU, rate: 1, cpu: {CPU}, memory: {MEMORY}, pools: [any]}}
plans:
  member: {{title: Member, tokens: 100000, profiles: [cpu], max_servers: 200, workspace: 1Gi}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A hub and its namespace."""

    hub: Hub
    namespace: Namespace


@contextlib.contextmanager
def places(members: int) -> Iterator[tuple[Place, Place]]:
    """Run a plain hub and ours side by side, for so many members on each.

    Nothing of them is left afterwards.
    """
    cluster = Cluster()
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.http.close)
        temporary = tempfile.TemporaryDirectory(prefix="jhub-tokens-bench-")
        root = Path(stack.enter_context(temporary))
        volumes = Volumes(cluster, root / "volumes", count=2 * members)
        stack.callback(volumes.close)
        made = []
        for name in ("plain", "ours"):
            directory = root / name
            directory.mkdir()
            namespace = stack.enter_context(cluster.namespace())
            more = {
                "address": cluster.address(),
                "namespace": namespace.name,
                "image": image(),
                "storage_class": volumes.storage_class,
                "cpu": CPU,
                "memory": MEMORY,
            }
            if name == "ours":
                more["service_environment"] = stack.enter_context(
                    observer_environment(namespace, directory)
                )
            hub = Hub(
                directory,
                ours=name == "ours",
                server="kubernetes",
                shared_port=0,
                look_often=False,
                probed=False,
                catalogue=_CATALOGUE,
                more=more,
                environment={"KUBECONFIG": str(namespace.account("hub", ROLE, directory))},
            )
            stack.callback(hub.close)
            made.append(Place(hub, namespace))
        for place in made:
            place.hub.start()
        for place in made:
            place.hub.wait_ready()
        yield made[0], made[1]
