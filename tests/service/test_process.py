"""The process itself: settings, ports, locks, signals, and the death of the hub that started it."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from jhub_tokens.service.serve import add_arguments, run
from tests.ports import free_port
from tests.service.conftest import CATALOGUE, PREFIX

Start = Callable[..., "subprocess.Popen[str]"]
DEADLINE_S = 20


def environment(folder: Path, port: int, **changes: str) -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(root),
        "JHUB_TOKENS_CATALOGUE": str(folder / "catalogue.yaml"),
        "JHUB_TOKENS_DATABASE": f"sqlite:///{folder / 'tokens.sqlite'}",
        "JHUB_TOKENS_LOG_FORMAT": "json",
        "JUPYTERHUB_API_TOKEN": "the-hub-sides-own-token",
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}",
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        **changes,
    }


COMMAND = [sys.executable, "-m", "jhub_tokens", "serve"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "catalogue.yaml").write_text(CATALOGUE)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start service processes; whatever is left of them ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def make(*arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [*COMMAND, *arguments],
                env=env,
                cwd=folder,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield make
    for process in started:
        process.kill()
        process.communicate()


def health(port: int) -> httpx.Response | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{PREFIX}healthz", timeout=5)
    except httpx.TransportError:
        return None


def wait_for(condition: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, f"never happened: {what}"
        time.sleep(0.05)


def is_healthy(port: int) -> bool:
    answer = health(port)
    return answer is not None and answer.status_code == 200


def test_it_serves_and_stops_cleanly_when_told(start: Start, folder: Path) -> None:
    port = free_port()
    process = start(env=environment(folder, port))
    wait_for(lambda: is_healthy(port), "the service is healthy")
    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "Traceback" not in logged
    assert '"event": "stopping"' in logged, "logs are JSON lines"


def test_it_answers_while_it_drains_and_stops_when_told_again(start: Start, folder: Path) -> None:
    port = free_port()
    process = start(env={**environment(folder, port), "JHUB_TOKENS_DRAIN_S": "3600"})
    wait_for(lambda: is_healthy(port), "the service is healthy")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}{PREFIX}") as proxy:
        assert proxy.get("healthz/ready").status_code == 200
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: proxy.get("healthz/ready").status_code == 503, "it wants no requests")
        for path in ("healthz", "healthz/live", "api/v1/openapi.json"):
            answer = proxy.get(path)
            assert answer.status_code == 200, answer.text
            assert answer.headers["Connection"] == "close"
    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "Traceback" not in logged


def test_a_second_service_waits_for_the_books_and_takes_over(start: Start, folder: Path) -> None:
    port, other = free_port(), free_port()
    first = start(env=environment(folder, port))
    wait_for(lambda: is_healthy(port), "the first is healthy")
    second = start(env=environment(folder, other))
    wait_for(lambda: health(other), "the second listens")
    answer = health(other)
    assert answer is not None and answer.status_code == 503
    wait_for(lambda: f"process {first.pid}" in health(other).text, "it names the first")  # type: ignore[union-attr]
    first.kill()
    wait_for(lambda: is_healthy(other), "the second takes over from a killed one")
    assert second.poll() is None


def test_a_busy_port_is_one_clear_line(start: Start, folder: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        process = start(env=environment(folder, port))
        _, logged = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in logged
    assert "Traceback" not in logged


def test_a_port_freed_by_a_predecessor_is_taken(start: Start, folder: Path) -> None:
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.listen()
    port = holder.getsockname()[1]
    process = start(env=environment(folder, port))
    assert process.stderr is not None
    assert any("port is in use, trying again" in line for line in process.stderr)
    holder.close()
    wait_for(lambda: is_healthy(port), "the service has the port")


def test_a_bad_setting_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JHUB_TOKENS_CATALOGUE", "")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args([])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--catalogue" in line


def test_it_dies_with_the_hub_that_started_it(folder: Path) -> None:
    """A hub killed with -9 leaves no orphan on its port, though it started it in a session."""
    port = free_port()
    hub_in_small = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({COMMAND!r}, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    hub = subprocess.Popen(
        [sys.executable, "-c", hub_in_small],
        env=environment(folder, port, JHUB_TOKENS_EXIT_WITH_PARENT="1"),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert hub.stdout is not None
    service = psutil.Process(int(hub.stdout.readline()))
    try:
        wait_for(lambda: is_healthy(port), "the service is healthy")
        hub.kill()
        hub.communicate()
        gone, _ = psutil.wait_procs([service], timeout=DEADLINE_S)
        assert gone, "the service outlives its hub"
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    finally:
        if service.is_running():
            service.kill()


def test_a_service_that_the_hub_does_not_manage_stays(folder: Path) -> None:
    port = free_port()
    env = environment(folder, port)
    starter = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import subprocess; print(subprocess.Popen({COMMAND!r}, start_new_session=True, "
            "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)",
        ],
        env=env,
        text=True,
        capture_output=True,
        timeout=DEADLINE_S,
        check=True,
    )
    service = psutil.Process(int(starter.stdout))
    try:
        wait_for(lambda: is_healthy(port), "it serves though its starter is gone")
    finally:
        service.terminate()
        gone, _ = psutil.wait_procs([service], timeout=DEADLINE_S)
        assert gone
