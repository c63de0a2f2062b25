"""JSON handlers: bodies read after the caller is known, models in, models out."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from pydantic import BaseModel
from tornado.http1connection import HTTP1Connection
from tornado.web import stream_request_body

from jhub_tokens.i18n import _
from jhub_tokens.service.auth import Caller, is_gateway_token, is_service_token
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import BaseHandler
from jhub_tokens.service.settings import Settings

__all__ = ["CHALLENGE", "ApiHandler", "GatewayHandler", "HubSideHandler", "PeopleHandler"]

M = TypeVar("M", bound=BaseModel)

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="jhub-tokens"'}
_MEGABYTE = 1 << 20
#: Parsing this much takes longer than the loop should be away.
_PARSE_IN_THREAD = 64 * 1024


@stream_request_body
class ApiHandler(BaseHandler):
    """Reads and writes JSON. Streaming the body lets `prepare` refuse before it is sent."""

    body_bytes_max = _MEGABYTE

    def set_default_headers(self) -> None:
        """Set the headers that every answer of the API has."""
        super().set_default_headers()
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

    async def prepare(self) -> None:
        """Refuse what cannot be answered before its body is read, then see who calls."""
        self._body = bytearray()
        self._refuse_method()
        await self.authorise()
        length = self.request.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > self.body_bytes_max:
            raise self._too_large()
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)
        # One more than allowed, so that a chunked body is told apart from a broken connection.
        connection.set_max_body_size(self.body_bytes_max + _MEGABYTE)

    async def authorise(self) -> None:
        """Identify the caller, or refuse.

        Raises
        ------
        Problem
            If the call is not allowed.
        """
        raise NotImplementedError

    def data_received(self, chunk: bytes) -> None:
        """Collect the body."""
        if len(self._body) <= self.body_bytes_max:
            self._body += chunk

    async def read_body(self, model: type[M]) -> M:
        """Return the body as a checked model.

        Raises
        ------
        Problem
            If it is too large or not sent as JSON.
        pydantic.ValidationError
            If it does not fit the model.
        """
        if len(self._body) > self.body_bytes_max:
            raise self._too_large()
        content_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip()
        if content_type.lower() != "application/json":
            raise Problem(
                415,
                "not_json",
                _("The body must be sent as application/json."),
                remedy=_("Set the header Content-Type: application/json."),
            )
        body = bytes(self._body)
        # Strict: JSON has types, so "1" or true for a number is a mistake of the caller.
        if len(body) > _PARSE_IN_THREAD:
            return await self.service.workers.read(model.model_validate_json, body, strict=True)
        return model.model_validate_json(body, strict=True)

    def write_model(self, model: BaseModel, status: int = 200) -> None:
        """Answer with a model."""
        self.set_status(status)
        self.finish(model.model_dump_json())

    def write_problem(self, problem: Problem) -> None:
        """Answer with an error body."""
        self.finish(problem.body.model_dump_json())

    def _refuse_method(self) -> None:
        method = (self.request.method or "").lower()
        known = [
            name.upper()
            for name in ("get", "post")
            if hasattr(getattr(type(self), name), "operation")
        ]
        if method.upper() not in known:
            methods = "".join(known[:1])
            if known[1:]:
                methods = _("%(one)s and %(other)s", one=known[0], other=known[1])
            raise Problem(
                405,
                "method_not_allowed",
                _("This route answers %(methods)s only.", methods=methods),
                headers={"Allow": ", ".join(known)},
            )

    def _too_large(self) -> Problem:
        limit = self.body_bytes_max // _MEGABYTE
        message = _("The body is larger than %(limit)s MB.", limit=limit)
        return Problem(413, "too_large", message)


class _StaticTokenHandler(ApiHandler):
    """Answers one program only: its static token is compared here."""

    whose: ClassVar[str]

    @staticmethod
    def is_its_token(presented: str, settings: Settings) -> bool:
        """Tell whether a token is the program's."""
        raise NotImplementedError

    async def authorise(self) -> None:
        """See that the static token is presented."""
        token = self.hub_auth.get_token(self, in_cookie=False)
        if not token:
            raise Problem(
                401,
                "not_signed_in",
                f"This route needs the {self.whose}'s token.",
                headers=CHALLENGE,
            )
        if not self.is_its_token(token, self.service.settings):
            raise Problem(403, "forbidden", f"This is not the {self.whose}'s token.")


class HubSideHandler(_StaticTokenHandler):
    """Answers the hub side only."""

    whose = "hub side"
    is_its_token = staticmethod(is_service_token)


class GatewayHandler(_StaticTokenHandler):
    """Answers the SSH gateway only."""

    whose = "SSH gateway"
    is_its_token = staticmethod(is_gateway_token)


class PeopleHandler(ApiHandler):
    """Answers people and programs that the hub knows."""

    async def authorise(self) -> None:
        """Ask the hub who calls."""
        self.caller = await self.identify()
        if self.caller is None:
            raise Problem(
                401,
                "not_signed_in",
                _("Sign in first."),
                remedy=_("Send a hub API token in the header Authorization: token …"),
                headers=CHALLENGE,
            )

    @property
    def person(self) -> Caller:
        """The caller, known since `prepare`."""
        assert self.caller is not None, "prepare() lets nobody else through"
        return self.caller
