"""A TokenKubeSpawner without a cluster: what it would ask of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiClient
from traitlets.config import Config

from jhub_spawner.kubernetes import TokenKubeSpawner
from jhub_tokens import wire
from jhub_tokens.hub import runtime

GIB = 1024**3

Make = Callable[..., TokenKubeSpawner]


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_settings: None)
    monkeypatch.setattr(
        runtime,
        "_current",
        SimpleNamespace(
            settings=SimpleNamespace(hub_name="hub"),
            url_from_servers="http://hub.example",
        ),
    )
    TokenKubeSpawner.reflectors.clear()
    yield
    TokenKubeSpawner.reflectors.clear()


def user_of(name: str = "ada", user_id: int = 7, created: str = "2026-01-02T03:04:05") -> Any:
    return SimpleNamespace(
        name=name,
        id=user_id,
        created=datetime.fromisoformat(created),
        url=f"/user/{name}",
        groups=[],
    )


@pytest.fixture
async def make() -> Make:
    """Return a maker of spawners; its arguments are an operator's configuration."""

    def made(*, user: Any = None, name: str = "", **traits: Any) -> TokenKubeSpawner:
        config = Config()
        config.TokenKubeSpawner.update({"image": "registry.example/own:1", **traits})
        spawner = TokenKubeSpawner(
            _mock=True,
            config=config,
            user=user or user_of(),
            orm_spawner=SimpleNamespace(name=name, server=None, state={}, started=None),
        )
        spawner.hub = SimpleNamespace(
            public_host="", url="/hub", base_url="/hub/", api_url="http://hub/hub/api"
        )
        return spawner

    return made


def pool(name: str = "a100", model: str | None = "A100", **values: Any) -> wire.NodePool:
    return wire.NodePool(
        pool=name,
        title=f"{name} nodes",
        gpu_model=model,
        selector=values.pop("selector", {"example.org/gpu": name}),
        **values,
    )


def admission(
    profile: str = "gpu", *, gpus: int = 1, key: str = "start-key-1", **values: Any
) -> wire.Admission:
    return wire.Admission(
        session_id=values.pop("session_id", "5" * 32),
        start_key=key,
        profile=profile,
        title=profile.upper(),
        rate_mtok_h=10_000,
        hardware=wire.HardwareModel(cpu=8, memory_bytes=32 * GIB, gpus=gpus, text="…"),
        balance=wire.Amount.of(0),
        **values,
    )


def cpu(**values: Any) -> wire.Admission:
    return admission("cpu", gpus=0, **values)


def plain(thing: Any) -> dict[str, Any]:
    """What is sent: the client's model as the API's JSON."""
    # The client's constructor needs an event loop only to make connections.
    sent: dict[str, Any] = ApiClient.sanitize_for_serialization(ApiClient.__new__(ApiClient), thing)
    return sent
