from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.kubernetes.cluster import Cluster, Namespace, Volumes
from tests.kubernetes.harness import KubernetesHub, observer_environment


class MakeHub(Protocol):
    def __call__(self, **kwargs: Any) -> KubernetesHub: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("kubernetes")
            # Both, lest a cluster that somebody works on is taken for one to test on.
            if not {"KUBECONFIG", "JHUB_TOKENS_TEST_IMAGE"} <= os.environ.keys():
                item.add_marker(pytest.mark.skip(reason="no cluster: make test-kubernetes"))


@contextmanager
def hubs(cluster: Cluster, volumes: Volumes, base: pytest.TempPathFactory) -> Iterator[MakeHub]:
    made: list[KubernetesHub] = []
    with ExitStack() as stack:

        def make(**kwargs: Any) -> KubernetesHub:
            namespace = kwargs.pop("namespace", None)
            if namespace is None:
                namespace = stack.enter_context(cluster.namespace())
            directory = Path(base.mktemp("hub"))
            kwargs.setdefault("storage_class", volumes.storage_class)
            if kwargs.pop("observed", True):
                told = stack.enter_context(observer_environment(namespace, directory))
                kwargs["service_environment"] = told | kwargs.get("service_environment", {})
            made.append(KubernetesHub(directory, namespace, **kwargs))
            return made[-1]

        try:
            yield make
        finally:
            for hub in made:
                hub.close()
    for hub in made:
        hub.audit()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    yield found
    found.http.close()


@pytest.fixture(scope="session")
def volumes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volumes]:
    made = Volumes(cluster, tmp_path_factory.mktemp("volumes"))
    yield made
    made.close()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    with cluster.namespace() as made:
        yield made


@pytest.fixture
def make_hub(
    cluster: Cluster, volumes: Volumes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeHub]:
    """Make hubs of one's own, each with a namespace; the books of each must be clean at the end."""
    with hubs(cluster, volumes, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="module")
def make_module_hub(
    cluster: Cluster, volumes: Volumes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeHub]:
    """Make hubs for the tests of a module."""
    with hubs(cluster, volumes, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def hub(
    cluster: Cluster, volumes: Volumes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubernetesHub]:
    """Return a hub that the tests share: each uses members of its own, and leaves it running."""
    with hubs(cluster, volumes, tmp_path_factory) as make:
        yield make().start()
