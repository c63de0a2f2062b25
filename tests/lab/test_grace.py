"""When the server stops, a real kernel has the time to save that the server has itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from jhub_tokens_lab.grace import give_grace, grace_s

#: A cell that takes its time to save when it is interrupted; SIGTERM would end it at once.
CELL = """
import time
try:
    open({begun!r}, "w").close()
    time.sleep(600)
finally:
    time.sleep({takes_s})
    open({saved!r}, "w").close()
"""


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("30", 30.0), ("0.5", 0.5), ("", None), ("soon", None), ("-1", None), ("1e9", None)],
)
def test_what_the_hub_says_of_the_time(said: str, seconds: float | None) -> None:
    assert grace_s({"JHUB_GRACE_SECONDS": said}) == seconds
    assert grace_s({}) is None


@pytest.mark.slow
@pytest.mark.parametrize("grace", [None, 12.0])
async def test_a_busy_kernel_has_the_grace_to_save(grace: float | None, tmp_path: Path) -> None:
    begun, saved = tmp_path / "begun", tmp_path / "saved"
    takes_s = 60 if grace is None else 4
    manager: Any = AsyncMappingKernelManager(connection_dir=str(tmp_path))
    if grace is not None:
        give_grace(manager, grace)
    kernel_id = await manager.start_kernel(kernel_name="python3")
    client = manager.get_kernel(kernel_id).client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        client.execute(CELL.format(begun=str(begun), saved=str(saved), takes_s=takes_s))
        deadline = time.monotonic() + 60
        while not begun.exists():
            assert time.monotonic() < deadline, "the cell runs"
            await asyncio.sleep(0.05)
    finally:
        client.stop_channels()
        await manager.shutdown_all()
    assert saved.exists() == (grace is not None), "by itself, Jupyter waits for 2.5 seconds"
    assert manager.list_kernel_ids() == []
