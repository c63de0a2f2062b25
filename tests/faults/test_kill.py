"""Workers are killed with SIGKILL under load; not a grain is lost or booked twice.

A script of requests, the same for the same seed, is sent to worker processes that are killed at
random points and started again. What was not answered is sent again with its own key. In the
end the books must equal what the script says: each grant once, and rate × time for each run.
"""

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import open_ledger
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import EndSeen, Identity, ServerSeen
from tests.faults import naive
from tests.faults.processes import Client, Request, real_books
from tests.ledger.conftest import HOUR_MS, NOVEMBER_MS, catalogue

STEP_MS = 300_000
BEGIN_MS = NOVEMBER_MS + 10 * HOUR_MS
LANES = 9
ALLOTMENT = 100 * GRAINS_PER_TOKEN
SMALL_ALLOTMENT = 2 * GRAINS_PER_TOKEN
#: A kill comes every 2 to 9 answers.
ANSWERS_PER_KILL_MAX = 9


@dataclass
class Lane:
    """One member with one server, told of by a hub of its own, and what the books must say."""

    number: int
    random: random.Random
    requests: int = 0
    start_key: str = ""
    profile: str = ""
    ready_ms: int | None = None
    granted: list[int] = field(default_factory=list)
    charged: dict[str, int] = field(default_factory=dict)  # by start key

    @property
    def runs_dry(self) -> bool:
        """Whether this is the member whose one server runs on until the wallet is dry."""
        return self.number == 0

    @property
    def identity(self) -> Identity:
        name = "smith" if self.runs_dry else f"member-{self.number}"
        return Identity(hub_user_id=self.number + 1, created="2026-11-01", name=name)

    @property
    def rate(self) -> int:
        return catalogue().profiles[self.profile].rate_mtok_h

    def next_request(self, at_ms: int, *, last: bool) -> tuple[str, dict[str, Any]]:
        """Return kind and facts of what happens now, and count what it must do to the books."""
        self.requests += 1
        dice = self.random.random()
        if not self.start_key:
            if last or (dice < 0.3 and not self.runs_dry):
                return self._grant()
            return self._admit()
        if last:
            return self._observe(at_ms, ended=True)
        if self.ready_ms is not None and not self.runs_dry:
            if dice < 0.2:
                return self._grant()
            if dice < 0.5:
                return self._observe(at_ms, ended=True)
        return self._observe(at_ms)

    def _grant(self) -> tuple[str, dict[str, Any]]:
        amount = self.random.randint(1_000, 9_000) * (GRAINS_PER_TOKEN // 1000)
        self.granted.append(amount)
        key = f"grant-{self.number}-{self.requests}"
        return "grant", {"amount_grains": amount, "reason": key, "key": key}

    def _admit(self) -> tuple[str, dict[str, Any]]:
        self.start_key = f"start-{self.number}-{self.requests}"
        self.profile = "cpu" if self.runs_dry else self.random.choice(["cpu", "gpu"])
        facts = {"server_name": "", "start_key": self.start_key, "profile": self.profile}
        return "admit", {**facts, "hub": f"hub-{self.number}"}

    def _observe(self, at_ms: int, *, ended: bool = False) -> tuple[str, dict[str, Any]]:
        if self.ready_ms is None:
            self.ready_ms = at_ms - self.random.randint(0, STEP_MS // 2)
        ready_age_ms = at_ms - self.ready_ms
        facts: dict[str, Any] = {
            "hub": f"hub-{self.number}",
            "epoch": f"epoch-{self.number:04}",
            "sequence": self.requests,
            "servers": [],
            "ended": [],
        }
        if ended:
            # Often before the last proof of life: then a return is booked.
            ended_age_ms = min(ready_age_ms, self.random.randint(0, 2 * STEP_MS))
            ages = {"ready_age_ms": ready_age_ms, "ended_age_ms": ended_age_ms}
            facts["ended"] = [EndSeen(start_key=self.start_key, **ages)]
            self.charged[self.start_key] = self.rate * (ready_age_ms - ended_age_ms)
            self.start_key, self.ready_ms = "", None
        else:
            seen = {"start_key": self.start_key, "ready_age_ms": ready_age_ms, "alive_age_ms": 0}
            facts["servers"] = [ServerSeen(member=self.identity, **seen)]
        return "observe", facts


def write_script(seed: int, kills: int) -> tuple[list[Lane], list[list[Request]]]:
    """Return members and rounds of requests, enough for so many kills."""
    lanes = [Lane(number, random.Random(f"{seed}-{number}")) for number in range(LANES)]
    rounds: list[list[Request]] = []
    count = max(30, kills * ANSWERS_PER_KILL_MAX // (LANES + 1) + 1)
    for turn in range(count):
        begin_ms = BEGIN_MS + turn * STEP_MS
        # The warden looks at everybody meanwhile.
        requests = [Request(turn * (LANES + 1), -1, begin_ms, "advance")]
        for lane in lanes:
            at_ms = begin_ms + lane.random.randint(0, STEP_MS // 2)
            kind, facts = lane.next_request(at_ms, last=turn == count - 1)
            number = requests[0].number + lane.number + 1
            requests.append(Request(number, lane.number, at_ms, kind, lane.identity, facts))
        rounds.append(requests)
    return lanes, rounds


class Books:
    """What is in the books, read past the ledger."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url, poolclass=NullPool)

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query), parameters))

    def hold(self, request: Request) -> bool:
        """Tell whether a request that was not answered was booked all the same."""
        facts = request.facts
        if request.kind == "grant":
            return bool(self.rows("SELECT 1 FROM idempotency WHERE key = :key", key=facts["key"]))
        if request.kind == "admit":
            query = "SELECT 1 FROM sessions WHERE start_key = :key"
            return bool(self.rows(query, key=facts["start_key"]))
        if request.kind == "observe":
            query = "SELECT 1 FROM hubs WHERE hub = :hub AND sequence >= :sequence"
            return bool(self.rows(query, hub=facts["hub"], sequence=facts["sequence"]))
        return False


def check_books(url: str, lanes: list[Lane], end_ms: int) -> None:
    """Compare the books with what the script says, to the grain."""
    rules = catalogue()
    ledger = open_ledger(url, ManualClock(end_ms), lambda: rules)
    books = Books(url)
    assert ledger.audit() == ()
    charged = dict(books.rows("SELECT start_key, charged_grains FROM sessions"))
    assert charged == {key: grains for lane in lanes for key, grains in lane.charged.items()}
    for lane in lanes:
        member = ledger.member_by_name(lane.identity.name)
        assert member is not None
        granted = books.rows(
            "SELECT change_grains FROM transactions WHERE wallet_id = :wallet AND kind = 'topup'",
            wallet=member.wallet_id,
        )
        assert sorted(amount for (amount,) in granted) == sorted(lane.granted)
        balance = ledger.wallet_view(member.member_id).balance_grains
        used = sum(lane.charged.values())
        if lane.runs_dry:
            assert used > SMALL_ALLOTMENT and balance == 0
        else:
            assert balance == ALLOTMENT + sum(lane.granted) - used
    kinds = books.rows("SELECT kind, count(*) FROM transactions GROUP BY kind")
    assert dict(kinds)["allotment"] == LANES
    # Effects too: no notice twice, and one order to stop the server that ran dry.
    said = [(n, k, str(p)) for n, k, p in books.rows("SELECT member_id, kind, params FROM notices")]
    assert len(set(said)) == len(said)
    assert sum(kind == "stopped_dry" for _, kind, _ in said) == 1
    orders = books.rows("SELECT reason, outcome FROM stop_orders")
    assert orders == [("dry", "ended")]
    ledger.close()


def grains_wrong(url: str, lanes: list[Lane]) -> tuple[int, int]:
    """Return how many grains the naive books lost and how many they made out of nothing."""
    found = naive.balances(url)
    lost = doubled = 0
    for lane in lanes:
        opening = SMALL_ALLOTMENT if lane.runs_dry else ALLOTMENT
        right = opening + sum(lane.granted) - sum(lane.charged.values())
        lost += max(0, right - found[lane.identity.name])
        doubled += max(0, found[lane.identity.name] - right)
    return lost, doubled


def shape(database_url: str) -> dict[str, int]:
    """Return how the service runs on this database: SQLite has one process that writes."""
    if database_url.startswith("sqlite"):
        return {"replicas": 1, "threads": 1}
    return {"replicas": 2, "threads": 3}


@pytest.fixture
def kills(thorough):
    """How many kills for each seed on each of the two databases."""
    return 50 if thorough else 25


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("--thorough")
        metafunc.parametrize("seed", range(20261124, 20261134 if thorough else 20261125))


def test_no_grain_is_lost_or_doubled_by_kills(database_url, kills, seed, figure):
    lanes, rounds = write_script(seed, kills)
    was_booked = Books(database_url).hold
    make = real_books(database_url)
    client = Client(make, **shape(database_url), kills=kills, seed=seed, was_booked=was_booked)
    client.run(rounds)
    check_books(database_url, lanes, rounds[-1][-1].at_ms + STEP_MS)
    counts = client.counts
    # Otherwise nothing that matters was tried: answers were lost before and after the commit.
    assert counts["unanswered"] > counts["unanswered but booked"] > 0
    figure(
        f"kill -9, {database_url.partition(':')[0]}",
        f"{counts['kills']} kills, {counts['answered']} requests, {counts['unanswered']} without "
        f"an answer ({counts['unanswered but booked']} of them booked): 0 grains lost, 0 doubled",
    )


def test_naive_books_are_exact_when_left_alone(tmp_path):
    url = f"sqlite:///{tmp_path / 'naive.sqlite'}"
    lanes = run_naive(url, kills=0, seed=1)[0]
    assert grains_wrong(url, lanes) == (0, 0)


@pytest.mark.slow_on_postgresql
def test_naive_books_lose_or_double_by_the_same_kills(database_url, kills, figure):
    lanes, counts = run_naive(database_url, kills=kills, seed=20261124)
    lost, doubled = grains_wrong(database_url, lanes)
    assert lost or doubled
    figure(
        f"kill -9, {database_url.partition(':')[0]}, naive control",
        f"{counts['kills']} kills: {lost} grains lost, {doubled} doubled",
    )


def run_naive(url: str, *, kills: int, seed: int) -> tuple[list[Lane], Any]:
    lanes, rounds = write_script(seed, kills)
    opening = {
        lane.identity.name: SMALL_ALLOTMENT if lane.runs_dry else ALLOTMENT for lane in lanes
    }
    naive.create(url, opening)
    make = partial(naive.NaiveBooks, url)
    client = Client(make, **shape(url), kills=kills, seed=seed, repeats=False)
    client.run(rounds)
    return lanes, client.counts
