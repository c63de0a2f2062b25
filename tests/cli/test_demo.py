"""``jhub-tokens demo`` says plainly what keeps it from starting, and takes nothing away."""

from __future__ import annotations

import fcntl
import socket
from pathlib import Path

import pytest

from jhub_tokens.catalogue import load_catalogue, shipped_catalogue
from jhub_tokens.cli import main
from jhub_tokens.commands import CommandError
from jhub_tokens.demo.state import lock_state, prepare_state
from jhub_tokens.demo.tools import free_port


@pytest.fixture
def with_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path on which there are a proxy and a Node.js, to get past that check."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("configurable-http-proxy", "node"):
        (tools / name).write_text("#!/bin/sh\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))


def demo(tmp_path: Path, *arguments: str) -> int:
    return main(["demo", "--state", str(tmp_path / "state"), *arguments])


def test_a_missing_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert demo(tmp_path) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("jhub-tokens: configurable-http-proxy is missing")
    assert "npm install --global configurable-http-proxy" in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("with_proxy")
def test_a_busy_port_names_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert demo(tmp_path, "--port", str(port)) == 1
    err = capsys.readouterr().err
    assert f"port {port} is in use" in err and "make demo PORT=" in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("with_proxy")
def test_a_second_demo_on_the_same_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    state = tmp_path / "state"
    state.mkdir()
    with (state / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert demo(tmp_path) == 1
    assert f"another demo is running on {state}" in capsys.readouterr().err


@pytest.mark.usefixtures("with_proxy")
def test_a_state_directory_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "state").write_text("not a directory")
    assert demo(tmp_path) == 1
    assert "--state:" in capsys.readouterr().err


def test_a_broken_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bad = tmp_path / "bad.yaml"
    bad.write_text("plans:\n  basic: {tokens: many}\n")
    assert demo(tmp_path, "--catalogue", str(bad)) == 1
    err = capsys.readouterr().err
    assert f"{bad}:2: plans.basic.tokens: 'many' is not an amount of tokens" in err
    assert "Traceback" not in err


def test_reset_empties_a_demo_and_nothing_else(tmp_path: Path):
    state = tmp_path / "state"
    catalogue = shipped_catalogue("demo")
    with lock_state(state, reset=False):
        prepare_state(
            state,
            port=8000,
            catalogue_path=catalogue,
            catalogue=load_catalogue(catalogue),
            proxy_command=["node", "proxy"],
        )
        (state / "workspaces").mkdir()
        (state / "workspaces" / "work.txt").write_text("x")
    with lock_state(state, reset=True):
        assert [path.name for path in state.iterdir()] == ["demo.lock"]

    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(CommandError, match="nothing was removed"), lock_state(home, reset=True):
        pytest.fail("a directory that is no demo's was taken")
    assert (home / "thesis.txt").read_text() == "years of work"


def test_ports_and_secrets_are_kept_between_runs(tmp_path: Path):
    catalogue = shipped_catalogue("demo")

    def prepared(port: int) -> dict[str, object]:
        return prepare_state(
            tmp_path,
            port=port,
            catalogue_path=catalogue,
            catalogue=load_catalogue(catalogue),
            proxy_command=["node", "proxy"],
        )

    first = prepared(8000)
    assert {**prepared(8001), "port": 8000} == first
    assert len({first["port"], first["hub_port"], first["proxy_port"], first["service_port"]}) == 4
    names = [(member["name"], member["plan"]) for member in first["members"]]  # type: ignore[attr-defined]
    assert names == [
        ("ada", "Basic"),
        ("grace", "Pro"),
        ("edsger", "Enterprise"),
        ("admin", "Basic"),
    ]
    assert (tmp_path / "settings.json").stat().st_mode & 0o077 == 0


def test_a_port_that_is_taken_is_replaced():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        taken = busy.getsockname()[1]
        assert free_port(taken, ()) != taken
    free = free_port(0, ())
    assert free_port(free, ()) == free
    assert free_port(free, {free}) != free
