"""The entry point, as a module and as a process without a container around it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = (
    Path(__file__).parents[2] / "images" / "rootfs" / "usr" / "local" / "bin" / "jhub-entrypoint"
)


def load():
    loader = importlib.machinery.SourceFileLoader("jhub_entrypoint", str(SCRIPT))
    spec = importlib.util.spec_from_loader("jhub_entrypoint", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


entrypoint = load()


@pytest.fixture
def skeleton(tmp_path):
    folder = tmp_path / "skeleton"
    folder.mkdir()
    folder.joinpath("README.md").write_text("ours")
    return folder


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def test_an_empty_volume_is_laid_out(workspace, skeleton):
    entrypoint.prepare_workspace(workspace, skeleton)
    assert {path.name for path in workspace.iterdir()} == {
        ".jhub", "README.md", "datasets", "logs", "models",
    }  # fmt: skip


def test_a_file_of_the_member_is_never_overwritten(workspace, skeleton):
    workspace.joinpath("README.md").write_text("mine")
    entrypoint.prepare_workspace(workspace, skeleton)
    assert workspace.joinpath("README.md").read_text() == "mine"


def test_a_link_is_not_written_through(workspace, skeleton, tmp_path):
    workspace.joinpath("README.md").symlink_to(tmp_path / "elsewhere")
    entrypoint.prepare_workspace(workspace, skeleton)
    assert not tmp_path.joinpath("elsewhere").exists()


def test_what_the_member_deleted_does_not_come_back(workspace, skeleton):
    entrypoint.prepare_workspace(workspace, skeleton)
    workspace.joinpath("README.md").unlink()
    entrypoint.prepare_workspace(workspace, skeleton)
    assert not workspace.joinpath("README.md").exists()


def test_a_workspace_that_is_not_there_is_refused_with_the_remedy(tmp_path, skeleton):
    with pytest.raises(entrypoint.Refused, match="Mount a volume"):
        entrypoint.prepare_workspace(tmp_path / "nowhere", skeleton)


def test_the_environment_survives_a_shell(tmp_path):
    odd = {"ODD": 'it\'s "$HOME"\nand `more`', "PATH": os.environ["PATH"], "SSH_AUTH_SOCK": "x"}
    script = tmp_path / "environment.sh"
    script.write_text(entrypoint.environment_script(odd))
    told = subprocess.run(
        ["sh", "-c", f'. {script}; printf %s "$ODD"; printf %s "$SSH_AUTH_SOCK"'],
        env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == odd["ODD"]


def test_an_unknown_kind_of_forwarding_is_refused():
    with pytest.raises(entrypoint.Refused, match="JHUB_SSH_FORWARDING"):
        entrypoint.sshd_config(2222, "k", "a", "r", "all")


@pytest.mark.parametrize("value", ["22", "65536", "x", "-1", "²"])
def test_a_port_that_cannot_be_is_refused(monkeypatch, value):
    monkeypatch.setenv("JHUB_SSH_PORT", value)
    with pytest.raises(entrypoint.Refused, match="JHUB_SSH_PORT"):
        entrypoint.number("JHUB_SSH_PORT", 2222, 1024, 65535)


@pytest.fixture
def settings(tmp_path, workspace):
    return {
        "PATH": os.environ["PATH"],
        "JHUB_WORKSPACE": str(workspace),
        "JHUB_RUNTIME_DIR": str(tmp_path / "run"),
        "JHUB_SKELETON": str(tmp_path / "none"),
        "JHUB_SSH": "off",
        "JHUB_GRACE_SECONDS": "5",
    }


def server(tmp_path, body):
    script = tmp_path / "server"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return str(script)


def test_without_a_hub_nothing_starts(settings):
    ended = subprocess.run(
        [sys.executable, str(SCRIPT)], env=settings, capture_output=True, text=True
    )
    assert ended.returncode == 78
    assert "JUPYTERHUB_API_TOKEN is not set" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_exit_code_is_jupyters(settings, tmp_path):
    settings |= {"JUPYTERHUB_API_TOKEN": "x", "JHUB_SERVER_COMMAND": server(tmp_path, "exit 7")}
    assert subprocess.run([sys.executable, str(SCRIPT)], env=settings).returncode == 7


@pytest.mark.parametrize(
    ("trap", "code"), [("trap 'exit 3' TERM", 3), ("trap '' TERM", 128 + signal.SIGKILL)]
)
def test_a_stop_is_passed_on_and_pressed_within_the_grace_period(settings, tmp_path, trap, code):
    started = tmp_path / "started"
    body = f"{trap}; : > {started}; while :; do read -t 1 x 2>/dev/null || /bin/sleep 0.05; done"
    settings |= {"JUPYTERHUB_API_TOKEN": "x", "JHUB_SERVER_COMMAND": server(tmp_path, body)}
    process = subprocess.Popen([sys.executable, str(SCRIPT)], env=settings)
    deadline = time.monotonic() + 20
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(20) == code


def test_a_stop_reaches_trainings_and_not_what_keeps_their_terminals_open():
    found = [
        (1, 0, "tini", False),
        (os.getpid(), 1, "python", False),
        (20, os.getpid(), "jupyterhub-singl", False),
        (21, 20, "python", False),  # a kernel
        (22, 21, "python", False),  # and its data loader
        (23, 20, "bash", True),  # a terminal of Jupyter's, at its prompt
        (24, 23, "python", False),  # a training in it
        (30, os.getpid(), "sshd", False),
        (31, 30, "sshd-session", False),
        (32, 1, "tmux: server", False),
        (33, 32, "bash", True),
        (34, 33, "python", False),
        (35, 1, "SCREEN", False),
        (36, 35, "python", False),
        (37, 1, "python", False),  # nohup
    ]
    assert entrypoint.at_work(found, jupyter=20) == {24, 34, 36, 37}
    ended = [process for process in found if process[0] != 20]
    assert entrypoint.at_work(ended) == {21, 22, 24, 34, 36, 37}


def test_what_runs_is_read_from_proc():
    ignoring = subprocess.Popen(
        [sys.executable, "-c", "import signal, sys; signal.signal(15, signal.SIG_IGN); print(1); "
         "sys.stdout.flush(); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with ignoring:
        assert ignoring.stdout.readline() == b"1\n"
        found = {pid: rest for pid, *rest in entrypoint.processes()}
        assert found[ignoring.pid][0] == os.getpid()
        assert found[ignoring.pid][2] is True
        assert found[os.getpid()][2] is False
