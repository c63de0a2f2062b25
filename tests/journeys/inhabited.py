"""A hub whose members have a past: two months of sessions, written before it is looked at."""

from __future__ import annotations

import random
import sqlite3
import time
from datetime import datetime
from pathlib import Path

from jhub_tokens.catalogue import Catalogue, load_catalogue
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, open_ledger
from jhub_tokens.ledger.records import MemberRecord, NotAdmitted
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import EndSeen, Identity, ServerSeen, Snapshot
from tests.hub.harness import HubProcess

__all__ = ["CATALOGUE", "PEOPLE", "inhabit"]

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_PAST_DAYS = 45

CATALOGUE = """\
title: {en: Deep learning workspaces, zh: 深度学习工作空间}
welcome:
  en: Notebooks on CPUs and GPUs for the whole institute.
  zh: 面向全所的 CPU 与 GPU 笔记本。
announcement:
  en: Maintenance on Sunday from 6:00 to 8:00. Running servers go on.
  zh: 周日 6:00 至 8:00 维护，正在运行的服务器不受影响。
zone: UTC
default_plan: basic
adopt_profile: cpu
top_up: {en: Ask the help desk for more tokens., zh: 如需更多代币，请联系服务台。}
policy:
  minimum_run: 5m
  grace: 2m
  stop_time: 30s
  warn_before: [30m, 10m, 5m, 1m]
  warn_used_percent: [80]
profiles:
  cpu:
    title: CPU
    description:
      en: For writing, data preparation and small models.
      zh: 适合写代码、准备数据和小型模型。
    rate: 1
    cpu: 4
    memory: 8G
  gpu:
    title: {en: One GPU, zh: 单 GPU}
    description: {en: For training on a single card., zh: 适合单卡训练。}
    rate: 10
    cpu: 8
    memory: 32G
    gpus: 1
    gpu_models: [T4, A100]
  gpu4:
    title: {en: Four A100, zh: 四张 A100}
    description: {en: For multi-card training., zh: 适合多卡训练。}
    rate: 30
    cpu: 32
    memory: 128G
    gpus: 4
    gpu_models: [A100]
    max_run: 12h
plans:
  basic:
    title: {en: Basic, zh: 基础版}
    description:
      en: CPU workspaces for learning and small projects.
      zh: CPU 工作空间，适合学习和小型项目。
    tokens: 50
    profiles: [cpu]
  pro:
    title: {en: Pro, zh: 专业版}
    description: {en: CPU and single-GPU workspaces., zh: CPU 和单 GPU 工作空间。}
    tokens: 300
    price: 20 EUR
    trial: {tokens: 20, duration: 7d}
    profiles: [cpu, gpu]
    max_servers: 2
  enterprise:
    title: {en: Enterprise, zh: 企业版}
    description:
      en: Everything, for groups with large models.
      zh: 全部资源，适合使用大模型的团队。
    tokens: 2000
    price: 120 EUR
    profiles: [cpu, gpu, gpu4]
    max_servers: 5
images:
  py-2026.11: {title: Python 2026.11, accelerator: any, lifecycle: recommended}
  py-2026.05: {title: Python 2026.05, accelerator: any, lifecycle: maintained}
  tf-2.8:
    title: TensorFlow 2.8
    accelerator: gpu
    lifecycle: retiring
    until: 2099-03-01
    successor: py-2026.11
assign:
  - {plan: pro, members: [grace, alan]}
  - {plan: enterprise, members: [edsger]}
  - {plan: pro, groups: [vision]}
teams:
  vision:
    title: {en: Vision group, zh: 视觉组}
    group: vision
    plan: enterprise
    owners: [grace]
    member_cap: 500
"""

#: Who lives there, and what they start.
PEOPLE = {
    "ada": ("cpu",),
    "grace": ("cpu", "gpu", "gpu"),
    "edsger": ("cpu", "gpu", "gpu4"),
    "alan": ("gpu",),
    "admin": (),
}


def inhabit(hub: HubProcess) -> None:
    """Start `hub` with members that have two months of sessions behind them."""
    hub.directory.joinpath("catalogue.yaml").write_text(CATALOGUE, encoding="utf-8")
    hub.start()
    for name in PEOPLE:
        hub.add_user(name)
    hub.api("POST", "groups/vision")
    hub.api("POST", "groups/vision/users", json={"users": ["grace", "ada"]})
    identities = _identities(hub.directory / "jupyterhub.sqlite")
    hub.stop()
    for path in (hub.directory / "state").glob("books.sqlite*"):
        path.unlink()
    _write_past(hub.directory, identities)
    hub.start()


def _identities(database: Path) -> dict[str, Identity]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute("select id, created, name from users").fetchall()
    return {
        name: Identity(
            hub_user_id=user_id,
            created=datetime.fromisoformat(created).isoformat() + "Z",
            name=name,
            admin=name == "admin",
            groups=["vision"] if name in ("grace", "ada") else [],
        )
        for user_id, created, name in rows
        if name in PEOPLE
    }


def _write_past(directory: Path, identities: dict[str, Identity]) -> None:
    catalogue = load_catalogue(directory / "catalogue.yaml")
    now_ms = time.time_ns() // 1_000_000
    clock = ManualClock(now_ms - _PAST_DAYS * _DAY_MS)
    url = f"sqlite:///{directory / 'state' / 'books.sqlite'}"
    ledger = open_ledger(url, clock, lambda: catalogue)
    try:
        _Past(ledger, clock, catalogue, identities).live_until(now_ms - 30 * _MINUTE_MS)
    finally:
        ledger.close()


class _Past:
    """Days of work, by a die that always falls the same way."""

    def __init__(
        self,
        ledger: Ledger,
        clock: ManualClock,
        catalogue: Catalogue,
        identities: dict[str, Identity],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._catalogue = catalogue
        self._identities = identities
        self._dice = random.Random(20260601)
        self._told = 0
        self._starts = 0
        self._members: dict[str, MemberRecord] = {
            name: ledger.ensure_member(identity) for name, identity in identities.items()
        }

    def live_until(self, end_ms: int) -> None:
        while (day_ms := self._clock.now_ms()) + _DAY_MS < end_ms:
            for hour in sorted(self._dice.sample(range(7, 22), 3)):
                midnight_ms = day_ms - day_ms % _DAY_MS
                self._clock.set_ms(max(self._clock.now_ms(), midnight_ms + hour * _HOUR_MS))
                self._work()
            self._clock.set_ms(day_ms + _DAY_MS)
            self._ledger.advance_due()
        self._clock.set_ms(max(self._clock.now_ms(), end_ms))
        self._grants()

    def _work(self) -> None:
        """Somebody starts something and stops it after a while."""
        name = self._dice.choice([name for name, profiles in PEOPLE.items() if profiles])
        profile = self._dice.choice(PEOPLE[name])
        self._starts += 1
        key = f"past-{self._starts:016d}"
        try:
            self._ledger.admit(
                self._members[name].member_id, server_name="", start_key=key, profile=profile
            )
        except NotAdmitted:
            return  # nothing left, as happens
        wait_ms = self._dice.randrange(20, 90) * 1000
        run_ms = self._dice.randrange(20, 170) * _MINUTE_MS
        self._clock.advance_ms(wait_ms)
        seen = ServerSeen(
            member=self._identities[name], start_key=key, ready_age_ms=0, alive_age_ms=0
        )
        self._tell([seen], [])
        self._clock.advance_ms(run_ms)
        self._tell([], [EndSeen(start_key=key, ready_age_ms=run_ms, ended_age_ms=0)])

    def _grants(self) -> None:
        for name, tokens, kind, reason in (
            ("ada", 25, "topup", "paid at the help desk"),
            ("grace", 40, "adjustment", "for the summer school"),
        ):
            self._ledger.grant(
                self._members[name].member_id,
                amount_grains=tokens * GRAINS_PER_TOKEN,
                kind=kind,
                actor="user:admin",
                reason=reason,
                caller="user:admin",
                key=f"past-grant-{name}",
            )

    def _tell(self, servers: list[ServerSeen], ended: list[EndSeen]) -> None:
        self._told += 1
        self._ledger.observe(
            Snapshot(epoch="the-past", sequence=self._told, servers=servers, ended=ended)
        )
