"""The real service over HTTP, on the real ledger in SQLite, with a clock that moves when told."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, open_ledger
from jhub_tokens.service import books as books_module
from jhub_tokens.service.serve import RunningService, start
from jhub_tokens.service.settings import Settings
from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.service.stub_hub import StubHub, User

SERVICE_TOKEN = "the-hub-sides-own-token"
PREFIX = "/services/tokens/"
#: Tuesday 24 November 2026, 09:00 UTC.
NOON_MS = 1_795_510_800_000
HOUR_MS = 3_600_000

CATALOGUE = """\
title: Test
zone: Europe/Berlin
enforce: true
default_plan: basic
adopt_profile: cpu
top_up: Write to tokens@example.org.
policy:
  minimum_run: 5m
  grace: 2m
  stop_time: 30s
  warn_before: [30m, 10m, 5m, 1m, 20s]
  warn_used_percent: [80]
  overrun: waive
profiles:
  cpu: {title: CPU, rate: 1, cpu: 4, memory: 8G}
  gpu: {title: One GPU, rate: 10, cpu: 8, memory: 32G, gpus: 1, gpu_models: [T4, A100]}
  gpu4: {title: Four A100, rate: 30, cpu: 32, memory: 128G, gpus: 4, gpu_models: [A100]}
plans:
  basic: {title: Basic, tokens: 50, profiles: [cpu], max_servers: 1}
  pro: {title: Pro, tokens: 300, profiles: [cpu, gpu], max_servers: 2}
  enterprise: {title: Enterprise, tokens: 3000, profiles: [cpu, gpu, gpu4], max_servers: 5}
images:
  tf2.9-gpu: {title: TensorFlow 2.9, accelerator: gpu, lifecycle: recommended}
  tf2.7-gpu: {title: TensorFlow 2.7, accelerator: gpu, lifecycle: retired, successor: tf2.9-gpu}
  tf2.9-cpu: {title: TensorFlow 2.9, accelerator: cpu, lifecycle: recommended}
assign:
  - {plan: pro, members: [grace]}
  - {plan: enterprise, groups: [enterprise]}
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON_MS)


@pytest.fixture
def catalogue_path(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.yaml"
    path.write_text(CATALOGUE)
    return path


@pytest.fixture
async def hub() -> AsyncIterator[StubHub]:
    hub = StubHub(SERVICE_TOKEN, PREFIX)
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture(scope="session")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create empty books once: migrating them anew for each test would take most of the time."""
    path = tmp_path_factory.mktemp("books") / "tokens.sqlite"
    open_ledger(f"sqlite:///{path}", ManualClock(NOON_MS)).close()
    return path


@pytest.fixture
def settings(tmp_path: Path, catalogue_path: Path, hub: StubHub, empty_books: Path) -> Settings:
    shutil.copy(empty_books, tmp_path / "tokens.sqlite")
    return Settings(
        catalogue_path=catalogue_path,
        database_url=f"sqlite:///{tmp_path / 'tokens.sqlite'}",
        service_token=SERVICE_TOKEN,
        hub_api_url=f"{hub.url}/hub/api",
    )


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_module, "_RETRY_S", 0.02)
    monkeypatch.setattr(books_module, "_LOOK_AT_CATALOGUE_S", 0.02)


async def until(condition: Callable[[], Any], what: str, deadline_s: float = 10) -> None:
    """Wait until `condition` holds; fail with `what` after the deadline."""
    give_up = time.monotonic() + deadline_s
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return
        assert time.monotonic() < give_up, f"never happened: {what}"
        await asyncio.sleep(0.01)


class Api:
    """Calls the service; `token` is sent as the hub's clients send it."""

    def __init__(self, running: RunningService, token: str | None = None) -> None:
        headers = {"Authorization": f"token {token}"} if token else {}
        base = f"http://127.0.0.1:{running.port}{PREFIX}"
        self.client = httpx.AsyncClient(base_url=base, headers=headers, timeout=40)

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.client.post(path, json=body, **options)


class Browser:
    """A browser as far as a server sees one: cookies, redirects, forms."""

    def __init__(self, running: RunningService, hub: StubHub, user: User) -> None:
        self.hub = hub
        self.user = user
        self.origin = f"http://127.0.0.1:{running.port}"
        self.client = httpx.AsyncClient(base_url=self.origin, timeout=20)
        self.client.headers["Sec-Fetch-Mode"] = "navigate"
        self.client.headers["Sec-Fetch-Site"] = "same-origin"

    async def sign_in(self, path: str = "") -> httpx.Response:
        """Visit a page, through OAuth, and return what is shown at its end."""
        self.hub.signed_in = self.user
        self.client.cookies.set("jupyterhub-session-id", f"session-{self.user.hub_user_id}")
        answer = await self.get(path)
        assert answer.status_code == 302, answer.text
        # The hub is on another port here; the proxy makes them one origin in life.
        to_hub = answer.headers["location"].replace("/hub/", f"{self.hub.url}/hub/", 1)
        answer = await self.client.get(to_hub)
        back = answer.headers["location"].replace(self.hub.url, "")
        answer = await self.client.get(back)
        assert answer.status_code == 302, answer.text
        return await self.client.get(answer.headers["location"])

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(PREFIX + path, **options)

    async def submit(self, page: httpx.Response, action: str, /, **fields: Any) -> httpx.Response:
        """Send the form of `page` whose action ends with `action`, hidden fields included."""
        for form in re.findall(r"<form.*?</form>", page.text, re.S):
            target = re.search(r'action="([^"]*)"', form)
            if target and target[1].endswith(action):
                hidden = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form)
                return await self.client.post(target[1], data={**dict(hidden), **fields})
        raise AssertionError(f"no form with action …{action}")


async def _quiet(running: RunningService) -> None:
    # jupyterhub 6's client keeps one session a loop, which belongs to this test.
    try:
        from jupyterhub.httpclient import JupyterHubHTTPClient
    except ImportError:
        return
    client = JupyterHubHTTPClient._loop_instances.get(asyncio.get_running_loop())
    if client is not None:
        await client.close()


@pytest.fixture
async def running(settings: Settings, clock: ManualClock) -> AsyncIterator[RunningService]:
    running = await start(settings, clock)
    await until(lambda: running.service.books.is_open, "the books are open")
    yield running
    await _quiet(running)
    ledger = running.service.books.ledger if running.service.books.is_open else None
    findings = ledger.audit() if ledger else ()
    await running.stop()
    assert not findings, f"the books are not clean: {findings}"


@pytest.fixture
def ledger(running: RunningService) -> Ledger:
    return running.service.books.ledger


@pytest.fixture
async def api(running: RunningService) -> AsyncIterator[Callable[..., Api]]:
    """Make clients with a token, or without; they are closed with the test."""
    clients: list[Api] = []

    def make(token: str | None = None) -> Api:
        clients.append(Api(running, token))
        return clients[-1]

    yield make
    for client in clients:
        await client.client.aclose()


@pytest.fixture
def boss(hub: StubHub, admin: User, api: Callable[..., Api]) -> Api:
    """An administrator who moves tokens and plans by the API."""
    return api(hub.add_token(admin, "admin:users", "custom:jhub-tokens:read!user=admin"))


@pytest.fixture
def hub_side(api: Callable[..., Api]) -> Api:
    return api(SERVICE_TOKEN)


@pytest.fixture
async def browser(
    running: RunningService, hub: StubHub
) -> AsyncIterator[Callable[[User], Browser]]:
    """Make browsers, one for each person."""
    browsers: list[Browser] = []

    def make(user: User) -> Browser:
        browsers.append(Browser(running, hub, user))
        return browsers[-1]

    yield make
    for each in browsers:
        await each.client.aclose()


def identity(user: User) -> dict[str, Any]:
    """Return a hub user as the hub side describes one."""
    return {
        "hub_user_id": user.hub_user_id,
        "created": user.created,
        "name": user.name,
        "groups": user.groups,
        "admin": user.admin,
    }


@pytest.fixture
def ada(hub: StubHub) -> User:
    return hub.add_user("ada")


@pytest.fixture
def grace(hub: StubHub) -> User:
    return hub.add_user("grace")


@pytest.fixture
def admin(hub: StubHub) -> User:
    return hub.add_user("admin", admin=True)


class Story:
    """Moves time and tells the service what the hub sees."""

    def __init__(self, running: RunningService, clock: ManualClock, api: Api) -> None:
        self.running = running
        self.clock = clock
        self.api = api
        self.sequence = 0
        self.starts = itertools.count()
        self.servers: dict[str, dict[str, Any]] = {}

    async def join(self, user: User) -> str:
        """Make a member; return the member's id."""
        answer = await self.api.post("api/v1/hub/overview", {"member": identity(user)})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["member_id"])

    async def admit(self, user: User, profile: str, **options: Any) -> httpx.Response:
        key = options.pop("start_key", f"start-{user.hub_user_id}-{next(self.starts)}")
        body = {"member": identity(user), "start_key": key, "profile": profile, **options}
        return await self.api.post("api/v1/hub/admissions", body)

    async def run(self, user: User, profile: str, server_name: str = "") -> dict[str, Any]:
        """Admit a server and report it ready; return the admission."""
        answer = await self.admit(user, profile, server_name=server_name)
        assert answer.status_code == 201, answer.text
        admission: dict[str, Any] = answer.json()
        self.servers[admission["start_key"]] = {
            "member": identity(user),
            "server_name": server_name,
            "start_key": admission["start_key"],
            "ready_since": self.clock.now_ms(),
        }
        await self.snapshot()
        return admission

    async def end(self, start_key: str) -> None:
        """Report the end of a server."""
        del self.servers[start_key]
        ended = [{"start_key": start_key, "ended_age_ms": 0, "reason": "stopped"}]
        await self.snapshot(ended=ended)

    async def snapshot(self, **facts: Any) -> dict[str, Any]:
        """Push what the hub sees now."""
        self.sequence += 1
        servers = []
        for server in self.servers.values():
            seen = dict(server)
            age = self.clock.now_ms() - seen.pop("ready_since")
            servers.append({**seen, "ready_age_ms": age, "alive_age_ms": 0})
        body = {"epoch": "epoch-of-test", "sequence": self.sequence, "servers": servers, **facts}
        answer = await self.api.post("api/v1/hub/snapshots", body)
        assert answer.status_code == 200, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    async def pass_ms(self, duration_ms: int) -> None:
        """Let time pass, with the servers seen alive at its end, and the warden look."""
        self.clock.advance_ms(duration_ms)
        await self.snapshot()
        await self.warden()

    async def warden(self) -> None:
        """Let the warden make one whole pass."""
        warden = self.running.service.warden
        before = warden.passes
        warden.wake()
        await until(lambda: warden.passes > before, "the warden looks")


@pytest.fixture
def story(running: RunningService, clock: ManualClock, hub_side: Api) -> Story:
    return Story(running, clock, hub_side)


def tokens(amount: dict[str, str]) -> float:
    """Return an amount of the API in tokens."""
    return int(amount["grains"]) / GRAINS_PER_TOKEN
