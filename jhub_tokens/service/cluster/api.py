"""The API server, in plain JSON: lists page by page, watches line by line, few other calls.

The Kubernetes client does what it does well: finding the server, trusting it, and presenting
credentials that may be renewed meanwhile. Its object model is left aside: it would cost ten times
the time and memory of what it is made from, for every pod of the cluster.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, Configuration

from jhub_tokens.service.cluster.settings import ClusterSettings

__all__ = ["Api", "ApiProblem"]

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_PAGE = 500
_ANSWER_S = 30.0
_CONNECT_S = 10.0
_LINE_BYTES_MAX = 16 << 20
_SAID_MAX = 300


class ApiProblem(Exception):
    """The API server refuses, or cannot be reached.

    Parameters
    ----------
    status
        The HTTP status; 0: there was no answer.
    message
        What it said, in short.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.message = message

    @property
    def is_expired(self) -> bool:
        """Whether the version asked for is too old: list anew."""
        return self.status == 410

    @property
    def is_forbidden(self) -> bool:
        """Whether a permission is missing."""
        return self.status in (401, 403)


class Api:
    """A connection to one cluster.

    Parameters
    ----------
    client
        The Kubernetes client, configured.
    namespace
        The namespace that paths are meant for unless they name another.
    """

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    @classmethod
    async def connect(cls, settings: ClusterSettings) -> Api:
        """Read the configuration; nothing is asked of the server yet.

        Raises
        ------
        ApiProblem
            If there is no configuration, or it makes no sense.
        """
        configuration = Configuration()
        namespace = settings.namespace
        try:
            if settings.access == "in-cluster":
                config.load_incluster_config(client_configuration=configuration)
                namespace = namespace or _OWN_NAMESPACE.read_text().strip()
            else:
                loader = await config.load_kube_config(
                    config_file=settings.kubeconfig or None,
                    context=settings.context or None,
                    client_configuration=configuration,
                )
                context = loader.current_context["context"]
                namespace = namespace or context.get("namespace") or "default"
        except (config.ConfigException, OSError, KeyError, TypeError, ValueError) as error:
            raise ApiProblem(0, f"no usable configuration: {error}") from error
        return cls(ApiClient(configuration), namespace)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def pages(
        self, path: str, query: Mapping[str, str]
    ) -> AsyncGenerator[tuple[list[dict[str, Any]], str], None]:
        """Yield a list's items page by page, each with the list's version.

        Raises
        ------
        ApiProblem
            If the server refuses or does not answer; `is_expired` if the list took too long.
        """
        more = ""
        while True:
            asked = {**query, "limit": str(_PAGE), **({"continue": more} if more else {})}
            page = await self.call("GET", path, query=asked)
            meta = page.get("metadata") or {}
            yield page.get("items") or [], str(meta.get("resourceVersion") or "")
            more = meta.get("continue") or ""
            if not more:
                return

    async def events(
        self, path: str, query: Mapping[str, str], *, silence_s: float
    ) -> AsyncGenerator[dict[str, Any] | None, None]:
        """Yield a watch's events until the server ends it; first None, once it has begun.

        Raises
        ------
        ApiProblem
            If the server refuses, says an error, or falls silent for `silence_s`.
        """
        timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_S, sock_read=silence_s)
        try:
            answer = await self._request("GET", path, {**query, "watch": "true"}, None, timeout)
            async with answer:
                if answer.status >= 400:
                    raise _refused(answer.status, await answer.content.read(_LINE_BYTES_MAX))
                yield None
                async for line in _lines(answer.content):
                    event = json.loads(line)
                    if event.get("type") == "ERROR":
                        status = event.get("object") or {}
                        raise ApiProblem(
                            int(status.get("code") or 500), str(status.get("message") or "")
                        )
                    yield event
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _unreachable(error) from error

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make one call and return its answer.

        Raises
        ------
        ApiProblem
            If the server refuses or does not answer.
        """
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S, sock_connect=_CONNECT_S)
        try:
            answer = await self._request(method, path, query or {}, body, timeout)
            async with answer:
                said = await answer.read()
                if answer.status >= 400:
                    raise _refused(answer.status, said)
                found = json.loads(said)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _unreachable(error) from error
        if not isinstance(found, dict):
            raise ApiProblem(0, "the answer is no object")
        return found

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        answer: aiohttp.ClientResponse = await self._client.call_api(
            path,
            method,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=timeout,
        )
        return answer


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines, however long: an object may be larger than what a reader buffers."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(rest) > _LINE_BYTES_MAX:
            raise ValueError("an event is too large")
    if rest.strip():
        yield rest


def _refused(status: int, said: bytes) -> ApiProblem:
    """Return what the server says, which is a Status object if all is well."""
    try:
        message = str(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        message = said.decode("utf-8", "replace")
    return ApiProblem(status, message.strip()[:_SAID_MAX] or "no reason given")


def _unreachable(error: Exception) -> ApiProblem:
    return ApiProblem(0, f"{type(error).__name__}: {error}"[:_SAID_MAX])
