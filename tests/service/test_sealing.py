"""The sealer in a real service: seals are made when due, told in the log and kept in a file."""

from __future__ import annotations

import dataclasses
import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger.exported_seals import ExportedSeals
from jhub_tokens.service import sealing as sealing_module
from jhub_tokens.service.serve import start
from jhub_tokens.service.settings import Settings
from jhub_tokens.wire import Identity
from tests.service.conftest import Api, until

EVERY_MS = 60_000


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing_module, "_SLEEP_MAX_S", 0.02)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_books_are_sealed_when_due_and_the_seals_are_kept(
    settings: Settings, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "seals.jsonl"
    changed = dataclasses.replace(
        settings, seal_every_ms=EVERY_MS, seal_file=file, seal_key="secret", open_metrics=True
    )
    running = await start(changed, clock)
    try:
        books = running.service.books
        await until(lambda: books.is_open, "the books are open")
        books.ledger.ensure_member(Identity(hub_user_id=1, created="2026-01-01", name="ada"))
        await until(lambda: len(lines(file)) == 1, "a first seal is kept")
        books.ledger.ensure_member(Identity(hub_user_id=2, created="2026-01-01", name="bob"))
        clock.advance_ms(EVERY_MS)
        await until(lambda: len(lines(file)) == 2, "a second seal is kept")
        assert [line["heads_count"] for line in lines(file)] == [1, 1]
        async with Api(running) as api:
            told = (await api.get("metrics")).text
        (sealed_s,) = re.findall(r"^jhub_tokens_last_seal_timestamp_seconds (\S+)", told, re.M)
        assert float(sealed_s) * 1000 == clock.now_ms()
        with closing(ExportedSeals([file], "secret")) as exported:
            assert books.ledger.audit(exported) == ()
    finally:
        await running.stop()


async def test_a_file_that_cannot_be_written_is_counted_and_stops_nothing(
    settings: Settings, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "missing" / "seals.jsonl"
    changed = dataclasses.replace(settings, seal_every_ms=EVERY_MS, seal_file=file)
    running = await start(changed, clock)
    try:
        books, metrics = running.service.books, running.service.metrics
        await until(lambda: books.is_open, "the books are open")
        books.ledger.ensure_member(Identity(hub_user_id=1, created="2026-01-01", name="ada"))
        await until(lambda: books.ledger.seals.last(), "the books are sealed")
        await until(lambda: metrics.seal_failures._value.get() > 0, "the failure is counted")
        file.parent.mkdir()
        await until(lambda: len(lines(file)) == 1, "what was missed is kept later")
    finally:
        await running.stop()
