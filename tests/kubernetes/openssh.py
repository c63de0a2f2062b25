"""A member with stock OpenSSH, who types the command that they are shown."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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


def jumped(command: str, key: Path, remote: str) -> str:
    """As `said`; options for both hops have to stand in a file."""
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
