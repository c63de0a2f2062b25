"""SSH into a pod: through the hub's own port with sign-in and key, and through the gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.harness import eventually
from tests.kubernetes import websocat
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import MakeHub
from tests.kubernetes.harness import public_line
from tests.kubernetes.openssh import jumps_with_own_key_only, make_key, said
from tests.ports import free_port


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
    mine, other = (make_key(tmp_path, name) for name in ("mine", "other"))
    hub.add_key("types", public_line(mine))
    hub.start_server("types", profile="notebook")
    command = hub.wait_session("types")["ssh_command"]
    token = hub.api("POST", "users/types/tokens", json={"note": "ssh"}).json()["token"]
    known = {**shell, "JUPYTERHUB_API_TOKEN": token}

    done = eventually(
        lambda: said(command, tmp_path / "mine", known, "echo $JUPYTERHUB_USER; pwd"),
        "sshd lets the key in",
        within_s=60,
    )
    assert done.split() == ["types", "/workspace"]
    # Each of the two is needed.
    assert not said(command, tmp_path / "other", known, "true; echo in")
    assert not said(command, tmp_path / "mine", {**known, "JUPYTERHUB_API_TOKEN": "x"}, "echo in")

    # A key that is added opens the running server.
    hub.add_key("types", public_line(other))
    eventually(
        lambda: said(command, tmp_path / "other", known, "echo in"),
        "the new key opens it",
        within_s=180,
        every_s=2,
    )
    hub.stop_server("types")


def test_the_gateway_opens_the_pod(make_hub: MakeHub, cluster: Cluster, tmp_path: Path) -> None:
    """With stock OpenSSH and the command as it is shown."""
    port = free_port()
    address = cluster.address()
    secret = {"JHUB_TOKENS_GATEWAY_TOKEN": "the-token-of-service-and-gateway"}
    way = {"JHUB_TOKENS_SSH": f"gateway:{address}:{port}"}
    hub = make_hub(real_server=True, service_environment={**secret, **way}).start()
    hub.add_user("jumps")
    mine, _, _ = (make_key(tmp_path, name) for name in ("mine", "other", "host_key"))
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
            jumps_with_own_key_only(shown, "jumps", tmp_path / "mine", tmp_path / "other")
            hub.stop_server("jumps")
        finally:
            gateway.terminate()
