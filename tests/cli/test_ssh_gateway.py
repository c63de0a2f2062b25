"""``jhub-tokens ssh-gateway``: what it refuses, and that it listens until told to stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from jhub_tokens.cli import main

TOKEN = "the-token-of-service-and-gateway"
SERVICE = "http://127.0.0.1:1/services/tokens/"


@pytest.fixture
def host_key(tmp_path: Path) -> Path:
    path = tmp_path / "host_key"
    # What Helm makes: OpenSSL's form of a key on a curve of NIST's.
    asyncssh.generate_private_key("ecdsa-sha2-nistp256").write_private_key(path, "pkcs1-pem")
    return path


@pytest.mark.parametrize(
    ("arguments", "token", "says"),
    [
        (["--service", "tokens:10150"], TOKEN, "JHUB_TOKENS_GATEWAY_SERVICE=tokens:10150"),
        (["--service", SERVICE], "short", "JHUB_TOKENS_GATEWAY_TOKEN has 5 characters"),
        (["--service", SERVICE, "--host-key", "nowhere"], TOKEN, "there is no such file"),
        (["--service", SERVICE, "--host-key", "{key}", "--listen", "x"], TOKEN, "LISTEN=x"),
        (["--service", SERVICE, "--host-key", __file__], TOKEN, "cannot be read"),
        (["--service", SERVICE, "--host-key", "{key}", "--listen", "{taken}"], TOKEN, "in use"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(
    arguments: list[str],
    token: str,
    says: str,
    host_key: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JHUB_TOKENS_GATEWAY_TOKEN", token)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        known = [one.format(key=host_key, taken=place) for one in arguments]
        assert main(["ssh-gateway", *known]) == 2
    said = capsys.readouterr().err
    assert says in said and "Traceback" not in said


def test_how_long_it_waits_at_the_end_must_be_a_number(
    host_key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JHUB_TOKENS_GATEWAY_TOKEN", TOKEN)
    monkeypatch.setenv("JHUB_TOKENS_GATEWAY_DRAIN_S", "10m")
    assert main(["ssh-gateway", "--service", SERVICE, "--host-key", str(host_key)]) == 2
    assert "JHUB_TOKENS_GATEWAY_DRAIN_S=10m: write for how many seconds" in capsys.readouterr().err


def test_it_listens_until_it_is_told_to_stop(host_key: Path) -> None:
    command = [sys.executable, "-m", "jhub_tokens", "ssh-gateway", "--listen", "127.0.0.1:0"]
    env = {
        **os.environ,
        "JHUB_TOKENS_GATEWAY_TOKEN": TOKEN,
        "JHUB_TOKENS_GATEWAY_SERVICE": SERVICE,
        "JHUB_TOKENS_GATEWAY_HOST_KEY": str(host_key),
    }
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        port = int(line.split("port=")[1].split()[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            assert connection.recv(8) == b"SSH-2.0-"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()
