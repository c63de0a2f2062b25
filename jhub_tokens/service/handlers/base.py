"""What every handler shares: who calls, security headers, errors, and the log line."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jinja2
import structlog
from jupyterhub.services.auth import HubOAuth, HubOAuthenticated
from tornado.web import HTTPError, RequestHandler

from jhub_tokens import i18n
from jhub_tokens.clock import Clock
from jhub_tokens.i18n import _
from jhub_tokens.ledger import Ledger
from jhub_tokens.payments import PaymentProvider
from jhub_tokens.service.auth import Caller, is_service_token
from jhub_tokens.service.books import Books
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.executors import Workers
from jhub_tokens.service.live import LiveStreams
from jhub_tokens.service.metrics import Metrics
from jhub_tokens.service.outbox import OutboxWorker
from jhub_tokens.service.settings import Settings
from jhub_tokens.service.stops import StopBoard
from jhub_tokens.service.warden import Warden

if TYPE_CHECKING:
    from jhub_tokens.service.cluster.observer import ClusterObserver
    from jhub_tokens.service.mail import Mailer

__all__ = ["BaseHandler", "Service"]

log = structlog.get_logger("jhub_tokens.service.requests")


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that handlers need, put together once by `jhub_tokens.service.app`."""

    settings: Settings
    clock: Clock
    workers: Workers
    books: Books
    warden: Warden
    stops: StopBoard
    metrics: Metrics
    hub_auth: HubOAuth
    server_auth: HubOAuth  # for servers' own tokens, of which there are many
    templates: jinja2.Environment
    outbox: OutboxWorker
    live: LiveStreams
    mailer: Mailer | None
    payments: PaymentProvider | None = None
    cluster: ClusterObserver | None = None
    #: Set once this replica will stop soon.
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    def written(self, *, may_stop: bool = False) -> None:
        """Say that a write is done: deadlines, notices, perhaps stop orders, may be new."""
        self.warden.wake()
        self.outbox.wake()
        self.live.poke()
        if may_stop:
            self.stops.poke()


class BaseHandler(HubOAuthenticated, RequestHandler):  # type: ignore[misc]  # untyped base
    """Knows the service, the caller and how to fail."""

    service: Service
    caller: Caller | None
    route: str

    def initialize(self, service: Service, route: str) -> None:
        """Take over what the route table passes on."""
        self.service = service
        self.hub_auth = service.hub_auth
        self.route = route
        self.caller = None
        self._begun = time.perf_counter()
        # Until it is known who calls and what they have chosen.
        i18n.speak(
            i18n.wished(
                self.get_cookie(i18n.COOKIE), self.request.headers.get("Accept-Language", "")
            )
        )

    @property
    def ledger(self) -> Ledger:
        """The books, for use in worker threads only."""
        return self.service.books.ledger

    def set_default_headers(self) -> None:
        """Set the headers that every answer has."""
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    def get_current_user(self) -> Caller | None:
        """Return the caller found by `identify`; jupyterhub's own version would block."""
        return getattr(self, "caller", None)

    async def identify(self, *, fresh: bool = False) -> Caller | None:
        """Find out who calls, None for nobody; `fresh` asks the hub even if it knows.

        Raises
        ------
        Problem
            For a token that is not valid, for a cookie without its XSRF token where one is
            needed, or if the hub cannot be asked.
        """
        auth = self.hub_auth
        header_token = auth.get_token(self, in_cookie=False)
        if header_token and is_service_token(header_token, self.service.settings):
            raise Problem(
                403,
                "forbidden",
                _("This is the hub side's own token; it opens the hub side's routes only."),
                remedy=_("Use a hub API token with the scopes for what you want to do."),
            )
        token = header_token or auth.get_token(self, in_cookie=True)
        if not token:
            return None
        if not header_token:
            # Before the hub is asked: a forged form must not even cost a look-up.
            self._check_form()
        try:
            model = await auth.user_for_token(
                token,
                use_cache=not fresh,
                session_id=auth.get_session_id(self),
                sync=False,
            )
        except HTTPError as error:
            raise problem_from(error) from error
        if model is None:
            if header_token:
                message = _("The hub does not know this token, or it has expired.")
                raise Problem(403, "forbidden", message)
            auth.clear_cookie(self)
            return None
        if header_token:
            self._token_authenticated = True  # jupyterhub's own XSRF check looks at it
            return Caller.from_model(model, "token")
        if not auth.check_scopes(auth.access_scopes, model):
            message = _("%(name)s may not use this service.", name=model["name"])
            raise Problem(403, "forbidden", message)
        return Caller.from_model(model, "cookie")

    def presents_service_token(self) -> bool:
        """Tell whether the call comes with the token shared with the hub side."""
        token = self.hub_auth.get_token(self, in_cookie=False)
        return bool(token) and is_service_token(token, self.service.settings)

    def may_read_reasons(self) -> bool:
        """Tell whether the caller may read why the books are closed: those who run them may."""
        if self.caller is not None:
            return self.caller.may_read_metrics
        return self.presents_service_token()

    async def recheck(self) -> Caller:
        """Ask the hub again who calls, past its cache: before money moves.

        Raises
        ------
        Problem
            If the caller has been signed out meanwhile.
        """
        try:
            caller = await self.identify(fresh=True)
        except Problem as problem:
            if problem.status == 403:
                self.hub_auth.cache.clear()  # a token that was revoked meanwhile
            raise
        if caller is None or self.caller is None or caller.name != self.caller.name:
            self.hub_auth.cache.clear()
            message = _("You have been signed out meanwhile. Sign in again.")
            raise Problem(403, "forbidden", message)
        if caller.scopes != self.caller.scopes or caller.admin != self.caller.admin:
            self.hub_auth.cache.clear()
        self.caller = caller
        return caller

    def on_finish(self) -> None:
        """Count and log the request, without its query: that may hold names."""
        seconds = time.perf_counter() - self._begun
        status, method = self.get_status(), self.request.method or ""
        self.service.metrics.requests.labels(method, self.route, str(status)).observe(seconds)
        quiet = status < 400 and method in ("GET", "HEAD")
        # Snapshots and polls come all day long.
        quiet = quiet or (status < 400 and "/hub/" in self.route)
        (log.debug if quiet else log.info)(
            "request",
            method=method,
            path=self.request.path,
            status=status,
            ms=round(seconds * 1000, 1),
            caller=self.caller.label if self.caller else "",
        )

    def log_exception(self, *_args: Any) -> None:
        """Leave logging to `problem_from`: what is foreseen needs no traceback."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Turn whatever was raised into an answer."""
        info = kwargs.get("exc_info")
        error = info[1] if info and info[1] else HTTPError(status_code)
        problem = problem_from(error)
        if not self.may_read_reasons():
            problem = problem.for_anybody()
        self.set_status(problem.status)
        for name, value in problem.headers.items():
            self.set_header(name, value)
        self.write_problem(problem)

    def write_problem(self, problem: Problem) -> None:
        """Write the problem in the form that this kind of handler speaks."""
        raise NotImplementedError

    def _check_form(self) -> None:
        try:
            self.check_xsrf_cookie()
        except HTTPError:
            raise Problem(
                403,
                "xsrf",
                _("This form has expired, or did not come from this page."),
                remedy=_("Go back, reload the page and send it again."),
            ) from None
