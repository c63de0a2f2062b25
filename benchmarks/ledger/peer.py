"""The peer: jupyterhub-credit-service, which bills inside the hub, in an environment of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.databases import cache_folder

__all__ = ["PEER", "bill_with_peer"]

_NAME, _VERSION = "jupyterhub-credit-service", "0.4.2"
PEER = f"{_NAME} {_VERSION}"
#: The same versions as ours, so that only what is built on them differs.
_SHARED = ("jupyterhub", "SQLAlchemy", "tornado", "traitlets")
_INSTALL_MAX_S = 600
_RUN_MAX_S = 600


def bill_with_peer(servers: int, rounds: int) -> list[float]:
    """Return how many seconds each round of the peer's billing task took for so many due users."""
    python = _environment()
    with tempfile.TemporaryDirectory(prefix="jhub-bench-") as folder:
        program = Path(__file__).with_name("peer_billing.py")
        done = subprocess.run(
            [str(python), str(program), str(servers), str(rounds)],
            capture_output=True,
            text=True,
            timeout=_RUN_MAX_S,
            cwd=folder,
        )
    if done.returncode:
        raise BenchmarkError(f"the peer failed:\n{done.stderr[-2000:]}")
    return [float(took_s) for took_s in json.loads(done.stdout)]


def _environment() -> Path:
    """Return the Python of an environment with the peer in it, made at the first call."""
    shared = [f"{name}=={version(name)}" for name in _SHARED]
    hub = version("jupyterhub")
    folder = cache_folder() / f"{_NAME}-{_VERSION}-hub-{hub}-py{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if folder.joinpath("ready").exists():
        return python
    print(f"Installing {PEER} into {folder} …", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", f"{_NAME}=={_VERSION}", *shared],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_MAX_S)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise BenchmarkError(
                f"{PEER} cannot be installed, so `settle` cannot compare; is the package index "
                f"reachable?\n{done.stderr[-1000:]}"
            )
    folder.joinpath("ready").touch()
    return python
