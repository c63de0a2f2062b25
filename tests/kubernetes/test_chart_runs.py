"""Our chart, running: its migration, two services and two gateways, and a hub that uses them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.databases import BooksMaker
from tests.kubernetes.chart import Release, installed
from tests.kubernetes.cluster import Cluster, Json, Volumes
from tests.kubernetes.forward import forwarded
from tests.kubernetes.harness import KubernetesHub, public_line
from tests.kubernetes.openssh import jumped, jumps_with_own_key_only, make_key

#: As it is where an operator has a Service, and no cloud that gives it an address.
NODE_PORT = 30_000 + secrets.randbelow(2_768)

#: Instead of a service that the hub manages itself, see helm-values/base.yaml.
SERVICE = """\
del configure_kwargs["service_environment"]
configure_kwargs.update(managed=False, service_url="{url}", token="{token}")
"""


@dataclass
class Installation:
    """A hub, and the chart's release that it uses."""

    hub: KubernetesHub
    release: Release
    gateway: str  # host and port that members type


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, volumes: Volumes, books_maker: BooksMaker, tmp_path_factory: Any
) -> Iterator[Installation]:
    image = os.environ.get("JHUB_TOKENS_TEST_SERVICE_IMAGE")
    if not image:
        pytest.skip("JHUB_TOKENS_TEST_SERVICE_IMAGE names no image, see docs/kubernetes-testing.md")
    directory = Path(tmp_path_factory.mktemp("hub"))
    database = f"books_{secrets.token_hex(8)}"
    books_maker.execute(f"CREATE DATABASE {database}")
    with (
        cluster.namespace() as namespace,
        forwarded(make_url(books_maker.url(database)), cluster.address()) as owner,
    ):
        hub = KubernetesHub(
            directory, namespace, real_server=True, storage_class=volumes.storage_class
        )
        service = owner.set(username=books_maker.role, password=books_maker.password)
        for name, url in {"owner": owner, "service": service}.items():
            text = url.render_as_string(hide_password=False)
            secret = {"metadata": {"name": f"database-{name}"}, "stringData": {"url": text}}
            namespace.create("secrets", secret)
        node = cluster.node_address()
        values = values_for(hub, image, node, books_maker.role, volumes.storage_class)
        with installed(namespace, values) as release:
            token = release.secret("service-token")
            hub.configure(before=SERVICE.format(url=release.url(), token=token))
            try:
                hub.start()
                yield Installation(hub, release, f"{node}:{NODE_PORT}")
            finally:
                hub.close()
            release.run_now("jhub-tokens-audit")
    books_maker.drop([database])


def values_for(
    hub: KubernetesHub, image: str, node: str, role: str, storage_class: str
) -> dict[str, Any]:
    """Return what an operator would write."""
    name, tag = image.rsplit(":", 1)
    return {
        "image": {"name": name, "tag": tag},
        "catalogue": hub.directory.joinpath("catalogue.yaml").read_text(),
        "hub": {
            "apiUrl": f"http://{hub.namespace.cluster.address()}:{hub.hub_port}/hub/api",
            "state": {"storageClassName": storage_class},
        },
        "database": {
            "serviceSecret": "database-service",
            "ownerSecret": "database-owner",
            "serviceRole": role,
        },
        "sshGateway": {
            "enabled": True,
            "host": node,
            "port": NODE_PORT,
            "service": {"type": "NodePort"},
            "drainSeconds": 5,
        },
    }


def test_the_shown_command_leads_through_the_gateway(
    installation: Installation, tmp_path: Path
) -> None:
    hub, release = installation.hub, installation.release
    hub.add_user("leaps")
    mine, _ = (make_key(tmp_path, name) for name in ("mine", "other"))
    hub.add_key("leaps", public_line(mine))
    hub.start_server("leaps", profile="notebook")
    shown = hub.wait_session("leaps")["ssh_command"]
    assert shown == f"ssh -J jump@{installation.gateway} jovyan@jupyter-leaps"
    jumps_with_own_key_only(shown, "leaps", tmp_path / "mine", tmp_path / "other")
    for _ in replaced(release, "ssh-gateway"):
        assert jumped(shown, tmp_path / "mine", "echo in")
    hub.stop_server("leaps")


def test_a_service_that_is_replaced_is_not_missed(installation: Installation) -> None:
    hub, release = installation.hub, installation.release
    hub.add_user("stays")
    hub.start_server("stays", profile="notebook")
    session = hub.wait_session("stays")
    # Several at a time, so that the proxy keeps connections open to both.
    with ThreadPoolExecutor(4) as askers:
        for _ in replaced(release, "service"):
            for sessions in askers.map(lambda _: hub.standing("stays")["sessions"], range(8)):
                assert [each["session_id"] for each in sessions] == [session["session_id"]]
    hub.stop_server("stays")
    hub.wait_no_session("stays")


def replaced(release: Release, component: str) -> Iterator[None]:
    """Replace each replica, one by one, as an upgrade does; yield again and again meanwhile."""
    replicas = [pod["metadata"]["name"] for pod in release.pods(component)]
    assert len(replicas) == 2
    for replica in replicas:
        release.namespace.delete("pods", replica)
        while _works(release.namespace.find("pods", replica)):
            yield
        release.wait_available(component)


def _works(pod: Json | None) -> bool:
    """Tell whether a container of a pod runs; that the pod is there may last until a sweep."""
    statuses = pod["status"].get("containerStatuses", []) if pod else []
    return any("running" in status["state"] for status in statuses)
