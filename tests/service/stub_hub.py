"""A small hub: its API and OAuth as far as a service sees them, with users as a test wants them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

__all__ = ["StubHub", "User"]


@dataclass
class User:
    """A hub user or service."""

    name: str
    hub_user_id: int
    created: str
    admin: bool = False
    groups: list[str] = field(default_factory=list)
    kind: str = "user"


class StubHub:
    """Answers `/hub/api/user`, `/hub/api/users/:name` and the OAuth routes.

    `down` makes it answer 500; `asked` counts how often it was asked who somebody is.
    """

    def __init__(self, service_token: str, service_prefix: str) -> None:
        self.users: dict[str, User] = {}
        self.tokens: dict[str, tuple[User, list[str]]] = {}
        self.codes: dict[str, User] = {}
        self.down = False
        self.asked = 0
        self.signed_in: User | None = None  # who the next OAuth round trip signs in
        self.service_token = service_token
        self.service_prefix = service_prefix
        self.runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/hub/api/user", self.whoami)
        app.router.add_get("/hub/api/users/{name}", self.user)
        app.router.add_get("/hub/api/oauth2/authorize", self.authorize)
        app.router.add_post("/hub/api/oauth2/token", self.token)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_user(self, name: str, *, admin: bool = False, groups: list[str] | None = None) -> User:
        number = len(self.users) + 1
        created = f"2026-01-{number:02d}T08:00:00.{number:06d}Z"
        user = User(name, number, created, admin, groups or [])
        self.users[name] = user
        return user

    def add_token(self, user: User, *scopes: str) -> str:
        token = secrets.token_hex(16)
        self.tokens[token] = (user, list(scopes))
        return token

    def model(self, user: User, scopes: list[str], *, full: bool) -> dict[str, Any]:
        model: dict[str, Any] = {"kind": user.kind, "name": user.name, "admin": user.admin}
        if user.kind == "user":
            model["groups"] = user.groups
        if full:
            model["created"] = user.created
        return {**model, "scopes": sorted(scopes), "session_id": None, "token_id": "a1"}

    async def whoami(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.down:
            return web.Response(status=500, text="out of order")
        token = request.headers.get("Authorization", "").removeprefix("token ")
        if token not in self.tokens:
            return web.json_response({"message": "Forbidden"}, status=403)
        user, scopes = self.tokens[token]
        full = any(scope.startswith(("read:users!user=", "admin:users")) for scope in scopes)
        return web.json_response(self.model(user, scopes, full=full))

    async def user(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"token {self.service_token}":
            return web.json_response({}, status=403)
        user = self.users.get(request.match_info["name"])
        if user is None:
            return web.json_response({"message": "no such user"}, status=404)
        return web.json_response(self.model(user, [], full=True))

    async def authorize(self, request: web.Request) -> web.Response:
        assert self.signed_in is not None, "nobody is signed in to the hub"
        code = secrets.token_hex(8)
        self.codes[code] = self.signed_in
        query = urlencode({"code": code, "state": request.query["state"]})
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{query}")

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["client_secret"] == self.service_token
        user = self.codes.pop(str(form["code"]))
        scopes = ["access:services!service=tokens", f"read:users!user={user.name}"]
        token = self.add_token(user, *scopes)
        return web.json_response({"access_token": token, "token_type": "Bearer"})
