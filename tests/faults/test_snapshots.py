"""Snapshots that lie: what was proven is charged, all of it, and nothing of it twice."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.store import Store, open_engine
from jhub_tokens.wire import EndSeen, Snapshot
from tests.faults.lying_hub import Knowledge, LyingHub
from tests.faults.postgresql import at_statement
from tests.faults.processes import eventually
from tests.faults.test_races import roomy
from tests.faults.worlds import new_worlds, one_world  # noqa: F401  (fixtures)
from tests.ledger.conftest import World

TICKS = 20
STREAMS = {"SQLite": 60, "PostgreSQL": 25}
STREAMS_THOROUGH = 100  # in each of the parts
PARTS_THOROUGH = 10


def pytest_generate_tests(metafunc):
    """The long form comes in parts, so that a test that hangs is told from one that works."""
    if "part" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("--thorough")
        metafunc.parametrize("part", range(PARTS_THOROUGH if thorough else 1))


class Naive:
    """Charges every server of a snapshot for the time since the snapshot before."""

    def __init__(self):
        self.charged = {}
        self.last_ms = None

    def learn(self, message, now_ms):
        since_ms = 30_000 if self.last_ms is None else now_ms - self.last_ms
        self.last_ms = now_ms
        for run, _, proof_ms in message.shown:
            if proof_ms is not None:
                self.charged[run.started] = self.charged.get(run.started, 0) + since_ms


def delayed(snapshot, now_ms):
    """Return a snapshot with all its ages counted to its arrival."""
    late_ms = now_ms - snapshot.sent_at_ms

    def later(fact):
        ages = {name: age for name, age in fact if name.endswith("age_ms") and age is not None}
        return fact.model_copy(update={name: age + late_ms for name, age in ages.items()})

    return later(snapshot).model_copy(
        update={
            "servers": [later(server) for server in snapshot.servers],
            "ended": [later(end) for end in snapshot.ended],
        }
    )


def test_a_message_held_up_has_all_its_ages_counted():
    end = EndSeen(start_key="start-key-1", ready_age_ms=50_000, ended_age_ms=10_000)
    sent = Snapshot(epoch="an-epoch", sequence=1, sent_at_ms=1_000_000, ended=[end])
    assert sent.counted_to(1_060_000) == delayed(sent, 1_060_000)


def test_a_dead_hub_process_heard_late_does_not_silence_the_living_one(world):
    member, identity = world.join()
    key = world.hub.run(member, identity)
    world.hub.restart()
    stray = world.hub.snapshot(sent_at_ms=world.clock.now_ms())  # held up on its way
    world.clock.advance_ms(10_000)
    world.hub.restart()
    world.hub.tell()
    world.clock.advance_ms(10_000)
    world.ledger.observe(delayed(stray, world.clock.now_ms()))
    world.clock.advance_ms(10_000)
    world.hub.tell()
    (session,) = world.ledger.wallet_view(member.member_id).sessions
    assert session.start_key == key
    assert session.alive_to_ms == world.clock.now_ms()


class Stream:
    """One hub's life, told with lies, beside what can be known of it."""

    def __init__(self, world, store, seed):
        self.world = world
        self.store = store
        self.chance = random.Random(seed)
        self.hub = LyingHub(world, self.chance, seed)
        self.knowledge = Knowledge()
        self.naive = Naive()

    def run(self):
        for _ in range(TICKS):
            self.world.clock.advance_ms(self.chance.randint(2_000, 60_000))
            self.hub.happen()
            for run in self.hub.runs:
                self.knowledge.admitted(run)
            self.hub.send(self.hub.message())
            for message in self.hub.arriving():
                self.deliver(message, receipt=self.chance.random() < 0.85)
        for run in self.hub.runs:
            if run.ended_ms is None:
                self.hub.end(run)
        for _ in range(3):  # at last the truth
            self.world.clock.advance_ms(10_000)
            self.deliver(self.hub.message(honest=True), receipt=True)

    def deliver(self, message, *, receipt):
        now_ms = self.world.clock.now_ms()
        settled_ms = self.settled(message)
        report = self.world.ledger.observe(delayed(message.snapshot, now_ms))
        self.knowledge.learn(message, now_ms, settled_ms)
        self.knowledge.named(report)
        self.naive.learn(message, now_ms)
        if receipt:
            self.hub.hear(report)

    def settled(self, message):
        """Return by run up to when its member's wallet is settled.

        Of whom the books have not heard before, the wallet begins when they do.
        """
        now_ms = self.world.clock.now_ms()
        members, wallets = schema.members.c, schema.wallets.c
        query = select(members.hub_user_id, members.hub_created, wallets.settled_to_ms).join_from(
            schema.wallets, schema.members
        )
        ids = {run.identity.hub_user_id for run, *_ in message.shown}
        with self.store.read() as connection:
            found = connection.execute(query.where(members.hub_user_id.in_(ids))).all()
        settled = {(row[0], row[1]): row[2] for row in found}
        return {
            run.started: settled.get((run.identity.hub_user_id, run.identity.created), now_ms)
            for run, *_ in message.shown
        }

    def charged(self):
        """Return the spans that the books charged, by run."""
        sessions = schema.sessions
        names = {run.first_key: run.started for run in self.hub.runs}
        spans = {run.started: [] for run in self.hub.runs}
        query = select(sessions).where(sessions.c.hub == self.hub.name)
        with self.store.read() as connection:
            rows = connection.execute(query).mappings().all()
        for row in rows:
            assert row["settled"], "everything has ended and was told"
            started = row["hub_started"] or names[row["start_key"]]
            length_ms = 0 if row["ready_ms"] is None else row["ended_ms"] - row["ready_ms"]
            assert row["charged_grains"] == row["rate_mtok_h"] * length_ms
            if length_ms:
                spans[started].append((row["ready_ms"], row["ended_ms"]))
        return spans


@pytest.fixture
def store(world):
    made = Store(open_engine(world.url))
    yield made
    made.close()


class Verdict:
    """Milliseconds proven, charged and wrongly charged, over all runs of some streams."""

    def __init__(self):
        self.runs = self.proven = self.missed = self.twice = self.untrue = self.excess = 0

    def judge(self, run, proven, charged):
        """Compare the spans charged with what was proven and with what truly was."""
        self.runs += 1
        self.proven += length(proven)
        self.missed += max(0, length(proven) - common(proven, charged))
        self.excess += max(0, length(charged) - common(proven, charged))
        self.twice += sum(common([span], charged) - length([span]) for span in charged)
        true = [(run.ready_ms, run.ended_ms)] if run.ready_ms is not None else []
        self.untrue += length(charged) - common(true, charged)

    @property
    def wrong(self):
        return self.missed, self.twice, self.untrue, self.excess


def length(spans):
    return sum(end - start for start, end in spans)


def common(some, others):
    return sum(max(0, min(b, d) - max(a, c)) for a, b in some for c, d in others)


@pytest.mark.slow_on_postgresql
def test_what_was_proven_is_charged_once(part, world, store, new_world, thorough, figure):
    world.catalogue = roomy()
    count = STREAMS_THOROUGH if thorough else STREAMS[new_world.database]
    verdict = Verdict()
    too_late_ms = naive_missed = naive_excess = 0
    for seed in range(part * count, (part + 1) * count):
        stream = Stream(world, store, seed)
        stream.run()
        charged = stream.charged()
        for run in stream.hub.runs:
            known = stream.knowledge.known.get(run.started)
            proven = known.spans if known else []
            assert sorted(charged[run.started]) == sorted(proven), (seed, run)
            verdict.judge(run, proven, charged[run.started])
            naive_ms = stream.naive.charged.get(run.started, 0) - length(proven)
            naive_missed += max(0, -naive_ms)
            naive_excess += max(0, naive_ms)
        too_late_ms += stream.knowledge.too_late_ms
    assert verdict.wrong == (0, 0, 0, 0)
    # The control: without proof, sequence and ends the same messages come to something else.
    assert naive_missed > 0 and naive_excess > 0
    figure(
        f"snapshots that lie, {new_world.database}",
        f"{count} streams, {verdict.runs} runs, {verdict.proven / 1000:.0f} s proven, 100 % "
        f"charged, 0 s twice, 0 s beyond the truth; {too_late_ms / 1000:.0f} s were told after "
        "their time was settled",
    )
    figure(
        f"control: a charge per snapshot interval, {new_world.database}",
        f"{naive_missed / 1000:.0f} s missed, {naive_excess / 1000:.0f} s charged in excess",
    )


# --- at two replicas at once ------------------------------------------------------------------


@pytest.mark.postgresql
def test_of_two_snapshots_at_two_replicas_the_newer_one_holds(postgres_template):
    """A balancer may hand them to different replicas, and the older one may be held up there."""
    world = World(postgres_template())
    other = world.open()
    member, identity = world.join()
    world.hub.run(member, identity)
    older, newer = world.hub.snapshot(), world.hub.snapshot()
    store = Store(open_engine(world.url))

    def waits_for_lock():
        query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = :name"
        with store.read() as connection:
            return connection.execute(text(query), {"name": store.engine.url.database}).first()

    with ThreadPoolExecutor(1) as pool:
        overtaking = []

        def overtake():
            overtaking.append(pool.submit(other.observe, newer))
            eventually(lambda: overtaking[0].done() or waits_for_lock(), "it is done or waits")

        with at_statement(world.url, "UPDATE hubs", overtake):
            world.ledger.observe(older)
        overtaking[0].result(30)
    hubs = schema.hubs
    with store.read() as connection:
        row = connection.execute(select(hubs.c.sequence)).scalar_one()
    store.close()
    assert row == newer.sequence, "what is older than the newest must not count as news again"
    other.close()
    assert world.ledger.audit() == ()
    world.ledger.close()
