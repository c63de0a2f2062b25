"""A hub that names KubeSpawner gets the TokenKubeSpawner, and keeps its configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kubespawner import KubeSpawner
from traitlets.config import Config

from jhub_spawner.gating import gated
from jhub_spawner.kubernetes import TokenKubeSpawner
from jhub_tokens import wire
from jhub_tokens.hub.runs import Run

from .conftest import user_of


class OurSpawner(KubeSpawner):  # type: ignore[misc]
    """An operator's own class of spawners."""

    async def start(self) -> str:
        return "http://ours"


def made(spawner_class: Any, config: Config) -> Any:
    orm = SimpleNamespace(name="", server=None, state={}, started=None)
    return spawner_class(_mock=True, config=config, user=user_of(), orm_spawner=orm)


def test_kubespawner_is_gated_by_ours() -> None:
    assert gated(KubeSpawner) is gated("kubespawner.KubeSpawner") is TokenKubeSpawner
    assert gated(TokenKubeSpawner) is TokenKubeSpawner


async def test_a_class_made_of_it_keeps_its_name_and_its_configuration() -> None:
    ours = gated(OurSpawner)
    assert ours.__name__ == "TokenOurSpawner"
    assert issubclass(ours, TokenKubeSpawner) and issubclass(ours, OurSpawner)
    config = Config()
    config.KubeSpawner.image = "from-the-base"
    config.OurSpawner.namespace = "from-the-class"
    config.OurSpawner.storage_class = "fast"
    spawner = made(ours, config)
    assert (spawner.image, spawner.namespace) == ("from-the-base", "from-the-class")
    assert spawner.storage_class == "fast"


async def test_a_class_made_of_it_keeps_its_own_start() -> None:
    config = Config()
    config.KubeSpawner.storage_pvc_ensure = False
    spawner = made(gated(OurSpawner), config)
    spawner.http_timeout = 0
    assert await spawner.start() == "http://ours"


async def test_claims_outlive_hub_users_unless_an_operator_says_otherwise() -> None:
    config = Config()
    assert made(TokenKubeSpawner, config).delete_pvc is False
    config.KubeSpawner.delete_pvc = True
    assert made(TokenKubeSpawner, config).delete_pvc is True


@pytest.mark.parametrize(("ordered", "reason"), [(False, "exited"), (True, "stopped")])
async def test_a_poll_that_clears_away_what_has_ended_is_no_stop(
    monkeypatch: pytest.MonkeyPatch, ordered: bool, reason: str
) -> None:
    """KubeSpawner's poll stops a pod whose container has ended; why it ended is another matter."""

    async def poll(self: Any) -> int:
        await self.stop(now=True)
        return 3

    async def stop(self: Any, now: bool = False) -> None: ...

    monkeypatch.setattr(KubeSpawner, "poll", poll)
    monkeypatch.setattr(KubeSpawner, "stop", stop)
    spawner = made(TokenKubeSpawner, Config())
    member = wire.Identity(hub_user_id=1, created="2026-01-01T00:00:00Z", name="ann")
    run = Run(spawner, member, "", "k" * 32, "ready", ready_at=1.0, alive_at=2.0)
    spawner.token_run = run
    if ordered:
        await spawner.stop()
    assert await spawner.poll() == 3
    assert run.died_at is not None
    assert run.end_reason() == reason
