"""Several token services on one PostgreSQL, and what stands before them at a larger hub."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from aiohttp import web

from tests.hub.harness import eventually
from tests.ports import free_port

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Replica:
    """One ``jhub-tokens serve`` that no hub manages."""

    def __init__(self, directory: Path, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._log = directory / f"replica-{name}.log"
        self._directory = directory
        self._environment = {
            **os.environ,
            **environment,
            "JUPYTERHUB_SERVICE_URL": self.url,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jhub_tokens", "serve"],
                cwd=self._directory,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def status(self, path: str = "healthz/ready") -> int:
        try:
            return httpx.get(f"{self.url}/services/tokens/{path}", timeout=10).status_code
        except httpx.TransportError:
            return 0

    def wait_ready(self) -> None:
        eventually(lambda: self.status() == 200, f"replica {self.name} is ready", within_s=60)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return self._log.read_text(errors="replace")


class Balancer:
    """Sends each request to the next replica, or to a chosen one; past those that are down."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.replicas = replicas
        #: How a path ends → the replica for it; `always` comes before what a test pins.
        self.always: dict[str, int] = {}
        self.pinned: dict[str, int] = {}
        self.served: list[tuple[str, int]] = []  #: path and replica of each request answered
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._next = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner: web.AppRunner
        self._client: aiohttp.ClientSession
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def served_by(self, ending: str) -> set[int]:
        """Return the replicas that have answered requests whose path ends so."""
        return {replica for path, replica in list(self.served) if path.endswith(ending)}

    async def _open(self) -> None:
        self._client = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._client.close()

    def _first(self, path: str) -> int:
        for ending, replica in [*self.always.items(), *self.pinned.items()]:
            if path.endswith(ending):
                return replica
        self._next += 1
        return self._next

    async def _forward(self, request: web.Request) -> web.Response:
        first, body = self._first(request.path), await request.read()
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP]
        for attempt in range(len(self.replicas)):
            number = (first + attempt) % len(self.replicas)
            options: dict[str, Any] = {"data": body or None, "allow_redirects": False}
            url = self.replicas[number].url + request.raw_path
            try:
                async with self._client.request(
                    request.method, url, headers=headers, **options
                ) as answer:
                    content = await answer.read()
            except aiohttp.ClientConnectorError:
                continue  # nobody listens there
            except (aiohttp.ClientError, OSError):
                return web.Response(status=502, text="the replica went away")
            self.served.append((request.path, number))
            shown = web.Response(status=answer.status, body=content)
            shown.headers.clear()
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    shown.headers.add(name, value)
            return shown
        return web.Response(status=503, text="no replica")
