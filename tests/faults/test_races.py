"""At once: many starts on a balance for a few, equal requests, a start and its own cancel.

Each thread asks one of two ledgers on the same database: two replicas on PostgreSQL, two
processes' worth of connections to one file on SQLite.
"""

import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update
from sqlalchemy.engine.default import DefaultDialect

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import NotAdmitted, open_ledger, schema
from jhub_tokens.ledger.store import Store, open_engine
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import Snapshot
from tests.faults.worlds import new_worlds, one_world  # noqa: F401  (fixtures)
from tests.ledger.conftest import CATALOGUE, HOUR_MS

AT_ONCE = 6
NEED_TOKENS = 1.25  # minimum run, grace and stop time of a GPU: 450 s at 10 tokens an hour
ROUNDS, ROUNDS_THOROUGH = 20, 200
PARTS_THOROUGH = 5  # a thousand rounds, in parts that each end in good time


def pytest_generate_tests(metafunc):
    if "part" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("--thorough")
        metafunc.parametrize("part", range(PARTS_THOROUGH if thorough else 1))


def roomy(*, enforce=True):
    """The catalogue, but the balance alone limits how many servers run."""
    text = CATALOGUE.format(enforce=str(enforce).lower(), overrun="waive")
    return parse_catalogue(text.replace("max_servers: 3", "max_servers: 64"), "roomy.yaml")


class Crowd:
    """Threads that begin at once, on two ledgers in turn."""

    def __init__(self, world):
        world.catalogue = roomy()
        self.world = world
        self.ledgers = [world.open() for _ in range(2)]
        # Admits whatever it is asked: for those who check by themselves.
        self.lax = open_ledger(world.url, world.clock, lambda: roomy(enforce=False))
        self.pool = ThreadPoolExecutor(AT_ONCE)

    def close(self):
        self.pool.shutdown()
        for ledger in (*self.ledgers, self.lax):
            ledger.close()

    def at_once(self, act, count=AT_ONCE):
        """Call ``act(ledger, index)`` in `count` threads at one instant; return the answers."""
        barrier = threading.Barrier(count)

        def begin(index):
            barrier.wait(timeout=30)
            return act(self.ledgers[index % 2], index)

        return list(self.pool.map(begin, range(count)))

    def member_with(self, tokens):
        name = f"m{self.world.numbers}"
        member, _ = self.world.join(name)
        self.world.give(member, tokens - 100, kind="adjustment")
        assert self.world.tokens(member) == tokens
        return member


@pytest.fixture
def crowd(world):
    made = Crowd(world)
    yield made
    made.close()


def admitted(ledger, member, index, key=None):
    try:
        ledger.admit(
            member.member_id,
            server_name=f"server-{index}",
            start_key=key or uuid.uuid4().hex,
            profile="gpu",
        )
    except NotAdmitted as refusal:
        assert refusal.code == "balance"
        return False
    return True


def balances(rounds, part=0):
    """Return for each round how many starts the balance carries and what it is, in tokens."""
    chance = random.Random(part)
    for _ in range(rounds):
        carried = chance.randrange(1, AT_ONCE)
        # To the last millitoken: one less than another start would need is not enough.
        spare = chance.choice([0, NEED_TOKENS - 0.001])
        yield carried, round(carried * NEED_TOKENS + spare, 3)


def test_a_balance_for_k_admits_exactly_k(part, crowd, new_world, thorough, figure):
    rounds = ROUNDS_THOROUGH if thorough else ROUNDS
    wrong = 0
    for carried, tokens in balances(rounds, part):
        member = crowd.member_with(tokens)
        answers = crowd.at_once(lambda ledger, i, m=member: admitted(ledger, m, i))
        wrong += sum(answers) != carried
    assert wrong == 0
    figure(
        f"{AT_ONCE} starts at once on a balance for k, {new_world.database}",
        f"{rounds} rounds, {wrong} with another number than k admitted",
    )


def test_control_check_then_act_admits_more(crowd, new_world, figure):
    checked = threading.Barrier(AT_ONCE)
    wrong = 0
    for carried, tokens in balances(5):
        member = crowd.member_with(tokens)
        profile = crowd.world.catalogue.profiles["gpu"]

        def check_then_act(ledger, index, member=member, profile=profile):
            carried = ledger.prospects(member.member_id, [profile])["gpu"].carried
            checked.wait(timeout=30)
            return carried and admitted(crowd.lax, member, index)

        wrong += sum(crowd.at_once(check_then_act)) > carried
    assert wrong == 5
    figure(f"control: check, then act without a lock, {new_world.database}", f"{wrong} of 5 wrong")


def test_equal_starts_at_once_are_one_session(crowd):
    member = crowd.member_with(50)

    def start(ledger, _):
        return ledger.admit(
            member.member_id, server_name="", start_key="one-start-key", profile="gpu"
        )[0].session_id

    assert len(set(crowd.at_once(start))) == 1
    assert len(crowd.world.ledger.wallet_view(member.member_id).sessions) == 1


def test_equal_grants_at_once_are_booked_once(crowd, new_world, thorough, figure):
    rounds = 100 if thorough else 10
    booked = 0
    for _ in range(rounds):
        member = crowd.member_with(10)
        key = uuid.uuid4().hex
        answers = crowd.at_once(lambda ledger, _, m=member, k=key: give(ledger, m, k))
        assert len(set(answers)) == 1
        booked += round(crowd.world.tokens(member) - 10)
    assert booked == rounds
    figure(
        f"{AT_ONCE} equal grants at once, {new_world.database}",
        f"{rounds} rounds, {booked} booked",
    )


def give(ledger, member, key):
    return ledger.grant(
        member.member_id,
        amount_grains=GRAINS_PER_TOKEN,
        kind="topup",
        actor="admin",
        reason="gift",
        caller="test",
        key=key,
    ).transaction_id


def test_control_looking_first_books_a_grant_several_times(crowd):
    member = crowd.member_with(10)
    looked = threading.Barrier(AT_ONCE)

    def look_then_give(ledger, _):
        now_ms = crowd.world.clock.now_ms()
        view = ledger.statement(member.member_id, now_ms - HOUR_MS, now_ms + 1)
        looked.wait(timeout=30)
        if not any(entry.reason == "gift" for entry in view.entries):
            give(ledger, member, uuid.uuid4().hex)

    crowd.at_once(look_then_give)
    assert crowd.world.tokens(member) == 10 + AT_ONCE


def cancel(ledger, key, sequence):
    snapshot = Snapshot(epoch="epoch-of-the-race", sequence=sequence, cancelled=[key])
    return ledger.observe(snapshot)


def test_a_start_that_comes_after_its_cancel_is_refused(crowd):
    member = crowd.member_with(50)
    cancel(crowd.ledgers[0], "cancelled-key", 1)
    with pytest.raises(NotAdmitted) as refusal:
        crowd.ledgers[1].admit(
            member.member_id, server_name="", start_key="cancelled-key", profile="gpu"
        )
    assert refusal.value.code == "cancelled"


def test_a_start_and_its_cancel_at_once_leave_nothing_open(
    part, crowd, new_world, thorough, figure
):
    """Whichever comes first: after the next snapshot nothing is open or can start any more."""
    world = crowd.world
    member = crowd.member_with(90)
    rounds = ROUNDS_THOROUGH if thorough else ROUNDS
    refused = 0
    for number in range(1, 2 * rounds, 2):
        key = uuid.uuid4().hex

        def act(ledger, index, number=number, key=key):
            if index:
                return cancel(ledger, key, number)
            return start_or_refusal(ledger, member, key)

        refused += crowd.at_once(act, 2)[0] == "cancelled"
        world.clock.advance_ms(6_000)
        world.ledger.observe(Snapshot(epoch="epoch-of-the-race", sequence=number + 1))
        assert world.ledger.wallet_view(member.member_id).sessions == ()
        assert start_or_refusal(world.ledger, member, key) == "cancelled"
    figure(
        f"a start and its cancel at once, {new_world.database}",
        f"{rounds} rounds, the cancel came first in {refused}, 0 left open",
    )


def start_or_refusal(ledger, member, key):
    try:
        ledger.admit(member.member_id, server_name="", start_key=key, profile="gpu")
    except NotAdmitted as refusal:
        return refusal.code
    return "admitted"


def test_a_cancel_that_overtakes_an_uncommitted_start_still_cancels_it(
    crowd, new_world, monkeypatch
):
    member = crowd.member_with(50)
    commit = DefaultDialect.do_commit
    at_commit, cancelled = threading.Event(), threading.Event()

    def slow_commit(dialect, connection):
        if threading.current_thread() is starter:
            at_commit.set()
            # Whoever cancels may have to wait for us, on SQLite for the file's lock.
            cancelled.wait(timeout=0.3)
        commit(dialect, connection)

    key = "overtaken-key"
    starter = threading.Thread(target=start_or_refusal, args=(crowd.ledgers[0], member, key))
    monkeypatch.setattr(DefaultDialect, "do_commit", slow_commit)
    starter.start()
    assert at_commit.wait(timeout=30)
    cancel(crowd.ledgers[1], key, 1)
    cancelled.set()
    starter.join(timeout=30)
    assert crowd.world.ledger.wallet_view(member.member_id).sessions == ()
    assert start_or_refusal(crowd.world.ledger, member, key) == "cancelled"


def test_snapshots_and_the_warden_do_not_stand_in_each_others_way(crowd, new_world, figure):
    """Each locks several wallets; neither may be the one that the database gives up on."""
    world = crowd.world
    for index in range(12):
        member, identity = world.join(f"busy-{index}")
        world.hub.run(member, identity, "gpu")
    store = Store(open_engine(world.url))
    wallets = schema.wallets
    rounds = 25
    for _ in range(rounds):
        world.clock.advance_ms(60_000)
        with store.write() as connection:  # all are due, so that the warden writes them all
            connection.execute(update(wallets).values(next_deadline_ms=1))
        snapshot = world.hub.snapshot()
        crowd.at_once(
            lambda ledger, i, s=snapshot: ledger.advance_due() if i else ledger.observe(s), 2
        )
    store.close()
    figure(f"snapshot and warden at once, {new_world.database}", f"{rounds} rounds, 0 failed")
