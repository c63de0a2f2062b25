"""What tabs speak to: a silent websocket for the state and for saving, and one route for acts.

The websocket is pushed to and never polled, and it sends no pings: an idle server must look idle
to a proxy that counts traffic as activity, even with a forgotten tab open. Whatever changes
something comes by POST, which Jupyter guards against forged requests.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from jhub_tokens_lab.client import Away, Refused
from jhub_tokens_lab.watcher import Watcher
from jhub_tokens_lab.words import language_of

__all__ = ["ActHandler", "FeedHandler"]

DOCUMENTS_MAX = 500


class FeedHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One tab: told the state, asked to save."""

    def initialize(self, watcher: Watcher) -> None:
        """Take over what the route table passes on."""
        self.watcher = watcher
        self.documents: list[str] = []
        self._round = 0
        self._answer: asyncio.Future[dict[str, Any]] | None = None

    @property
    def ping_interval(self) -> int:
        """No pings: see the module."""
        return 0

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open the websocket for whoever may use this server."""
        user = self.current_user
        if user is None or not self.authorizer.is_authorized(self, user, "read", "contents"):
            raise web.HTTPError(403)
        await super().get(*args, **kwargs)

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Tell the state at once."""
        super().open(*args, **kwargs)
        self.watcher.tabs.append(self)
        self.push(self.watcher.state())

    def on_close(self) -> None:
        """Forget the tab."""
        if self in self.watcher.tabs:
            self.watcher.tabs.remove(self)
        if self._answer is not None and not self._answer.done():
            # Not cancelled: whoever waits would take that for their own end.
            self._answer.set_exception(ConnectionError("the tab was closed"))

    def push(self, state: dict[str, Any]) -> None:
        """Send the state, without waiting."""
        self._send({"type": "state", "state": state})

    async def save(self, reason: str) -> dict[str, Any]:
        """Have this tab save; return what it says of it."""
        self._round += 1
        self._answer = asyncio.get_running_loop().create_future()
        self._send({"type": "save", "round": self._round, "reason": reason})
        return await self._answer

    def on_message(self, message: str | bytes) -> None:
        """Take what the tab says; anything that makes no sense is ignored."""
        try:
            said = json.loads(message)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        if isinstance(said.get("language"), str):
            self.watcher.language = language_of(said["language"])
        if said.get("type") == "used":
            self.watcher.page_used()
        if "documents" in said:
            self.documents = _paths(said["documents"])
        waited_for = self._answer is not None and not self._answer.done()
        if said.get("type") == "saved" and said.get("round") == self._round and waited_for:
            assert self._answer is not None
            self._answer.set_result(
                {key: _paths(said.get(key)) for key in ("documents", "copies", "failed")}
            )

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.write_message(json.dumps(message))
        except WebSocketClosedError:
            self.on_close()


class ActHandler(APIHandler):
    """What members ask for: keep running, stop, stop when done."""

    def initialize(self, watcher: Watcher) -> None:
        """Take over what the route table passes on."""
        super().initialize()
        self.watcher = watcher

    @web.authenticated
    async def post(self) -> None:
        """Do it; a refusal comes with a message for people."""
        user = self.current_user
        if not self.authorizer.is_authorized(self, user, "write", "contents"):
            raise web.HTTPError(403)
        asked = self.get_json_body() or {}
        try:
            await self._do(asked)
        except Refused as error:
            self._fail(error.status if error.status in (409, 422) else 403, str(error))
        except Away:
            self._fail(503, "The token service is away. Try again shortly.")
        else:
            self.finish(json.dumps(self.watcher.state()))

    async def _do(self, asked: dict[str, Any]) -> None:
        act = asked.get("act")
        if act == "keep":
            for_ms = asked.get("for_ms")
            if for_ms is not None and (not isinstance(for_ms, int) or for_ms < 60_000):
                raise Refused(422, "bad_time", "for_ms must be milliseconds, a minute or more.")
            await self.watcher.keep_running(for_ms)
        elif act == "stop":
            await self.watcher.stop()
        elif act == "when_done":
            self.watcher.stop_when_done(bool(asked.get("on")))
        else:
            raise Refused(422, "bad_act", "act must be keep, stop or when_done.")

    def _fail(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish(json.dumps({"message": message}))


def _paths(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    return [path for path in value if isinstance(path, str)][:DOCUMENTS_MAX]
