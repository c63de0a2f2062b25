"""The extension in the oldest supported JupyterLab, on the oldest Python that can be had here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub.conftest import hubs
from tests.hub.harness import HubProcess
from tests.journeys.every_lab import test_a_dry_server_loses_nothing_of_two_tabs
from tests.journeys.lab import UNDER_NEWEST_HUB, lab_hub

__all__ = ["test_a_dry_server_loses_nothing_of_two_tabs"]

pytestmark = [pytest.mark.journey, pytest.mark.slow, UNDER_NEWEST_HUB]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hubs(tmp_path_factory) as make:
        yield lab_hub(make(real_server=True), "4.3")
