"""Routes for machines that watch: health, metrics and the API's description."""

from __future__ import annotations

import contextlib
import ipaddress
import json

from prometheus_client import CONTENT_TYPE_LATEST

from jhub_tokens import __version__
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.handlers.api import CHALLENGE
from jhub_tokens.service.handlers.base import BaseHandler
from jhub_tokens.service.models import Health

__all__ = ["HealthHandler", "LiveHandler", "MetricsHandler", "OpenApiHandler", "ReadyHandler"]


#: What proxies add. The server takes the caller's address from some of them, so they come first.
_PROXY_HEADERS = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-Ip",
    "X-Scheme",
)


class _Plain(BaseHandler):
    """Answers errors as JSON, since machines read them."""

    def write_problem(self, problem: Problem) -> None:
        """Answer with an error body."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(problem.body.model_dump_json())

    def _tell(self, health: Health) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(health.model_dump_json())


class HealthHandler(_Plain):
    """Whether the service can do its work."""

    async def get(self) -> None:
        """Answer 200 if the books are open (perhaps with an old catalogue), else 503.

        Anybody learns that much; the reason names hosts, users and paths, so it is told on
        this machine, and to those who may read the metrics.
        """
        books = self.service.books
        problem, catalogue_problem = books.problem, books.source.problem
        if problem is not None:
            health = Health(
                status="unavailable",
                message=problem.message,
                remedy=problem.remedy,
                version=__version__,
            )
            self.set_status(503)
            self.set_header("Retry-After", "3")
        else:
            health = Health(
                status="degraded" if catalogue_problem else "ok",
                catalogue_problem=catalogue_problem,
                version=__version__,
            )
        # A healthy service asks nobody who calls.
        if health.status != "ok" and not await self._is_for_operators():
            health = Health(status=health.status, version=__version__)
        self._tell(health)

    async def _is_for_operators(self) -> bool:
        if self.presents_service_token() or self._is_on_this_machine():
            return True
        with contextlib.suppress(Problem):  # whoever it is, they learn the status
            self.caller = await self.identify()
        return self.may_read_reasons()

    def _is_on_this_machine(self) -> bool:
        if any(name in self.request.headers for name in _PROXY_HEADERS):
            return False
        try:
            return ipaddress.ip_address(self.request.remote_ip or "").is_loopback
        except ValueError:
            return False


class LiveHandler(_Plain):
    """Whether the process works at all: one that does not should be started anew."""

    def get(self) -> None:
        """Answer 200, whatever the books are like: a new process would find them the same."""
        self._tell(Health(status="ok", version=__version__))


class ReadyHandler(_Plain):
    """Whether this replica should be given requests."""

    async def get(self) -> None:
        """Answer 200 if the books are open and their database answers, else 503.

        So does a replica that will stop soon, though it answers everything still.
        """
        ready = not self.service.draining.is_set() and await self.service.books.answer()
        if not ready:
            self.set_status(503)
            self.set_header("Retry-After", "3")
        self._tell(Health(status="ok" if ready else "unavailable", version=__version__))


class MetricsHandler(_Plain):
    """Prometheus's route; closed to strangers unless the operator opens it, as the hub's is."""

    async def get(self) -> None:
        """Answer all metrics; the books' totals only while the books are open."""
        await self._authorise()
        service = self.service
        service.metrics.up.set(service.books.is_open)
        service.metrics.backlog.set(service.workers.backlog)
        if service.books.is_open:
            try:
                totals = await service.workers.read(service.books.ledger.totals)
                service.metrics.set_totals(totals)
            except Exception as error:
                problem_from(error)  # logged; the service's own metrics are of use even so
                service.metrics.up.set(0)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(service.metrics.exposition())

    async def _authorise(self) -> None:
        if self.service.settings.open_metrics:
            return
        if self.presents_service_token():
            return
        self.caller = await self.identify()
        if self.caller is None:
            raise Problem(
                401,
                "not_signed_in",
                "The metrics need a hub API token with the scope read:metrics.",
                remedy="Or set JHUB_TOKENS_OPEN_METRICS=1 for the service.",
                headers=CHALLENGE,
            )
        if not self.caller.may_read_metrics:
            raise Problem(403, "forbidden", "The metrics need the scope read:metrics.")


class OpenApiHandler(_Plain):
    """The API's description."""

    async def get(self) -> None:
        """Answer the OpenAPI document."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "public, max-age=300")
        self.finish(json.dumps(self.application.settings["openapi_document"]))
