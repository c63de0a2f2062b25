"""PostgreSQL goes away: under an operation, between two, at the COMMIT, or in a crash.

The caller gets a `DatabaseProblem` and knows nothing more. It asks again with the same key, and
the books are as if nothing had happened: compared row by row with an undisturbed run.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from psycopg import errors
from sqlalchemy import NullPool, create_engine, select, text
from sqlalchemy.exc import OperationalError

from jhub_tokens.ledger import DatabaseProblem, schema
from jhub_tokens.ledger.store import describe_failure
from tests.faults.postgresql import CuttingProxy, OwnServer, at_statement
from tests.faults.processes import eventually
from tests.ledger.conftest import Hub, World

MINUTE_MS = 60_000
pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


@pytest.fixture(scope="module")
def server():
    own = OwnServer()
    yield own
    own.close()


class Scene:
    """Members brought to just before an operation, each with a hub of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.world = World(url)
        self.count = 0

    def prepare(self, operation: str) -> Callable[[], Any]:
        """Return the operation, ready to be called: once, and again after a fault."""
        world, ledger = self.world, self.world.ledger
        self.count += 1
        name = "smith" if operation == "warden" else f"member-{self.count}"
        identity = world.identity(name)
        if operation == "join":
            return lambda: ledger.ensure_member(identity)
        member = ledger.ensure_member(identity)
        hub = Hub(ledger, world.clock)
        hub.name = f"hub-{self.count}"
        key = f"start-{self.count:08}"
        if operation == "grant":
            # Each administrator's first of the month: what the limit counts is a new row each time.
            caller = f"admin-{self.count}"
            return lambda: world.give(member, 5, key="the-grant", caller=caller)
        if operation == "admit":
            choice = {"server_name": "", "profile": "cpu", "hub": hub.name}
            return lambda: ledger.admit(member.member_id, start_key=key, **choice)
        if operation == "ready":
            started = hub.start(member, identity)
            hub.servers[started][2] = world.clock.now_ms()
        else:
            started = hub.run(member, identity)
        if operation == "end":
            world.clock.advance_ms(10 * MINUTE_MS)
            hub.stop(started)
        if operation == "warden":
            # The small plan's two tokens are gone: the stop order is due.
            world.clock.advance_ms(120 * MINUTE_MS)
            return ledger.advance_due
        snapshot = hub.snapshot()
        return lambda: ledger.observe(snapshot)

    def rows(self) -> dict[str, list[Any]]:
        """Return all that is in the books."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.connect() as connection:
            return {
                table.name: sorted(connection.execute(select(table)).all(), key=repr)
                for table in schema.metadata.sorted_tables
            }

    def change(self, before: dict[str, list[Any]]) -> dict[str, int]:
        """Return how many rows each table has won since."""
        after = self.rows()
        return {name: len(after[name]) - len(before[name]) for name in after}

    def close(self) -> None:
        assert self.world.ledger.audit() == ()
        self.world.ledger.close()


OPERATIONS = ["join", "grant", "admit", "ready", "end", "warden"]


@pytest.fixture
def proxy(server):
    line = CuttingProxy(server.make_database())
    yield line
    line.close()


@pytest.fixture
def make_scene():
    scenes = []

    def make(url):
        scenes.append(Scene(url))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_backend_that_is_terminated_under_an_operation(
    server, make_scene, operation, thorough, figure
):
    url = server.make_database()
    scene = make_scene(url)
    run = scene.prepare(operation)
    before = scene.rows()
    with at_statement(url, 0) as statements:
        run()
    undisturbed = scene.change(before)
    points = range(1, len(statements) + 1, 1 if thorough else 4)
    for number in (*points, len(statements)):
        run = scene.prepare(operation)
        before = scene.rows()
        with (
            at_statement(url, number, lambda: server.terminate_backends(url)),
            pytest.raises(DatabaseProblem),
        ):
            run()
        assert scene.rows() == before, "half done"
        run()
        assert scene.change(before) == undisturbed
    figure(
        f"PostgreSQL backend terminated, {operation}",
        f"at {len(points) + 1} of {len(statements)} statements: 0 half done, booked once repeated",
    )


def test_a_connection_that_ended_while_idle_is_not_noticed(server, make_scene):
    url = server.make_database()
    scene = make_scene(url)
    runs = [scene.prepare(operation) for operation in OPERATIONS[:-1]]
    for run in runs:
        server.terminate_backends(url)
        run()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_line_is_cut_at_the_commit(proxy, make_scene, operation, figure):
    scene = make_scene(proxy.url)
    # Who joins was first looked up, in a transaction that only read.
    commit = 2 if operation == "join" else 1
    run = scene.prepare(operation)
    before = scene.rows()
    run()
    undisturbed = scene.change(before)
    for forwarded in (False, True):
        run = scene.prepare(operation)
        before = scene.rows()
        proxy.cut_at_commit(commit, forwarded=forwarded)
        with pytest.raises(DatabaseProblem):
            run()
        unknown = scene.rows()
        assert (unknown != before) is forwarded, "the caller cannot tell, the books can"
        answer = run()
        assert scene.change(before) == undisturbed
        if operation == "grant":
            _, booked = last_answer(proxy.url)
            assert answer.transaction_id == booked["transaction_id"]
        if forwarded:
            assert count_effects(scene.rows()) == count_effects(unknown)
    assert proxy.cuts == 2
    figure(
        f"line cut at the COMMIT, {operation}",
        "before it arrived and before its answer did: booked once when repeated",
    )


@pytest.mark.parametrize("forwarded", [False, True])
def test_control_without_a_key_an_unknown_outcome_is_booked_twice(proxy, make_scene, forwarded):
    scene = make_scene(proxy.url)
    member, _ = scene.world.join()
    opening = scene.world.balance(member)
    proxy.cut_at_commit(1, forwarded=forwarded)
    with pytest.raises(DatabaseProblem):
        scene.world.give(member, 5)  # a new key each time is no key
    receipt = scene.world.give(member, 5)
    times = (scene.world.balance(member) - opening) // receipt.amount_grains
    assert times == (2 if forwarded else 1)


def last_answer(url: str) -> Any:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        table = schema.idempotency
        query = select(table.c.key, table.c.answer).order_by(table.c.created_ms, table.c.key)
        return connection.execute(query).all()[-1]


def count_effects(rows: dict[str, list[Any]]) -> list[int]:
    return [len(rows[name]) for name in ("transactions", "entries", "notices", "stop_orders")]


@pytest.mark.parametrize("operation", ["grant", "end", "warden"])
def test_the_server_crashes_under_an_operation(server, make_scene, operation, thorough, figure):
    url = server.make_database()
    scene = make_scene(url)
    run = scene.prepare(operation)
    before = scene.rows()
    with at_statement(url, 0) as statements:
        run()
    undisturbed = scene.change(before)
    last = len(statements)
    points = range(1, last + 1) if thorough else [last]
    for number in points:
        run = scene.prepare(operation)
        before = scene.rows()
        with at_statement(url, number, server.crash), pytest.raises(DatabaseProblem):
            run()
        with pytest.raises(DatabaseProblem) as caught:
            run()
        assert "Check the URL, that the server runs" in caught.value.remedy
        server.recover()
        assert scene.rows() == before, "half done, or something committed is gone"
        run()
        assert scene.change(before) == undisturbed
    figure(
        f"PostgreSQL crash and recovery, {operation}",
        f"at {len(points)} statements: 0 half done, nothing committed lost",
    )


def hold_wallet(connection: Any, member_id: str) -> None:
    query = text("SELECT 1 FROM wallets WHERE member_id = :member FOR UPDATE")
    connection.execute(query, {"member": member_id})


def test_in_a_deadlock_the_ledger_gives_way_and_tries_again(server, make_scene):
    # Each side looks for a deadlock once in a wait. The other side never comes to it, so the ledger
    # gives way; it looks when both are sure to wait.
    url = server.make_database(deadlock_timeout="2s")
    scene = make_scene(url)
    world = scene.world
    joined = sorted((world.join(name) for name in ("lara", "mia")), key=lambda m: m[0].wallet_id)
    for member, identity in joined:
        world.hub.run(member, identity)
    world.clock.advance_ms(MINUTE_MS)
    for key in list(world.hub.servers):
        world.hub.stop(key)
    snapshot = world.hub.snapshot()
    (first, _), (second, _) = joined
    other = create_engine(url, poolclass=NullPool).connect()
    other.execute(text("SET LOCAL deadlock_timeout = '1h'"))
    hold_wallet(other, second.member_id)
    reports: list[Any] = []
    observing = threading.Thread(target=lambda: reports.append(world.ledger.observe(snapshot)))
    observing.start()
    eventually(lambda: server.waits_for_lock(url), "the ledger waits for the second wallet")
    hold_wallet(other, first.member_id)  # which the ledger had: it has given way
    other.rollback()
    other.close()
    observing.join(30)
    assert len(reports[0].ended) == 2
    assert count_kind(scene, "usage") == 2


def count_kind(scene: Scene, kind: str) -> int:
    return sum(row.kind == kind for row in scene.rows()["transactions"])


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_after_a_serialization_failure_it_is_tried_again(server, make_scene, isolation, figure):
    """An operator may have set a stricter isolation than the ledger needs."""
    url = server.make_database(default_transaction_isolation=isolation)
    scene = make_scene(url)
    member, _ = scene.world.join()
    outcomes: list[Any] = []

    def give() -> None:
        outcomes.append(scene.world.give(member, 5, key="grant-once"))

    other = create_engine(url, poolclass=NullPool).connect()
    hold_wallet(other, member.member_id)
    other.execute(text("UPDATE wallets SET percent_noticed = percent_noticed"))
    giving = threading.Thread(target=give)
    giving.start()
    eventually(lambda: server.waits_for_lock(url), "the grant waits for its wallet")
    other.commit()  # the grant's view of the wallet is stale now: it is undone and run again
    other.close()
    giving.join(30)
    give()
    assert outcomes[0] == outcomes[1]
    assert count_kind(scene, "topup") == 1
    figure(f"PostgreSQL serialization failure, {isolation}", "run again, booked once")


@pytest.mark.parametrize(
    "error",
    [
        errors.DeadlockDetected("deadlock detected"),
        errors.SerializationFailure("could not serialize access due to concurrent update"),
        errors.LockNotAvailable("canceling statement due to lock timeout"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_conflict_is_not_told_as_a_server_that_cannot_be_reached(error):
    problem = describe_failure(OperationalError("UPDATE wallets", {}, error))
    assert "cannot be reached" not in problem.message
    assert "again" in problem.remedy
