"""The hub's client of the token service: typed bodies out, typed answers or typed errors back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus
from itertools import islice
from typing import TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from jhub_tokens import i18n, wire

__all__ = ["Refused", "ServiceUnavailable", "TokenServiceClient"]

Body = TypeVar("Body", bound=BaseModel)

#: A member never waits longer than this for the token service.
MEMBER_TIMEOUT_S = 2.0
#: Nobody waits for a snapshot, but a hung connection must not hold up the next one.
SNAPSHOT_TIMEOUT_S = 15.0
#: Added to a long poll's own wait before it counts as hung.
LONG_POLL_MARGIN_S = 5.0
#: They travel in the URL, which has its limits; one more only means an answer at once.
KNOWN_ORDERS_MAX = 500


class Refused(Exception):
    """The token service refuses a start; `refusal` says why and what to do instead."""

    def __init__(self, refusal: wire.Refusal, status: int) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.status = status


class ServiceUnavailable(Exception):
    """The token service cannot be reached, does not answer in time or answers nonsense.

    `reason` is for the operator's log, never for a member. `answered` tells that somebody lives
    there who understood the question well enough to turn it down.
    """

    def __init__(self, reason: str, *, answered: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answered = answered


class TokenServiceClient:
    """Calls ``hub/…`` of the token service's API with the service token.

    Parameters
    ----------
    api_url
        Returns the API's root, for instance ``http://127.0.0.1:9000/services/tokens/api/v1``;
        called for each request, since the hub's base URL is only known once it is configured.
    token
        The static service token that both sides hold.
    """

    def __init__(self, api_url: Callable[[], str], token: str) -> None:
        self._api_url = api_url
        self._headers = {"Authorization": f"token {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def overview(self, request: wire.OverviewRequest) -> wire.Standing:
        """Return a member's standing; raises `ServiceUnavailable`."""
        return await self._post("hub/overview", request, wire.Standing)

    async def offers(self, request: wire.OffersRequest) -> wire.Offers:
        """Return what a member may start now; raises `ServiceUnavailable`."""
        return await self._post("hub/offers", request, wire.Offers)

    async def admit(self, request: wire.AdmitRequest) -> wire.Admission:
        """Ask to start a server; raises `Refused` or `ServiceUnavailable`."""
        return await self._post("hub/admissions", request, wire.Admission)

    async def snapshot(self, snapshot: wire.Snapshot) -> wire.SnapshotReceipt:
        """Hand in a snapshot; raises `ServiceUnavailable`."""
        return await self._post(
            "hub/snapshots", snapshot, wire.SnapshotReceipt, timeout_s=SNAPSHOT_TIMEOUT_S
        )

    async def stops(self, *, known: Collection[str], wait_ms: int) -> wire.StopOrders:
        """Return the standing stop orders once one is not `known`, or after `wait_ms`.

        Raises `ServiceUnavailable`.
        """
        return await self._request(
            "GET",
            "hub/stops",
            wire.StopOrders,
            params=[
                ("wait_ms", str(wait_ms)),
                *(("known", order_id) for order_id in islice(known, KNOWN_ORDERS_MAX)),
            ],
            timeout_s=wait_ms / 1000 + LONG_POLL_MARGIN_S,
        )

    async def catalogue(self) -> wire.HubCatalogue:
        """Return what to keep for when the service is away; raises `ServiceUnavailable`."""
        return await self._request(
            "GET", "hub/catalogue", wire.HubCatalogue, timeout_s=SNAPSHOT_TIMEOUT_S
        )

    async def authorized_keys(self, request: wire.AuthorizedKeysRequest) -> wire.AuthorizedKeys:
        """Return which SSH keys open a member's servers now; raises `ServiceUnavailable`."""
        return await self._post("hub/ssh-keys", request, wire.AuthorizedKeys)

    async def break_glass(self, report: wire.BreakGlassReport) -> wire.BreakGlassReceipt:
        """Tell what was let through meanwhile; raises `ServiceUnavailable`."""
        return await self._post(
            "hub/break-glass", report, wire.BreakGlassReceipt, timeout_s=SNAPSHOT_TIMEOUT_S
        )

    async def figures(self) -> wire.HubFigures:
        """Return the key figures for administrators; raises `ServiceUnavailable`."""
        return await self._request(
            "POST", "hub/figures", wire.HubFigures, data=b"{}", timeout_s=MEMBER_TIMEOUT_S
        )

    async def close(self) -> None:
        """Close the connections; the client can be used again afterwards."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(
        self, path: str, body: BaseModel, answer: type[Body], timeout_s: float = MEMBER_TIMEOUT_S
    ) -> Body:
        return await self._request(
            "POST", path, answer, data=body.model_dump_json().encode(), timeout_s=timeout_s
        )

    async def _request(
        self,
        method: str,
        path: str,
        answer: type[Body],
        *,
        timeout_s: float,
        data: bytes | None = None,
        params: list[tuple[str, str]] | None = None,
    ) -> Body:
        url = f"{self._api_url()}/{path}"
        try:
            async with self._open_session().request(
                method,
                url,
                data=data,
                params=params,
                headers={
                    **self._headers,
                    "Content-Type": "application/json",
                    "Accept-Language": i18n.language(),
                },
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as response:
                content = await response.read()
                status = response.status
        except TimeoutError as error:
            raise ServiceUnavailable(f"no answer from {url} within {timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ServiceUnavailable(f"cannot reach {url}: {error}") from error
        if status in (HTTPStatus.OK, HTTPStatus.CREATED):
            try:
                return answer.model_validate_json(content)
            except ValidationError as error:
                raise ServiceUnavailable(
                    f"{url} answered what this version does not understand; do hub and token "
                    f"service run the same version of jhub-tokens? {error}",
                    answered=True,
                ) from error
        raise self._error(url, status, content)

    @staticmethod
    def _error(url: str, status: int, content: bytes) -> Refused | ServiceUnavailable:
        try:
            body = wire.ErrorBody.model_validate_json(content)
        except ValidationError:
            # Whatever is in between may answer 4xx for a service that is gone.
            return ServiceUnavailable(f"{url} answered {status}: {content[:200]!r}")
        if body.refusal is not None:
            return Refused(body.refusal, status)
        return ServiceUnavailable(
            f"{url} answered {status} {body.code}: {body.message}",
            answered=status < HTTPStatus.INTERNAL_SERVER_ERROR,
        )

    def _open_session(self) -> aiohttp.ClientSession:
        # Made on first use: a session belongs to the running loop, which may not exist yet when
        # the hub's configuration is read.
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=100, limit_per_host=100),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session
