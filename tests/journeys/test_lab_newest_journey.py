"""The extension in the newest JupyterLab under a real hub; `labs/` has what takes longer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub.conftest import hubs
from tests.hub.harness import HubProcess
from tests.journeys.every_lab import (
    test_a_dry_server_loses_nothing_of_two_tabs,
    test_panel_keep_running_stop_and_language,
)
from tests.journeys.lab import lab_hub

__all__ = [
    "test_a_dry_server_loses_nothing_of_two_tabs",
    "test_panel_keep_running_stop_and_language",
]

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hubs(tmp_path_factory) as make:
        yield lab_hub(make(real_server=True), "newest")
