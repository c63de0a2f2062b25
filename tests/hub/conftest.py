from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.hub.harness import HubProcess


class MakeHub(Protocol):
    def __call__(self, **kwargs: Any) -> HubProcess: ...


@contextmanager
def hubs(base: pytest.TempPathFactory) -> Iterator[MakeHub]:
    made: list[HubProcess] = []

    def make(**kwargs: Any) -> HubProcess:
        made.append(HubProcess(Path(base.mktemp("hub")), **kwargs))
        return made[-1]

    try:
        yield make
    finally:
        for hub in made:
            hub.close()
    for hub in made:
        hub.audit()


@pytest.fixture
def make_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeHub]:
    """Make hubs of one's own; at the end the books of each must be clean."""
    with hubs(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """Return a hub that the tests share: each uses members of its own, and leaves it running."""
    with hubs(tmp_path_factory) as make:
        yield make().start()
