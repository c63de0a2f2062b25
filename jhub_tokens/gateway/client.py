"""The gateway's client of the token service."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from jhub_tokens.wire import (
    ErrorBody,
    GatewaySignIn,
    GatewaySignInRequest,
    GatewayWay,
    GatewayWayRequest,
)

__all__ = ["Away", "Client", "Refused"]

Body = TypeVar("Body", bound=BaseModel)
Answer = TypeVar("Answer", bound=BaseModel)

_TIMEOUT_S = 10.0


class Refused(Exception):
    """The service refuses; the message is for the member."""


class Away(Exception):
    """The service cannot be reached, or does not take this gateway for its own.

    The message is for the operator's log.
    """


class Client:
    """Asks the token service.

    Parameters
    ----------
    service_url
        Its address and prefix, with a slash at the end.
    token
        What the two share.
    """

    def __init__(self, service_url: str, token: str) -> None:
        self._api_url = f"{service_url}api/v1/gateway/"
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def sign_in(self, key: str) -> str:
        """Return the fingerprint of a key that opens some server; raises `Refused` or `Away`."""
        body = _checked(GatewaySignInRequest, key=key)
        return (await self._ask("sign-ins", body, GatewaySignIn)).fingerprint

    async def way(self, key: str, host: str) -> GatewayWay:
        """Return where the server is that is called `host`; raises `Refused` or `Away`."""
        return await self._ask("ways", _checked(GatewayWayRequest, key=key, host=host), GatewayWay)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _ask(self, path: str, body: BaseModel, model: type[Answer]) -> Answer:
        url = self._api_url + path
        try:
            async with self._session.post(
                url, data=body.model_dump_json(), allow_redirects=False
            ) as response:
                status, content = response.status, await response.read()
        except TimeoutError:
            raise Away(f"no answer from {url} within {_TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Away(f"cannot reach {url}: {error}") from error
        try:
            if status == HTTPStatus.OK:
                return model.model_validate_json(content)
            problem = ErrorBody.model_validate_json(content)
        except ValidationError:
            raise Away(f"{url} answered {status}: {content[:200]!r}") from None
        # A route that is missing is an older service's.
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT) and problem.code != "not_found":
            raise Refused(f"{problem.message} {problem.remedy}".strip())
        raise Away(f"{url} answered {status} {problem.code}: {problem.message}")


def _checked(model: type[Body], **fields: str) -> Body:
    """Return a body; a client may have sent what is neither a key nor a name; raises `Refused`."""
    try:
        return model(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(f"The {first['loc'][0]} is not valid: {first['msg']}.") from None
