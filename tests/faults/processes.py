"""Worker processes that keep books and can be killed or frozen, and the client that drives them.

The client is what a hub is to a token service: it sends requests and waits for answers. When a
worker dies it cannot know which of its requests were booked, so it sends all that were not
answered again, with the same keys and the same instants.
"""

import itertools
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, make_url

from jhub_tokens.ledger import NotAdmitted, open_ledger
from jhub_tokens.service.process import DatabaseLock
from jhub_tokens.wire import Identity, Snapshot
from tests.ledger.conftest import catalogue

#: Nothing here takes as long; what does has hung.
PATIENCE_S = 60
#: A kill comes up to this long after an answer: about two requests' time.
KILL_DELAY_S_MAX = 0.008

# Forked from a process that has imported everything: a restart costs milliseconds.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.naive", "tests.faults.processes"])


@dataclass(frozen=True)
class Request:
    """One operation on the books, at an instant of its own; sent again it is the same one."""

    number: int
    lane: int  # requests of one lane are sent one after the other
    at_ms: int
    kind: str  # grant, admit, observe or advance
    member: Identity | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class RequestClock(threading.local):
    """What time it is for the request that this thread performs."""

    instant_ms = 0

    def now_ms(self) -> int:
        return self.instant_ms


class RealBooks:
    """The ledger, as the service opens it: under a lock on the file where that is SQLite."""

    def __init__(self, url: str, freeze_before: str | None = None) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            self.lock = DatabaseLock(Path(str(parsed.database)))
            self.lock.take()
        if freeze_before is not None:
            freeze_self_before(freeze_before)
        self.clock = RequestClock()
        rules = catalogue()
        self.ledger = open_ledger(url, self.clock, lambda: rules)

    def perform(self, request: Request) -> Any:
        self.clock.instant_ms = request.at_ms
        if request.kind == "advance":
            return self.ledger.advance_due(**request.facts)
        if request.kind == "observe":
            return self.ledger.observe(Snapshot(**request.facts))
        assert request.member is not None
        member_id = self.ledger.ensure_member(request.member).member_id
        if request.kind == "grant":
            return self.ledger.grant(
                member_id, kind="topup", actor="admin", caller="test", **request.facts
            )
        assert request.kind == "admit"
        return self.ledger.admit(member_id, **request.facts)


def freeze_self_before(prefix: str) -> None:
    """Have this process stop itself, once, just before a statement that begins with `prefix`."""
    frozen = []

    @event.listens_for(Engine, "before_cursor_execute")
    def _freeze(_connection, _cursor, statement, _parameters, _context, _many) -> None:
        if statement.startswith(prefix) and not frozen:
            frozen.append(statement)
            # At this very thread: any other one would let it run on for a while.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def serve(connection: Any, make_books: Callable[[], Any], threads: int) -> None:
    """Perform what comes through `connection` until it is closed; the worker's main function."""
    books = make_books()
    sending = threading.Lock()

    def perform(request: Request) -> None:
        try:
            answer = ("done", books.perform(request))
        except NotAdmitted as refusal:
            answer = ("refused", refusal.code)
        except Exception as error:
            answer = ("failed", f"{type(error).__name__}: {error}")
        with sending:
            connection.send((request.number, *answer))

    with ThreadPoolExecutor(threads) as pool:
        while (request := connection.recv()) is not None:
            pool.submit(perform, request)


class Worker:
    """A process that serves books; used as a context it ends with the block."""

    def __init__(self, make_books: Callable[[], Any], threads: int = 1) -> None:
        self._make_books = make_books
        self._threads = threads
        self.start()

    def start(self) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        arguments = (theirs, self._make_books, self._threads)
        self.process = _CONTEXT.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.unanswered: dict[int, Request] = {}

    def send(self, request: Request) -> None:
        self.unanswered[request.number] = request
        self.connection.send(request)

    def receive(self) -> tuple[int, str, Any]:
        """Return the number, outcome and answer of a request that is done."""
        assert self.connection.poll(PATIENCE_S), f"no answer to {list(self.unanswered.values())}"
        number, outcome, answer = self.connection.recv()
        del self.unanswered[number]
        return number, outcome, answer

    def ask(self, request: Request) -> tuple[str, Any]:
        """Send one request and return its outcome and answer."""
        self.send(request)
        return self.receive()[1:]

    def kill(self) -> list[Request]:
        """Kill -9; return what was not answered. An answer on its way is lost with the line."""
        self.process.kill()
        self.process.join(PATIENCE_S)
        self.connection.close()
        return list(self.unanswered.values())

    def end(self) -> None:
        if self.process.is_alive():
            os.kill(self.process.pid or 0, signal.SIGCONT)
            self.connection.send(None)
            self.process.join(PATIENCE_S)
        assert self.process.exitcode == 0, f"the worker ended with {self.process.exitcode}"
        self.connection.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: Any, *_details: Any) -> None:
        if kind is None:
            self.end()
        else:
            self.kill()


class Client:
    """Sends rounds of requests to the workers, kills them as planned, sends again what it must.

    Parameters
    ----------
    make_books
        Opens the books in each worker.
    replicas, threads
        How many workers, and how many requests each handles at a time.
    kills
        How many kills there will be.
    seed
        Decides when and which worker is killed.
    repeats
        Whether some requests that were answered are sent again too, as by a hub that was killed.
    was_booked
        Tells whether a request is in the books, to count how many lost answers had been.
    """

    def __init__(
        self,
        make_books: Callable[[], Any],
        *,
        replicas: int,
        threads: int,
        kills: int,
        seed: int,
        repeats: bool = True,
        was_booked: Callable[[Request], bool] = lambda request: False,
    ) -> None:
        self.random = random.Random(seed)
        self.kill_after = list(
            itertools.accumulate(self.random.randint(2, 9) for _ in range(kills))
        )
        self.counts: Counter[str] = Counter(kills=0)
        self._repeats = repeats
        self._was_booked = was_booked
        self._previous: dict[int, Request] = {}  # by lane: what was answered last
        self._refusals: list[tuple[Request, str]] = []
        self._workers = [Worker(make_books, threads) for _ in range(replicas)]

    def run(self, rounds: list[list[Request]]) -> None:
        """Send all rounds, each when the one before is answered; returns when all is done."""
        for requests in rounds:
            for request in requests:
                self._dispatch(request)
            while any(worker.unanswered for worker in self._workers):
                self._take_answer()
            self._previous = {request.lane: request for request in requests}
        for worker in self._workers:
            worker.end()
        assert self.counts["kills"] == len(self.kill_after), "the script was too short"

    def _dispatch(self, request: Request) -> None:
        self.counts["sent"] += 1
        self.random.choice(self._workers).send(request)

    def _take_answer(self) -> None:
        busy = {w.connection: w for w in self._workers if w.unanswered}
        ready = wait(list(busy), PATIENCE_S)
        assert ready, "no worker answers"
        worker = busy[ready[0]]  # type: ignore[index]
        request = worker.unanswered[(answer := worker.connection.recv())[0]]
        del worker.unanswered[request.number]
        _, outcome, detail = answer
        if outcome == "refused" and request.number < 0 and detail == "cancelled":
            outcome = "done"  # a start that is over by now: that is the answer to a late repeat
        assert outcome == "done", f"{request}: {outcome}, {detail}"
        self.counts["answered"] += 1
        if self.counts["answered"] in self.kill_after:
            self._kill(self.random.choice(self._workers))

    def _kill(self, worker: Worker) -> None:
        # Not a wait for anything: the kill shall come at any point of what is under way.
        time.sleep(self.random.uniform(0, KILL_DELAY_S_MAX))
        unanswered = worker.kill()
        self.counts["kills"] += 1
        self.counts["unanswered"] += len(unanswered)
        self.counts["unanswered but booked"] += sum(map(self._was_booked, unanswered))
        worker.start()
        for request in unanswered:
            self._dispatch(request)
            earlier = self._previous.get(request.lane)
            if self._repeats and earlier and self.random.random() < 0.3:
                self.counts["repeats"] += 1
                number = -self.counts["repeats"]
                facts = {**earlier.__dict__, "number": number}
                self._dispatch(Request(**facts))


def real_books(url: str, **options: Any) -> Callable[[], RealBooks]:
    """Return what opens the real books in a worker."""
    return partial(RealBooks, url, **options)


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Return the first true answer of `condition`; fail if there is none within `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.005)
    return found
