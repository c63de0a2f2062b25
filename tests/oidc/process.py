"""A real OpenID provider as a subprocess, with accounts that a test changes as it likes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.hub.harness import _path, eventually

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "OidcProvider"]

CLIENT_ID = "the-hub"
CLIENT_SECRET = "a-client-secret-that-must-not-leak-5f3c"
_INSTALL = Path(__file__).parents[2] / ".ci" / "oidc-provider"
_SCRIPT = Path(__file__).with_name("provider.mjs")


class OidcProvider:
    """The certified npm package ``oidc-provider``, installed once outside the repository."""

    def __init__(self, port: int, redirect_uri: str, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        env = {**os.environ, "PATH": _path()}
        done = subprocess.run([_INSTALL], env=env, check=True, capture_output=True, text=True)
        command = ["node", _SCRIPT, done.stdout.strip(), str(port)]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, CLIENT_ID, CLIENT_SECRET, redirect_uri],
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.accounts: dict[str, dict[str, Any]] = {}
        eventually(self._answers, "the OpenID provider answers", within_s=60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/.well-known/openid-configuration").status_code == 200
        except httpx.HTTPError:
            return False

    def account(self, sub: str, **claims: Any) -> None:
        """Make an account, or change it; its user name is its subject unless claims say else."""
        self.accounts[sub] = {"preferred_username": sub, **claims}
        self.set(accounts=self.accounts)

    def remove(self, sub: str) -> None:
        del self.accounts[sub]
        self.set(accounts=self.accounts)

    def set(self, **state: Any) -> None:
        """Set `override` (claims of every answer), `down` (or the path that is), `accessTtl`, …"""
        httpx.post(f"{self.url}/control/set", json=state).raise_for_status()

    def rotate_keys(self) -> None:
        httpx.post(f"{self.url}/control/rotate").raise_for_status()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
