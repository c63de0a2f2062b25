"""SSH into a pod through the hub's own port: with the hub's sign-in and the member's own key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.hub.harness import eventually, free_ports
from tests.kubernetes import websocat
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import MakeHub
from tests.kubernetes.harness import private_pem, public_line


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a member's shell, with a websocat on its path."""
    script = tmp_path / "websocat"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {websocat.__file__} "$@"\n')
    script.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def test_the_shown_command_opens_the_pod(
    make_hub: MakeHub, shell: dict[str, str], tmp_path: Path
) -> None:
    hub = make_hub(real_server=True, ssh=True).start()
    hub.add_user("types")
    mine, other = (_key(tmp_path, name) for name in ("mine", "other"))
    hub.add_key("types", public_line(mine))
    hub.start_server("types", profile="notebook")
    command = hub.wait_session("types")["ssh_command"]
    token = hub.api("POST", "users/types/tokens", json={"note": "ssh"}).json()["token"]
    known = {**shell, "JUPYTERHUB_API_TOKEN": token}

    done = eventually(
        lambda: _said(command, tmp_path / "mine", known, "echo $JUPYTERHUB_USER; pwd"),
        "sshd lets the key in",
        within_s=60,
    )
    assert done.split() == ["types", "/workspace"]
    # Each of the two is needed.
    assert not _said(command, tmp_path / "other", known, "true; echo in")
    assert not _said(command, tmp_path / "mine", {**known, "JUPYTERHUB_API_TOKEN": "x"}, "echo in")

    # A key that is added opens the running server.
    hub.add_key("types", public_line(other))
    eventually(
        lambda: _said(command, tmp_path / "other", known, "echo in"),
        "the new key opens it",
        within_s=180,
        every_s=2,
    )
    hub.stop_server("types")


def test_the_gateway_opens_the_pod(make_hub: MakeHub, cluster: Cluster, tmp_path: Path) -> None:
    """With stock OpenSSH and the command as it is shown."""
    (port,) = free_ports(1)
    address = cluster.address()
    secret = {"JHUB_TOKENS_GATEWAY_TOKEN": "the-token-of-service-and-gateway"}
    way = {"JHUB_TOKENS_SSH": f"gateway:{address}:{port}"}
    hub = make_hub(real_server=True, service_environment={**secret, **way}).start()
    hub.add_user("jumps")
    mine, _, _ = (_key(tmp_path, name) for name in ("mine", "other", "host_key"))
    hub.add_key("jumps", public_line(mine))
    command = [
        sys.executable, "-m", "jhub_tokens", "ssh-gateway", "--listen", f"{address}:{port}",
        "--service", f"http://127.0.0.1:{hub.port}/services/tokens/",
        "--host-key", str(tmp_path / "host_key"),
    ]  # fmt: skip
    with subprocess.Popen(command, env={**os.environ, **secret}) as gateway:
        try:
            hub.start_server("jumps", profile="notebook")
            shown = hub.wait_session("jumps")["ssh_command"]
            assert shown == f"ssh -J jump@{address}:{port} jovyan@jupyter-jumps"
            said = eventually(
                lambda: _jumped(shown, tmp_path / "mine", "echo $JUPYTERHUB_USER; pwd"),
                "sshd lets the key in",
                within_s=60,
            )
            assert said.split() == ["jumps", "/workspace"]
            assert not _jumped(shown, tmp_path / "other", "echo in")
            hub.stop_server("jumps")
        finally:
            gateway.terminate()


def _jumped(command: str, key: Path, remote: str) -> str:
    """As `_said`; options for both hops have to stand in a file."""
    config = key.with_suffix(".config")
    config.write_text(
        f"IdentityFile {key}\nIdentitiesOnly yes\nBatchMode yes\nConnectTimeout 20\n"
        "StrictHostKeyChecking accept-new\n"
        f"UserKnownHostsFile {key.parent}/known_hosts_of_jumps\n"
    )
    program, rest = command.split(" ", 1)
    done = subprocess.run(
        ["bash", "-c", f"{program} -F {config} {rest} '{remote}'"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout if done.returncode == 0 else ""


def _key(directory: Path, name: str) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    file = directory / name
    file.touch(mode=0o600)
    file.write_bytes(private_pem(key))
    return key


def _said(command: str, key: Path, environment: dict[str, str], remote: str) -> str:
    """Return what the command prints that the member is shown; nothing if it gets nowhere."""
    program, rest = command.split(" ", 1)
    options = (
        f"-F none -i {key} -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=20 "
        f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={key.parent}/known_hosts"
    )
    done = subprocess.run(
        ["bash", "-c", f"{program} {options} {rest} '{remote}'"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout if done.returncode == 0 else ""
