"""An API server that fails on demand, and watches on it that wait for nothing."""

import asyncio
import inspect

import pytest

from jhub_tokens.clock import ManualClock
from jhub_tokens.service.cluster.api import Api
from jhub_tokens.service.cluster.settings import ClusterSettings

from .fake_api import FakeApi

NOW_MS = 1_793_523_600_000  # 2026-11-01 09:00 UTC
SECOND_MS = 1000


async def until(condition, *, seconds=20):
    """Wait until `condition()` holds, and return what it returned."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.005)


@pytest.fixture
def clock():
    return ManualClock(NOW_MS)


@pytest.fixture
async def fake():
    fake = FakeApi()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def cluster_settings(fake, tmp_path):
    config = fake.kubeconfig(tmp_path / "kubeconfig")
    return ClusterSettings(access="kubeconfig", kubeconfig=config)


@pytest.fixture
async def kube(cluster_settings):
    kube = await Api.connect(cluster_settings)
    yield kube
    await kube.close()
