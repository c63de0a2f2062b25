"""A mail server and a webhook's receiver on this machine, which fail when told to."""

from __future__ import annotations

import asyncio
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult

__all__ = ["MailServer", "Receiver"]


class MailServer:
    """Takes mail by SMTP; `answers` and `refusals` are given first, in their order.

    `implicit` is for TLS from the first byte on, `options` are those of aiosmtpd's `SMTP`.
    """

    def __init__(self, implicit: ssl.SSLContext | None = None, **options: Any) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.answers: list[str] = []  # to the whole message
        self.refusals: list[str] = []  # to the recipient
        self.signed_in: list[tuple[bytes, bytes]] = []
        self.secure: list[bool] = []
        self.port = 0
        self._implicit = implicit
        self._options = options

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="test", authenticator=self._authenticate, **self._options),
            "127.0.0.1",
            0,
            ssl=self._implicit,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _authenticate(self, server: Any, session: Any, envelope: Any, how: str, data: Any) -> Any:
        self.signed_in.append((data.login, data.password))
        return AuthResult(success=data.password == b"secret", handled=False)

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.secure.append(server.transport.get_extra_info("sslcontext") is not None)
        self.recipients += envelope.rcpt_tos
        return "250 OK"


class Receiver:
    """Takes webhooks; `statuses` are answered first, in their order."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()

    async def stop(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    @property
    def url(self) -> str:
        assert self.runner is not None
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/hook"

    async def _take(self, request: web.Request) -> web.Response:
        self.calls.append((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if self.statuses else 204
        headers = {"Location": "/elsewhere"} if 300 <= status < 400 else None
        return web.Response(status=status, headers=headers)
