"""Model members: each is made by the ledger itself, on a clock that moves when told to."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import create_engine, select

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.copies import Model
from jhub_tokens.catalogue import Catalogue, parse_catalogue
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, open_ledger, schema
from jhub_tokens.wire import EndSeen, Identity, ServerSeen, Snapshot

__all__ = ["CATALOGUE", "EPOCH_MS", "HOUR_MS", "MINUTE_MS", "HubTold", "catalogue", "make_model"]

EPOCH_MS = 1_780_272_000_000  # 2026-06-01 00:00 UTC
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

# A member on `gpu` has used half of the allotment, and is told so, after one hour.
CATALOGUE = """\
title: Benchmark
zone: UTC
default_plan: member
adopt_profile: cpu
policy:
  minimum_run: 5m
  grace: 2m
  stop_time: 30s
  warn_before: [10m]
  warn_used_percent: [50]
profiles:
  cpu: {title: CPU, rate: 1, cpu: 4, memory: 8G}
  gpu: {title: GPU, rate: 10, cpu: 8, memory: 32G, gpus: 1, gpu_models: [T4, A100]}
plans:
  member: {title: Member, tokens: 20, profiles: [cpu, gpu], max_servers: 2}
images:
  one: {title: One, accelerator: any, lifecycle: recommended}
"""


@cache
def catalogue() -> Catalogue:
    """Return the catalogue of all benchmarks of the ledger, read once as the service does."""
    return parse_catalogue(CATALOGUE, "benchmark.yaml")


class HubTold:
    """A hub's snapshots, in order."""

    def __init__(self, ledger: Ledger, epoch: str | None = None) -> None:
        self._ledger = ledger
        self._epoch = epoch or uuid.uuid4().hex
        self._sequence = 0

    def tell(self, servers: list[ServerSeen], ended: list[EndSeen] | None = None) -> Any:
        """Have the ledger observe a snapshot."""
        return self._ledger.observe(self.snapshot(servers, ended))

    def snapshot(self, servers: list[ServerSeen], ended: list[EndSeen] | None = None) -> Snapshot:
        """Return the next snapshot."""
        self._sequence += 1
        return Snapshot(
            epoch=self._epoch, sequence=self._sequence, servers=servers, ended=ended or []
        )


class _Life:
    """One member's life on books of its own."""

    def __init__(self, ledger: Ledger, clock: ManualClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.hub = HubTold(ledger)
        self.identity = Identity(
            hub_user_id=1, created="2026-01-01T00:00:00Z", name=f"member-{uuid.uuid4().hex}"
        )
        self.member = ledger.ensure_member(self.identity)

    def admit(self, profile: str) -> str:
        start_key = f"start-{uuid.uuid4().hex}"
        self.ledger.admit(
            self.member.member_id, server_name="", start_key=start_key, profile=profile
        )
        return start_key

    def run_for(self, start_key: str, duration_ms: int) -> None:
        """The server is ready at once, and still alive so much later."""
        ready_ms = self.clock.now_ms()
        for passed_ms in (0, duration_ms):
            self.clock.set_ms(ready_ms + passed_ms)
            seen = ServerSeen(
                member=self.identity, start_key=start_key, ready_age_ms=passed_ms, alive_age_ms=0
            )
            self.hub.tell([seen])

    def session(self, duration_ms: int) -> None:
        """A short run of which the hub tells once it is over."""
        start_key = self.admit("cpu")
        self.clock.advance_ms(duration_ms)
        end = EndSeen(start_key=start_key, ready_age_ms=duration_ms, ended_age_ms=0)
        self.hub.tell([], [end])


def _idle(_life: _Life) -> None:
    """Joined, and never started anything."""


def _running(life: _Life) -> None:
    """Running for a minute, with nothing due for long."""
    life.clock.advance_ms(HOUR_MS - MINUTE_MS)
    life.run_for(life.admit("gpu"), MINUTE_MS)


def _due(life: _Life) -> None:
    """Running for an hour, seen alive, and now due for a charge and a notice."""
    life.run_for(life.admit("gpu"), HOUR_MS)


def _history(sessions: int, a_month: int = 50) -> Any:
    def live(life: _Life) -> None:
        for number in range(sessions):
            if number and number % a_month == 0:
                life.clock.advance_ms(16 * 24 * HOUR_MS)
            life.clock.advance_ms(6 * HOUR_MS)
            life.session(10 * MINUTE_MS)

    return live


def make_model(kind: str, *, start_ms: int = EPOCH_MS, sessions: int = 50) -> Model:
    """Return a model member: ``idle``, ``running``, ``due`` or with a ``history``.

    `running` and `due` begin at `start_ms` and stand as they are one hour later.
    """
    lives = {"idle": _idle, "running": _running, "due": _due, "history": _history(sessions)}
    texts: dict[str, str] = {}
    real = hashlib.sha256

    def listening(data: bytes = b"", **options: Any) -> Any:
        digest = real(data, **options)
        texts[digest.hexdigest()] = bytes(data).decode("utf-8", "replace")
        return digest

    with tempfile.TemporaryDirectory(prefix="jhub-bench-") as folder:
        url = f"sqlite:///{Path(folder) / 'model.sqlite'}"
        clock = ManualClock(start_ms)
        ledger = open_ledger(url, clock, catalogue)
        try:
            with mock.patch.object(hashlib, "sha256", listening):
                lives[kind](_Life(ledger, clock))
            findings = ledger.audit()
        finally:
            ledger.close()
        if findings:
            raise BenchmarkError(f"the books of a model member are not clean: {findings[0]}")
        engine = create_engine(url)
        with engine.connect() as connection:
            rows = {
                table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in schema.metadata.sorted_tables
            }
        engine.dispose()
    return Model(rows, texts, clock.now_ms())
