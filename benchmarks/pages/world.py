"""A token service on large books, and a hub that knows all of its members."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.copies import Model, copied, populate, suffix
from benchmarks.ledger.databases import SqliteSite, cache_folder
from benchmarks.ledger.reads import fingerprint
from benchmarks.ledger.worlds import CATALOGUE, HOUR_MS, make_model
from tests.ports import free_port

__all__ = ["Books", "World", "make_books", "running_world"]

_DAY_MS = 24 * HOUR_MS
_SESSIONS = 50  # of each member, in thirteen days
_PAST_MS = 14 * _DAY_MS
_PREFIX = "/services/tokens/"
_READY_S = 120


@dataclass(frozen=True, slots=True)
class Books:
    """Books with so many members, copies of one who has a past."""

    path: Path
    model: Model
    members: int
    entries: int

    def member(self, number: int) -> dict[str, Any]:
        """Return what the hub knows of a member."""
        row, digits = self.model.only("members"), suffix(number)
        return {
            "id": int(row["hub_user_id"]) + number,
            "name": copied(str(row["name"]), digits),
            "created": str(row["hub_created"]),
        }

    def member_id(self, number: int) -> str:
        """Return a member's id in the books."""
        return copied(str(self.model.only("members")["member_id"]), suffix(number))

    def place(self, number: int, sort: str) -> tuple[Any, str]:
        """Return the place of a member in the list of members, sorted by name or balance."""
        if sort == "name":
            return self.member(number)["name"], self.member_id(number)
        wallet = self.model.only("wallets")
        return int(wallet["balance_grains"]), copied(str(wallet["wallet_id"]), suffix(number))


def make_books(entries: int) -> Books:
    """Return books with about so many entries; they are kept while their periods last."""
    now_ms = time.time_ns() // 1_000_000
    folder = cache_folder()
    for path in sorted(folder.glob(f"pages_{fingerprint()}_*.json")):
        model = Model(**json.loads(path.read_text(encoding="utf-8")))
        if now_ms - model.now_ms < 7 * _DAY_MS:
            break
    else:
        # Their first month is not over: nothing is renewed while pages are measured.
        start_ms = (now_ms - _PAST_MS) // HOUR_MS * HOUR_MS
        model = make_model("history", start_ms=start_ms, sessions=_SESSIONS)
        path = folder / f"pages_{fingerprint()}_{start_ms}.json"
        path.write_text(json.dumps(asdict(model)), encoding="utf-8")
    members = max(1, entries // len(model.rows["entries"]))
    site = SqliteSite(folder)
    name = f"{path.stem}_{entries}"
    if not site.exists(name):
        print(f"Filling books with {entries:,} entries …", file=sys.stderr, flush=True)
        begun = time.monotonic()
        site.create(f"{name}_new")
        populate(site, f"{name}_new", model, members)
        site.rename(f"{name}_new", name)
        print(f"… {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return Books(site.path(name), model, members, members * len(model.rows["entries"]))


class World:
    """The service's address, and a client for anybody."""

    def __init__(self, books: Books, url: str, token: str, session: aiohttp.ClientSession) -> None:
        self.books = books
        self.url = url
        self.service_token = token
        self.session = session

    @staticmethod
    def headers(who: int | str) -> dict[str, str]:
        """Return the headers of a member by number, of ``admin``, or of the hub side's token."""
        token = f"member-{who}" if isinstance(who, int) else who
        return {"Authorization": f"token {token}"}


def _hub(books: Books) -> web.Application:
    """Return a hub that knows whose token it is by its text."""

    async def whoami(request: web.Request) -> web.Response:
        kind, _space, token = request.headers.get("Authorization", "").partition(" ")
        model: dict[str, Any] = {"kind": "user", "groups": [], "admin": False}
        if kind == "token" and token.startswith("member-"):
            model |= books.member(int(token.removeprefix("member-")))
            model["scopes"] = [f"custom:jhub-tokens:read!user={model['name']}"]
        elif token == "admin":
            model |= books.member(0)
            model |= {"admin": True, "scopes": ["admin:users", "custom:jhub-tokens:read"]}
        else:
            raise web.HTTPForbidden
        return web.json_response(model)

    app = web.Application()
    app.router.add_get("/hub/api/user", whoami)
    return app


@asynccontextmanager
async def running_world(books: Books) -> AsyncIterator[World]:
    """Run the service as a process of its own, and the hub in this one."""
    runner = web.AppRunner(_hub(books), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = free_port()
    token = secrets.token_hex(16)
    catalogue = books.path.with_suffix(".yaml")
    catalogue.write_text(CATALOGUE, encoding="utf-8")
    env = {
        **os.environ,
        "JUPYTERHUB_API_TOKEN": token,
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{runner.addresses[0][1]}/hub/api",
        "JUPYTERHUB_SERVICE_NAME": "tokens",
        "JUPYTERHUB_SERVICE_PREFIX": _PREFIX,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}",
        "JHUB_TOKENS_CATALOGUE": str(catalogue),
        "JHUB_TOKENS_DATABASE": f"sqlite:///{books.path}",
        "JHUB_TOKENS_LOG_LEVEL": "warning",
    }
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jhub_tokens", "serve", env=env
    )
    url = f"http://127.0.0.1:{port}{_PREFIX}"
    connector = aiohttp.TCPConnector(limit=0)
    # The bytes are counted as they travel.
    session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
    try:
        await _ready(session, url, service)
        yield World(books, url, token, session)
    finally:
        await session.close()
        if service.returncode is None:
            service.terminate()
        await service.wait()
        await runner.cleanup()


async def _ready(
    session: aiohttp.ClientSession, url: str, service: asyncio.subprocess.Process
) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        if service.returncode is not None:
            raise BenchmarkError(f"the token service ended with {service.returncode}")
        try:
            async with session.get(f"{url}healthz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.2)
    raise BenchmarkError(f"the token service is not ready within {_READY_S} s")
