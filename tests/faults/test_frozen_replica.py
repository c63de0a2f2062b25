"""A replica is frozen (SIGSTOP) inside a transaction that holds a wallet, and thawed later.

Meanwhile the other replica goes on: with other wallets at once, with that one when PostgreSQL
ends the transaction. What the thawed one still has in hand must not reach the books.
"""

import os
import signal
from functools import partial
from itertools import count

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text

from jhub_tokens.ledger.store import open_engine
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import Identity, ServerSeen
from tests.faults import naive
from tests.faults.processes import Request, Worker, eventually, real_books
from tests.ledger.conftest import HOUR_MS, World

MINUTE_MS = 60_000
AMOUNT = 5 * GRAINS_PER_TOKEN
#: For the replica that freezes: long enough for its work, short enough for a test. Not
#: idle_in_transaction_session_timeout: after a batch of rows, which the driver sends as a
#: pipeline, PostgreSQL 18 does not enforce it.
BOUNDED = "-c transaction_timeout=4s"
pytestmark = pytest.mark.postgresql


#: Where the warden's pass freezes; the first two in the short form: after a batch, and at the end.
STATEMENTS = [
    "UPDATE wallets",
    "INSERT INTO stop_orders",
    "UPDATE sessions",
    "INSERT INTO transactions",
    "INSERT INTO entries",
    "INSERT INTO notices",
]


def with_options(url, options):
    return make_url(url).update_query_dict({"options": options}).render_as_string(False)


class Story:
    """Two members whose small wallets have just run dry, and two replicas, one of which freezes.

    The first member's wallet is due first, so a pass over one wallet takes that one.
    """

    def __init__(self, url, freeze_before, frozen_options="", healthy_options=""):
        self.url = url
        self.world = world = World(url)
        self.numbers = count(1)
        # Both have the small plan: it goes by the name, which the second takes over.
        self.first, self.identity = world.join("smith")
        self.key = world.hub.run(self.first, self.identity)
        world.clock.advance_ms(1_000)
        self.second, identity = world.join("smith")
        world.hub.run(self.second, identity)
        world.clock.advance_ms(2 * HOUR_MS)
        world.hub.tell()
        frozen_url = with_options(url, frozen_options)
        self.frozen = Worker(real_books(frozen_url, freeze_before=freeze_before))
        self.healthy = Worker(real_books(with_options(url, healthy_options)))

    def request(self, kind, member=None, **facts):
        return Request(next(self.numbers), 0, self.world.clock.now_ms(), kind, member, facts)

    def grant(self):
        facts = {"amount_grains": AMOUNT, "reason": "a test", "key": "grant-once"}
        return self.request("grant", self.identity, **facts)

    def freeze(self, request):
        self.frozen.send(request)
        wait_until_stopped(self.frozen)

    def thaw(self):
        os.kill(self.frozen.process.pid, signal.SIGCONT)
        return self.frozen.receive()[1:]

    def rows(self, query):
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return found

    def stops(self):
        """Return the start keys of the sessions that were ordered to stop."""
        query = "SELECT start_key FROM stop_orders JOIN sessions USING (session_id)"
        return sorted(key for (key,) in self.rows(query))

    def check(self):
        """Nothing is charged or said twice, and every charge is rate × time."""
        assert self.world.ledger.audit() == ()
        notices = self.rows("SELECT member_id, kind, CAST(params AS text) FROM notices")
        assert len(set(notices)) == len(notices)

    def close(self):
        self.frozen.end()
        self.healthy.end()
        self.world.ledger.close()


def wait_until_stopped(worker):
    process = psutil.Process(worker.process.pid)
    eventually(lambda: process.status() == psutil.STATUS_STOPPED, "the replica is frozen")


@pytest.fixture
def make_story(postgres_template):
    stories = []

    def make(*args, **options):
        stories.append(Story(postgres_template(), *args, **options))
        return stories[-1]

    yield make
    for story in stories:
        story.close()


def pytest_generate_tests(metafunc):
    if "statement" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("--thorough")
        metafunc.parametrize("statement", STATEMENTS if thorough else STATEMENTS[:2])


def test_a_frozen_pass_of_the_warden(make_story, statement, figure):
    story = make_story(statement, frozen_options=BOUNDED)
    world, healthy = story.world, story.healthy
    # The frozen replica holds the first wallet, with its stop order in hand.
    late_pass = story.request("advance", limit=1)
    story.freeze(late_pass)

    # The other one takes what is not held, at once.
    outcome, report = healthy.ask(story.request("advance"))
    assert (outcome, report.wallets, report.stops_ordered) == ("done", 1, 1)
    (other,) = story.stops()
    assert other != story.key

    # What needs the first wallet waits until PostgreSQL ends the transaction.
    start = {"server_name": "", "start_key": story.key, "profile": "cpu"}
    outcome, answer = healthy.ask(story.request("admit", story.identity, **start))
    assert outcome == "done", answer
    outcome, report = healthy.ask(story.request("advance"))
    assert (outcome, report.wallets, report.stops_ordered) == ("done", 1, 1)

    # The server stops, its owner is credited and starts another of the same name.
    world.clock.advance_ms(10_000)
    world.hub.end(story.key)
    assert healthy.ask(story.grant())[0] == "done"
    next_key = world.hub.run(story.first, story.identity)

    outcome, problem = story.thaw()
    assert (outcome, problem.partition(":")[0]) == ("failed", "DatabaseProblem")
    # It tries again, with the instant at which it froze.
    assert story.frozen.ask(late_pass)[0] == "done"
    world.clock.advance_ms(30 * MINUTE_MS)
    world.hub.end(next_key)

    assert story.stops() == sorted([story.key, other])
    charged = dict(story.rows("SELECT start_key, charged_grains FROM sessions"))
    rate = world.catalogue.profiles["cpu"].rate_mtok_h
    assert charged[story.key] == rate * (2 * HOUR_MS + 1_000 + 10_000)
    assert charged[next_key] == rate * 30 * MINUTE_MS
    assert world.balance(story.first) == AMOUNT - charged[next_key]
    story.check()
    figure(
        f"replica frozen in the warden before {statement}",
        "0 charges twice, 0 notices twice, 0 stop orders for another session",
    )


def test_a_frozen_top_up_that_is_asked_of_the_other_replica(make_story, figure):
    story = make_story("INSERT INTO entries", frozen_options=BOUNDED)
    request = story.grant()
    story.freeze(request)
    outcome, first = story.healthy.ask(request)
    assert outcome == "done", first
    assert story.thaw()[0] == "failed"
    assert story.frozen.ask(request) == ("done", first)
    assert len(story.rows("SELECT 1 FROM transactions WHERE kind = 'topup'")) == 1
    story.check()
    figure("replica frozen in a top-up", "booked once, all callers have the same receipt")


def test_without_a_timeout_a_wallet_is_held_as_long_as_its_replica_is_frozen(make_story):
    """What the timeout is for; the caller's patience is the only limit then."""
    story = make_story("INSERT INTO entries", healthy_options="-c lock_timeout=300ms")
    request = story.grant()
    story.freeze(request)
    outcome, problem = story.healthy.ask(request)
    assert (outcome, "lock timeout" in problem) == ("failed", True)
    outcome, receipt = story.thaw()
    assert outcome == "done"
    assert story.healthy.ask(request) == ("done", receipt)
    story.check()


@pytest.mark.parametrize("setting", ["transaction_timeout", "lock_timeout"])
def test_the_ledger_bounds_how_long_a_wallet_is_held(postgres_template, setting):
    engine = open_engine(postgres_template())
    with engine.connect() as connection:
        limit = connection.execute(text(f"SHOW {setting}")).scalar_one()
    engine.dispose()
    assert limit != "0"


def test_control_naive_books_lose_what_the_other_replica_booked(postgres_template, figure):
    url = postgres_template()
    lara = Identity(hub_user_id=1, created="2026-11-01", name="lara")
    naive.create(url, {"lara": 2 * AMOUNT})
    start = {"server_name": "", "start_key": "start-of-lara", "profile": "cpu"}
    seen = ServerSeen(member=lara, start_key="start-of-lara", ready_age_ms=HOUR_MS, alive_age_ms=0)
    credit = {"amount_grains": AMOUNT, "reason": "a test", "key": "grant-once"}
    top_up = Request(1, 0, HOUR_MS, "grant", lara, credit)
    tick = Request(2, 0, HOUR_MS, "observe", lara, {"servers": [seen], "ended": []})
    with (
        Worker(partial(naive.NaiveBooks, url, "UPDATE balances")) as frozen,
        Worker(partial(naive.NaiveBooks, url)) as healthy,
    ):
        assert healthy.ask(Request(0, 0, 0, "admit", lara, start))[0] == "done"
        frozen.send(top_up)
        wait_until_stopped(frozen)
        assert healthy.ask(tick)[0] == "done"
        os.kill(frozen.process.pid, signal.SIGCONT)
        assert frozen.receive()[1] == "done"
    right = 3 * AMOUNT - GRAINS_PER_TOKEN  # one token an hour
    wrong = naive.balances(url)["lara"] - right
    assert wrong == GRAINS_PER_TOKEN
    figure("replica frozen, naive control", f"{wrong} grains made out of nothing")
