"""The process: listens at once, opens the books as soon as it can, and leaves nothing behind."""

from __future__ import annotations

import argparse
import asyncio
import errno
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from jhub_tokens import __version__
from jhub_tokens.clock import Clock
from jhub_tokens.guarded_clock import GuardedClock
from jhub_tokens.service.app import make_application
from jhub_tokens.service.auth import hub_oauth
from jhub_tokens.service.books import Books
from jhub_tokens.service.channels import Channel
from jhub_tokens.service.executors import Workers
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.live import LiveStreams
from jhub_tokens.service.logs import configure_logs
from jhub_tokens.service.metrics import Metrics
from jhub_tokens.service.outbox import OutboxWorker
from jhub_tokens.service.pages import templates
from jhub_tokens.service.paying import provider_from
from jhub_tokens.service.process import exit_with_parent
from jhub_tokens.service.sealing import Sealer
from jhub_tokens.service.settings import Settings, SettingsError, add_arguments, settings_from
from jhub_tokens.service.stops import StopBoard
from jhub_tokens.service.warden import Warden
from jhub_tokens.service.webhook import Webhooks

if TYPE_CHECKING:
    from jhub_tokens.service.cluster.observer import ClusterObserver
    from jhub_tokens.service.mail import Mailer

__all__ = ["RunningService", "add_arguments", "main", "run", "start"]

log = structlog.get_logger(__name__)

_FORM_BYTES_MAX = 1 << 20
#: A predecessor that loses its hub needs about a second to notice and free the port.
_PORT_TRIES = 8
_PORT_RETRY_S = 0.5


class PortProblem(Exception):
    """The port cannot be listened on; the message says why and what to do."""


class RunningService:
    """A service that listens; `stop` ends it.

    Parameters
    ----------
    service
        Its parts.
    server
        Its HTTP server.
    port
        The port it listens on.
    tasks
        Its background tasks: warden, outbox, sealer, live streams, the one that keeps the books
        open, and the cluster's observer.
    """

    def __init__(
        self, service: Service, server: HTTPServer, port: int, tasks: list[asyncio.Task[None]]
    ) -> None:
        self.service = service
        self.server = server
        self.port = port
        self._tasks = tasks

    def drain(self) -> None:
        """Have requests sent elsewhere from now on; those that come are answered all the same.

        Connections are closed with their next answer: a proxy that keeps one open would find out
        that this replica is gone only by a request that fails.
        """
        self.service.draining.set()
        self.server.conn_params.no_keep_alive = True

    async def stop(self) -> None:
        """Take no more requests, let what is being written finish, close the books."""
        self.server.stop()
        self.service.stops.poke()
        self.service.live.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.service.workers.close)
        await asyncio.to_thread(self.service.books.close)
        await self.server.close_all_connections()


def _clock_was_set(metrics: Metrics, ahead_ms: int) -> None:
    """Say that the machine's clock is not believed, or is again. Called by any thread."""
    metrics.clock_ahead_seconds.set(ahead_ms / 1000)
    if ahead_ms:
        log.warning(
            "the machine's clock was set; time goes on as it really passes",
            ahead_s=ahead_ms / 1000,
            remedy="correct the clock, or restart this service if the clock is right now",
        )
    else:
        log.info("the machine's clock is right again")


async def start(settings: Settings, clock: Clock | None = None) -> RunningService:
    """Listen, and open the books in the background.

    Raises
    ------
    PortProblem
        If the port cannot be listened on.
    """
    # SQLite has one writer; PostgreSQL's row locks keep several apart.
    workers = Workers(writers=1 if settings.sqlite_path else 4, readers=settings.reader_threads)
    metrics = Metrics()
    clock = clock or GuardedClock(partial(_clock_was_set, metrics))
    books = Books(settings, clock, workers)
    stops = StopBoard()
    mailer = _mailer(settings)
    channels: list[Channel] = [] if mailer is None else [mailer]
    if settings.webhook is not None:
        channels.append(Webhooks(settings.webhook, clock))
    outbox = OutboxWorker(books, workers, clock, metrics, channels)
    live = LiveStreams(books, workers, metrics)

    def stops_ordered() -> None:
        stops.poke()
        live.poke()

    def notices_written() -> None:
        outbox.wake()
        live.poke()

    warden = Warden(books, workers, clock, stops_ordered, notices_written, metrics)
    sealer = Sealer(
        books,
        workers,
        clock,
        metrics,
        every_ms=settings.seal_every_ms,
        path=settings.seal_file,
        key=settings.seal_key,
    )
    cluster = _cluster(settings, books, workers, clock, metrics, [warden.wake, outbox.wake])
    books.on_change(warden.wake)
    books.on_change(outbox.wake)
    service = Service(
        settings=settings,
        clock=clock,
        workers=workers,
        books=books,
        warden=warden,
        stops=stops,
        metrics=metrics,
        hub_auth=hub_oauth(settings, clock),
        # Each running server asks once a minute: the hub must not hear of each time.
        server_auth=hub_oauth(settings, clock, cache_s=settings.server_token_cache_s),
        templates=templates(settings),
        outbox=outbox,
        live=live,
        mailer=mailer,
        payments=provider_from(settings),
        cluster=cluster,
    )
    server = HTTPServer(
        make_application(service), max_body_size=_FORM_BYTES_MAX, max_header_size=64 << 10,
        xheaders=True,
    )  # fmt: skip
    port = await _listen(server, settings)
    tasks = [
        asyncio.create_task(books.keep_open(), name="books"),
        asyncio.create_task(warden.run(), name="warden"),
        asyncio.create_task(outbox.run(), name="outbox"),
        asyncio.create_task(sealer.run(), name="sealer"),
        asyncio.create_task(live.run(), name="live"),
    ]
    if cluster is not None:
        tasks.append(asyncio.create_task(cluster.run(), name="cluster"))
    log.info(
        "listening",
        url=f"http://{settings.listen_host}:{port}{settings.base_url}",
        version=__version__,
    )
    return RunningService(service, server, port, tasks)


def _mailer(settings: Settings) -> Mailer | None:
    if settings.mail is None:
        return None
    # Only a service that sends mail carries the library.
    from jhub_tokens.service.mail import Mailer

    return Mailer(settings.mail, settings.public_url)


def _cluster(
    settings: Settings,
    books: Books,
    workers: Workers,
    clock: Clock,
    metrics: Metrics,
    wake: list[Callable[[], None]],
) -> ClusterObserver | None:
    """Return the observer, None if there is no cluster to look at.

    Raises
    ------
    SettingsError
        If the Kubernetes client is not installed.
    """
    if settings.cluster is None:
        return None
    # Only a service that looks at a cluster carries the client.
    try:
        from jhub_tokens.service.cluster.observer import ClusterObserver
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"JHUB_TOKENS_CLUSTER needs the extra kubernetes, which lacks here ({error.name}): "
            "pip install jhub-tokens[kubernetes]"
        ) from None

    def booked() -> None:
        for waken in wake:
            waken()

    return ClusterObserver(settings.cluster, books, workers, clock, metrics, booked)


async def _listen(server: HTTPServer, settings: Settings) -> int:
    host, port = settings.listen_host, settings.listen_port
    for tries_left in reversed(range(_PORT_TRIES)):
        try:
            sockets = bind_sockets(port, host)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and tries_left:
                log.info("port is in use, trying again", port=port, tries_left=tries_left)
                await asyncio.sleep(_PORT_RETRY_S)
                continue
            if error.errno == errno.EADDRINUSE:
                raise PortProblem(
                    f"port {port} on {host} is in use by another program: "
                    "stop that one, or choose another port with --port"
                ) from None
            raise PortProblem(f"cannot listen on {host}:{port}: {error.strerror}") from None
        server.add_sockets(sockets)
        return int(sockets[0].getsockname()[1])
    raise AssertionError("the last try either listens or raises")


def main(settings: Settings) -> int:
    """Run the service until it is told to stop; return the exit code."""
    configure_logs(settings.log_format, settings.log_level)
    return asyncio.run(_run(settings))


def run(args: argparse.Namespace) -> int:
    """Run ``jhub-tokens serve`` with parsed arguments; return the exit code."""
    try:
        settings = settings_from(args)
    except SettingsError as error:
        print(f"jhub-tokens serve: {error}", file=sys.stderr)
        return 2
    return main(settings)


async def _run(settings: Settings) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    watch = exit_with_parent(stopping.set) if settings.exit_with_parent else None
    try:
        running = await start(settings)
    except (PortProblem, SettingsError) as error:
        print(f"jhub-tokens serve: {error}", file=sys.stderr)
        return 1
    await stopping.wait()
    if settings.drain_s:
        log.info("draining", drain_s=settings.drain_s)
        running.drain()
        stopping.clear()  # told once more, it stops at once
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), settings.drain_s)
    log.info("stopping")
    await running.stop()
    if watch is not None:
        watch.cancel()
    return 0
