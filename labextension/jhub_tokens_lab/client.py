"""The token service, asked with the server's own API token, and the hub's activity route."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

__all__ = ["Away", "Client", "Refused"]

TIMEOUT_S = 10.0


class Away(Exception):
    """The service cannot be reached, or cannot answer now."""


class Refused(Exception):
    """The service answered no; the message is for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """Speaks for one server, which its token names.

    Parameters
    ----------
    environment
        What the hub has told this server.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._service = environment.get("JHUB_TOKENS_SERVICE_URL", "").rstrip("/")
        self._token = environment.get("JUPYTERHUB_API_TOKEN", "")
        self._activity = environment.get("JUPYTERHUB_ACTIVITY_URL", "")
        self._server = environment.get("JUPYTERHUB_SERVER_NAME", "")
        self._http = AsyncHTTPClient()

    @property
    def usable(self) -> bool:
        """Whether a hub with tokens has started this server."""
        return bool(self._service and self._token)

    async def report(self, busy: list[str], active_age_ms: int | None) -> dict[str, Any]:
        """Tell what keeps this server busy; return how it stands."""
        return await self._post("server", {"busy": busy, "active_age_ms": active_age_ms})

    async def keep_running(self, for_ms: int | None) -> dict[str, Any]:
        """Have this server kept running for so long from now; None: like any other."""
        return await self._post("server/keep-running", {"for_ms": for_ms})

    async def stop(self) -> dict[str, Any]:
        """Have this server stopped."""
        return await self._post("server/stop", {})

    async def tell_hub(self, age_ms: int) -> None:
        """Tell the hub that this server was active so long ago."""
        if not self._activity:
            return
        at = datetime.fromtimestamp(datetime.now().timestamp() - age_ms / 1000, timezone.utc)
        text = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body = {"servers": {self._server: {"last_activity": text}}, "last_activity": text}
        response = await self._fetch(self._activity, body)
        if response.code >= 400:
            raise Away(f"the hub answered {response.code}")

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = await self._fetch(f"{self._service}/api/v1/{path}", body)
        try:
            answer = json.loads(response.body or b"null")
        except ValueError:
            answer = None
        if response.code >= 500 or not isinstance(answer, dict):
            # A proxy whose service is gone answers with a page of its own.
            raise Away(f"the token service answered {response.code}")
        if response.code >= 400:
            raise Refused(
                response.code, str(answer.get("code", "")), str(answer.get("message", "refused"))
            )
        return answer

    async def _fetch(self, url: str, body: dict[str, Any]) -> HTTPResponse:
        request = HTTPRequest(
            url,
            method="POST",
            headers={
                "Authorization": f"token {self._token}",
                "Content-Type": "application/json",
            },
            body=json.dumps(body),
            connect_timeout=TIMEOUT_S,
            request_timeout=TIMEOUT_S,
            follow_redirects=False,  # the token goes nowhere else
        )
        try:
            return await self._http.fetch(request, raise_error=False)
        except Exception as error:  # refused, unknown host, TLS, timeout: all the same to a member
            raise Away(str(error)) from error
