"""The demo as a visitor starts it, with a catalogue whose minutes pass in seconds."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from jhub_tokens.catalogue import shipped_catalogue
from tests.ports import free_port

__all__ = ["FAST", "DemoHub", "fast_catalogue", "wait_until"]

T = TypeVar("T")

#: The demo's catalogue, so fast that a basic member's balance lasts half a minute on a CPU: a
#: start needs 15 s behind it (3 tokens), the last warning comes 10 s and the stop 4 s before dry.
FAST = {
    "rate: 60 ": "rate: 720 ",
    "rate: 600\n": "rate: 7200\n",
    "rate: 1800\n": "rate: 21600\n",
    "tokens: 3 ": "tokens: 6 ",
    "minimum_run: 30s": "minimum_run: 5s",
    "grace: 20s": "grace: 6s",
    "stop_time: 10s": "stop_time: 4s",
    "warn_before: [2m, 1m, 30s]": "warn_before: [20s, 13s]",
    "warn_used_percent: [80]": "warn_used_percent: [50]",
}


def fast_catalogue() -> str:
    """Return the fast variant of the demo's catalogue."""
    text = shipped_catalogue("demo").read_text(encoding="utf-8")
    for old, new in FAST.items():
        assert text.count(old) == 1, f"the demo's catalogue has no longer one {old!r}"
        text = text.replace(old, new)
    return text


def wait_until(check: Callable[[], T], what: str, timeout_s: float = 30.0) -> T:
    """Return the first true answer of `check`; fail with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what} (last answer: {answer!r})")
        time.sleep(0.1)


class DemoHub:
    """``jhub-tokens demo`` in a process of its own."""

    def __init__(self, directory: Path, catalogue: str = "") -> None:
        self.state = directory / "state"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._output = directory / "demo.out"
        self._catalogue = directory / "fast.yaml"
        self._catalogue.write_text(catalogue or fast_catalogue(), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """Start the demo and wait for its welcome."""
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jhub_tokens", "demo", "--port", str(self.port),
                 "--state", str(self.state), "--catalogue", str(self._catalogue), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

        def welcomed() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.output
            return "Ctrl-C" in self.output

        wait_until(welcomed, f"the demo's welcome; so far: {self.output}", 120)

    def stop(self) -> int:
        """Stop the demo as Ctrl-C does; return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Wait until the demo has ended; return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=60)

    @property
    def output(self) -> str:
        """What the demo has printed."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> str:
        """What the hub and the service have logged."""
        return (self.state / "hub.log").read_text(encoding="utf-8", errors="replace")

    def settings(self) -> dict[str, Any]:
        """Return the demo's settings: ports and places."""
        settings: dict[str, Any] = json.loads((self.state / "settings.json").read_text())
        return settings

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another ``jhub-tokens`` command on the demo's books."""
        return subprocess.run(
            [sys.executable, "-m", "jhub_tokens", *arguments, "--state", str(self.state)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def statement(self, name: str) -> dict[str, Any]:
        """Return a member's statement as the command line tells it."""
        done = self.command("statement", name, "--json")
        assert done.returncode == 0, done.stderr
        statement: dict[str, Any] = json.loads(done.stdout)
        return statement

    def api(self, token: str) -> httpx.Client:
        """Return a client for the hub's and the service's REST APIs."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"token {token}"}, timeout=20
        )

    def token_of(self, name: str) -> str:
        """Return a new API token of a user that the hub knows, by name and password."""
        answer = httpx.post(
            f"{self.url}/hub/api/users/{name}/tokens",
            json={"auth": {"username": name, "password": "demo"}, "note": "journey"},
            timeout=20,
        )
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["token"])

    def assert_no_tracebacks(self) -> None:
        """Fail if anything broke behind the pages."""
        log = re.sub(r"\x1b\[[0-9;]*m", "", self.log)
        # The hub itself logs a traceback for each refusal on its form; that one is no accident.
        for found in re.finditer(r"^ *Traceback .*?^ *[\w.]+(?:Error|Exception|Refused)\b.*?$",
                                 log, re.DOTALL | re.MULTILINE):  # fmt: skip
            block = found[0]
            last = block.rstrip().splitlines()[-1]
            ending = "initiating shutdown" in log[: found.start()]
            if ending and "in check_services_health" in block and "'proto'" in last:
                continue  # the hub looks after a service that it has just stopped for its own end
            assert re.search(r"StartRefused|HTTP 4\d\d", last), block


def artefacts() -> Path:
    """Return the directory for screenshots; it is out of git."""
    default = Path(__file__).parents[2] / "test-artefacts"
    directory = Path(os.environ.get("JHUB_TOKENS_ARTEFACTS") or default).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    return directory
