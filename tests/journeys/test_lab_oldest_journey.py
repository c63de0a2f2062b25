"""The extension in the oldest supported JupyterLab, on the oldest Python that can be had here."""

from __future__ import annotations

from collections.abc import Iterator

import jupyterhub
import pytest

from tests.hub.conftest import hubs
from tests.hub.harness import HubProcess
from tests.journeys.every_lab import test_a_dry_server_loses_nothing_of_two_tabs
from tests.journeys.lab import lab_hub

__all__ = ["test_a_dry_server_loses_nothing_of_two_tabs"]

pytestmark = [
    pytest.mark.journey,
    # Its own single-user server is a JupyterHub 5.5, whatever the hub is.
    pytest.mark.skipif(jupyterhub.version_info[0] < 6, reason="shown once, under the newest hub"),
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hubs(tmp_path_factory) as make:
        yield lab_hub(make(real_server=True), "4.3")
