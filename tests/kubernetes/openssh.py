"""A member with stock OpenSSH, who types the command that they are shown."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.hub.harness import eventually
from tests.kubernetes.harness import private_pem


def make_key(directory: Path, name: str) -> Ed25519PrivateKey:
    """Return a new key, which is in a file of this name."""
    key = Ed25519PrivateKey.generate()
    file = directory / name
    file.touch(mode=0o600)
    file.write_bytes(private_pem(key))
    return key


def said(command: str, key: Path, environment: dict[str, str], remote: str) -> str:
    """Return what `remote` prints by the command that is shown; nothing if it gets nowhere."""
    options = (
        f"-F none -i {key} -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=20 "
        f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={key.parent}/known_hosts"
    )
    return _printed(command, options, remote, environment)


def jumped(command: str, key: Path, remote: str) -> str:
    """As `said`; options for both hops have to stand in a file."""
    config = key.with_suffix(".config")
    config.write_text(
        f"IdentityFile {key}\nIdentitiesOnly yes\nBatchMode yes\nConnectTimeout 20\n"
        "StrictHostKeyChecking accept-new\n"
        f"UserKnownHostsFile {key.parent}/known_hosts_of_jumps\n"
    )
    return _printed(command, f"-F {config}", remote)


def jumps_with_own_key_only(command: str, name: str, own: Path, other: Path) -> None:
    """Check that the command leads into a member's server with their key, and with no other."""
    printed = eventually(
        lambda: jumped(command, own, "echo $JUPYTERHUB_USER; pwd"),
        "sshd lets the key in",
        within_s=60,
    )
    assert printed.split() == [name, "/workspace"]
    assert not jumped(command, other, "echo in")


def _printed(
    command: str, options: str, remote: str, environment: dict[str, str] | None = None
) -> str:
    program, rest = command.split(" ", 1)
    done = subprocess.run(
        ["bash", "-c", f"{program} {options} {rest} '{remote}'"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout if done.returncode == 0 else ""
