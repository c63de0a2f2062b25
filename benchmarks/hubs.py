"""The measured hubs: real processes, started side by side, driven through the hub's REST API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil

from jhub_tokens.demo.tools import find_proxy_command, free_port

__all__ = ["BenchmarkError", "Hub", "Pair", "hub_pair", "wait_until"]

Server = Literal["shared", "singleuser", "kubernetes"]
_CONFIG = Path(__file__).with_name("jupyterhub_config.py")
_START_MAX_S = 120.0
_STOP_MAX_S = 60.0
_BATCH = 100

CATALOGUE = """\
title: Benchmark
zone: UTC
default_plan: member
adopt_profile: cpu
policy:
  minimum_run: 5m
  grace: 2m
  stop_time: 30s
profiles:
  cpu: {title: CPU, rate: 1, cpu: 4, memory: 8G}
  gpu: {title: GPU, rate: 10, cpu: 8, memory: 32G, gpus: 1, gpu_models: [T4, A100]}
plans:
  member: {title: Member, tokens: 100000, profiles: [cpu, gpu], max_servers: 2}
images:
  one: {title: One, accelerator: any, lifecycle: recommended}
"""


class BenchmarkError(Exception):
    """Something that makes measuring impossible; the message is for the person who measures."""


def wait_until(condition: Callable[[], bool], what: str, within_s: float) -> None:
    """Wait until `condition` holds.

    Raises
    ------
    BenchmarkError
        If it does not within `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not within {within_s:g} s: {what}")
        time.sleep(0.1)


class Hub:
    """A hub in a directory of its own, with or without jhub-tokens.

    Parameters
    ----------
    directory
        An empty directory.
    ours
        Whether jhub-tokens is configured.
    server
        ``"singleuser"`` for real single-user servers, ``"shared"`` for one tiny server that
        stands for all, ``"kubernetes"`` for pods.
    shared_port
        Where the tiny server listens.
    look_often
        Whether the hub looks every 20 ms whether a server is up, instead of at random intervals.
    probed
        Whether the event loop is probed.
    catalogue
        What is offered.
    more
        What the configuration is told besides.
    environment
        What its process has in its environment besides.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ours: bool,
        server: Server,
        shared_port: int,
        look_often: bool,
        probed: bool,
        catalogue: str = CATALOGUE,
        more: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.name = "ours" if ours else "plain"
        self.ours = ours
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = environment or {}
        self._probe = directory / "probe.json" if probed else None
        ports: list[int] = []
        while len(ports) < 3:
            ports.append(free_port(0, ports))
        port, hub_port, proxy_port = ports
        self._token = secrets.token_hex(16)
        settings = {
            "directory": str(directory),
            "port": port,
            "hub_port": hub_port,
            "proxy_port": proxy_port,
            "proxy_command": find_proxy_command(),
            "api_token": self._token,
            "ours": ours,
            "server": server,
            "shared_port": shared_port,
            "look_often": look_often,
            "probe": str(self._probe) if self._probe else None,
            **(more or {}),
        }
        directory.joinpath("settings.json").write_text(json.dumps(settings), encoding="utf-8")
        directory.joinpath("catalogue.yaml").write_text(catalogue, encoding="utf-8")
        self.public_url = f"http://127.0.0.1:{port}"
        self._hub_url = f"http://127.0.0.1:{hub_port}"
        self._client = httpx.Client(
            headers={"Authorization": f"token {self._token}"},
            timeout=150,
            trust_env=False,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
        )

    # --- the processes ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process; `wait_ready` waits for it."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTERHUB_")}
        places = [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
        roots = [str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")]
        environment["PATH"] = os.pathsep.join(places)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, roots))
        environment["HOME"] = str(self.directory)
        environment |= self._environment
        environment["BENCHMARK_SETTINGS"] = str(self.directory / "settings.json")
        with self.directory.joinpath("log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "--config", str(_CONFIG)],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who then stop it in order
            )

    def wait_ready(self) -> None:
        """Wait until the hub, and with it the token service, answers."""
        paths = ["/hub/api/"] + (["/services/tokens/healthz"] if self.ours else [])
        for path in paths:
            wait_until(lambda path=path: self._answers(path), f"{path} answers", _START_MAX_S)  # type: ignore[misc]

    def _answers(self, path: str) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            log = self.directory.joinpath("log").read_text(errors="replace")
            raise BenchmarkError(
                f"the {self.name} hub has ended; its log ends with:\n{log[-3000:]}"
            )
        try:
            return self._client.get(self.public_url + path).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """Stop the hub and everything that it started."""
        if self._process is None:
            return
        family = _family(self._process.pid)  # before: its children become nobody's
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_MAX_S)
        _kill(family)
        self._process.wait()
        self._process = None

    def close(self) -> None:
        """Stop it for good."""
        try:
            self.stop()
        finally:
            self._client.close()

    @property
    def process(self) -> psutil.Process:
        """The hub's own process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def service(self) -> psutil.Process:
        """The token service's process."""
        for child in self.process.children():
            if "jhub_tokens" in child.cmdline():
                return child
        raise BenchmarkError("the token service does not run")

    # --- the hub's API ----------------------------------------------------------------------------

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Call the hub's API; raises `BenchmarkError` if it refuses."""
        response = self._client.request(method, f"{self._hub_url}/hub/api/{path}", json=body)
        if response.status_code >= 300:
            raise BenchmarkError(
                f"{self.name} hub: {method} {path}: {response.status_code} {response.text[:500]}"
            )
        return response

    def add_users(self, names: list[str]) -> None:
        """Add users to the hub and, with ours, wait until all of them are members."""
        for at in range(0, len(names), _BATCH):
            self.api("POST", "users", {"usernames": names[at : at + _BATCH]})
        if self.ours:
            wait_until(lambda: self.members() >= len(names), "all users are members", 120)

    def members(self) -> int:
        """Return how many members the token service has."""
        response = self._client.get(f"{self.public_url}/services/tokens/api/v1/members")
        response.raise_for_status()
        return int(response.json()["total"])

    def start_server(self, name: str) -> float:
        """Start a server; return how many seconds it took until it was ready."""
        begun = time.perf_counter()
        # A plain KubeSpawner refuses the name of a profile that it does not have.
        chosen = {"profile": "cpu"} if self.ours else {}
        response = self.api("POST", f"users/{name}/server", chosen)
        took = time.perf_counter() - begun
        if response.status_code != 201:
            raise BenchmarkError(f"{self.name} hub: the server of {name} was not ready in time")
        return took

    def stop_server(self, name: str) -> None:
        """Stop a server; returns once it has stopped."""
        response = self.api("DELETE", f"users/{name}/server")
        if response.status_code != 204:
            raise BenchmarkError(f"{self.name} hub: the server of {name} did not stop in time")

    def ready_servers(self) -> int:
        """Return how many servers are ready."""
        count = 0
        while page := self.api("GET", f"users?state=ready&limit={_BATCH}&offset={count}").json():
            count += len(page)
        return count

    def sign_in(self, name: str) -> httpx.Client:
        """Return the signed-in browser of a member."""
        browser = httpx.Client(
            base_url=self._hub_url,
            follow_redirects=True,
            timeout=30,
            trust_env=False,
            headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"},
        )
        found = re.search(r'name="_xsrf" value="([^"]+)"', browser.get("/hub/login").text)
        form = {"username": name, "password": self._token, "_xsrf": found[1] if found else ""}
        response = browser.post("/hub/login", data=form)
        if response.status_code != 200 or "/login" in response.url.path:
            raise BenchmarkError(f"{self.name} hub: {name} cannot sign in")
        return browser

    # --- the probe --------------------------------------------------------------------------------

    def probed(self) -> dict[str, Any]:
        """Return what the probe in the hub has found so far."""
        assert self._probe is not None
        path = self._probe
        path.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR2)
        wait_until(path.exists, "the probe reports", 60)
        found: dict[str, Any] = json.loads(path.read_text())
        return found


@dataclass(frozen=True, slots=True)
class Pair:
    """The two hubs of a comparison."""

    plain: Hub
    ours: Hub

    def __iter__(self) -> Iterator[Hub]:
        return iter((self.plain, self.ours))


@contextlib.contextmanager
def hub_pair(*, server: Server, look_often: bool = False, probed: bool = False) -> Iterator[Pair]:
    """Run a plain hub and ours side by side; nothing of them is left afterwards."""
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jhub-tokens-bench-")))
        port = stack.enter_context(_tiny_server()) if server == "shared" else 0
        hubs = []
        for name in ("plain", "ours"):
            directory = root / name
            directory.mkdir()
            hub = Hub(
                directory,
                ours=name == "ours",
                server=server,
                shared_port=port,
                look_often=look_often,
                probed=probed,
            )
            stack.callback(hub.close)
            hubs.append(hub)
        for hub in hubs:
            hub.start()
        for hub in hubs:
            hub.wait_ready()
        yield Pair(*hubs)


@contextlib.contextmanager
def _tiny_server() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("tiny_server.py"))],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BenchmarkError("the tiny server could not start")
        yield int(line)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):  # psutil never hits a reused process id
            process.kill()
    psutil.wait_procs(processes, timeout=10)
