"""Clocks that jump: no negative interval, no notice twice, nothing renewed or stopped falsely.

Time truly passes on one clock; the machine's wall clock can be set apart from it. The hub
measures ages on its own monotonic clock, as the agent does. The books ask a guarded clock, or,
for the controls, the wall clock itself.
"""

import random

import pytest
from sqlalchemy import func, or_, select

from jhub_tokens.clock import ManualClock
from jhub_tokens.guarded_clock import GuardedClock
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.store import Store, open_engine
from tests.faults.worlds import new_worlds  # noqa: F401  (a fixture)
from tests.ledger.conftest import HOUR_MS

MINUTE_MS = 60_000
DAY_MS = 24 * HOUR_MS


class Wall:
    """A wall clock that somebody sets, beside the time that truly passes."""

    def __init__(self, truth):
        self.truth = truth
        self.ahead_ms = 0

    def now_ms(self):
        return self.truth.now_ms() + self.ahead_ms


class Ride:
    """A world whose books and hub do not share a clock."""

    def __init__(self, world, *, guarded):
        self.world = world
        self.truth = world.hub.clock = ManualClock(world.clock.now_ms())
        self.wall = Wall(self.truth)
        self.reports = []
        world.clock = self.wall
        if guarded:
            world.clock = GuardedClock(
                self.reports.append, wall=self.wall.now_ms, steady=self.truth.now_ms
            )
        world.ledger.close()
        self.ledger = world.ledger = world.hub.ledger = world.open()

    def pass_ms(self, duration_ms, step_ms=MINUTE_MS):
        """Let time pass, with snapshots and passes of the warden."""
        end_ms = self.truth.now_ms() + duration_ms
        while self.truth.now_ms() < end_ms:
            self.truth.advance_ms(min(step_ms, end_ms - self.truth.now_ms()))
            self.look()

    def look(self):
        self.world.hub.tell()
        self.ledger.advance_due()

    def jump(self, ahead_ms):
        self.wall.ahead_ms = ahead_ms

    def spent_ms(self, member, rate=10_000):
        """Return for how long the books charged, by the statement."""
        view = self.ledger.statement(member.member_id, 0, 1 << 42)
        used = sum(e.amount_grains for e in view.entries if e.kind in ("usage", "return"))
        return -used / rate

    def negative_intervals(self):
        e, s = schema.entries.c, schema.sessions.c
        store = Store(open_engine(self.world.url))
        with store.read() as connection:
            entries = select(func.count()).where(e.to_ms < e.from_ms)
            sessions = select(func.count()).where(
                or_(s.ended_ms < s.ready_ms, s.ready_ms < s.admitted_ms, s.charged_grains < 0)
            )
            found = connection.execute(entries).scalar() + connection.execute(sessions).scalar()
        store.close()
        return found


@pytest.fixture
def ride(new_world):
    return lambda *, guarded: Ride(new_world(), guarded=guarded)


def jumpy_life(ride, seed):
    """A server runs for three hours while the wall clock is set about; return what to compare."""
    chance = random.Random(seed)
    member, identity = ride.world.join()
    key = ride.world.hub.run(member, identity, "gpu")
    for _ in range(18):
        far_ms = chance.choice([3_000, 10 * MINUTE_MS, HOUR_MS, 3 * HOUR_MS])
        ride.jump(chance.choice([0, 1, -1]) * far_ms)
        ride.pass_ms(10 * MINUTE_MS, step_ms=chance.choice([30_000, 5 * MINUTE_MS]))
    ride.jump(HOUR_MS)
    ride.world.hub.end(key)
    return ride.spent_ms(member)


def test_the_wall_clock_jumps_and_time_is_charged_as_it_passed(ride, new_world, thorough, figure):
    rounds = 30 if thorough else 2
    for seed in range(rounds):
        made = ride(guarded=True)
        assert jumpy_life(made, seed) == 3 * HOUR_MS
        assert made.negative_intervals() == 0
        assert made.reports
    figure(
        f"a clock set forward and back, {new_world.database}",
        f"{rounds} lives of 3 h with 18 jumps, 0 ms charged wrongly, 0 negative intervals",
    )


def test_control_a_plain_clock_charges_jumps(ride, new_world, figure):
    """The books stay sound, but they believe what the clock says."""
    made = ride(guarded=False)
    spent_ms = jumpy_life(made, 1)
    assert made.negative_intervals() == 0
    assert spent_ms != 3 * HOUR_MS
    figure(
        f"control: the wall clock believed, {new_world.database}",
        f"3 h charged as {spent_ms / HOUR_MS:.2f} h",
    )


class EdgeWarner:
    """A naive warner: it speaks whenever the time left falls below a threshold."""

    def __init__(self, dry_ms):
        self.dry_ms = dry_ms
        self.left_ms = dry_ms
        self.said = 0

    def look(self, now_ms):
        before_ms, self.left_ms = self.left_ms, self.dry_ms - now_ms
        self.said += any(self.left_ms <= t < before_ms for t in (4 * MINUTE_MS, 30_000))


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "plain"])
def test_a_clock_set_back_says_nothing_twice(ride, guarded, new_world, figure):
    """A wallet is warned and its stop ordered; then the clock is set back and put right."""
    made = ride(guarded=guarded)
    member, identity = made.world.join("smith")
    made.world.hub.run(member, identity)  # two tokens, two hours
    naive = EdgeWarner(made.truth.now_ms() + 2 * HOUR_MS)
    made.pass_ms(HOUR_MS + 45 * MINUTE_MS, step_ms=5 * MINUTE_MS)
    naive.look(made.wall.now_ms())
    made.pass_ms(15 * MINUTE_MS - 20_000, step_ms=10_000)
    naive.look(made.wall.now_ms())
    (order,) = made.ledger.standing_stops()
    said, naive_said = made.world.kinds(member), naive.said
    for ahead_ms in (-20 * MINUTE_MS, 0, -3_000, 0, -HOUR_MS, 0):
        made.jump(ahead_ms)
        made.look()
        naive.look(made.wall.now_ms())
        made.truth.advance_ms(1_000)
        made.look()
    assert made.world.kinds(member) == said
    assert [stop.order_id for stop in made.ledger.standing_stops()] == [order.order_id]
    assert naive.said > naive_said == 1, "the control warns again"
    figure(
        f"a clock set back after a stop, {'guarded' if guarded else 'plain'}, {new_world.database}",
        f"0 notices said twice; a naive warner says {naive.said - naive_said} more",
    )


def leap(ride, *, then):
    """The clock leaps 40 days ahead; return whether anything came of it that is not true."""
    idle, _ = ride.world.join("idle")
    busy, identity = ride.world.join("busy")
    ride.world.hub.run(busy, identity)
    ride.pass_ms(5 * MINUTE_MS)
    before = [ride.ledger.periods(m.member_id) for m in (idle, busy)]
    ride.jump(40 * DAY_MS)
    ride.truth.advance_ms(1_000)
    then(ride, idle)
    ride.ledger.advance_due()
    stops = ride.ledger.standing_stops()
    ride.jump(0)
    ride.look()
    renewed = before != [ride.ledger.periods(m.member_id) for m in (idle, busy)]
    return renewed, bool(stops)


AFTER_THE_LEAP = {
    "silence": lambda ride, idle: None,
    "a-snapshot": lambda ride, idle: ride.world.hub.tell(),
    "a-credit": lambda ride, idle: ride.world.give(idle, 1),
}


@pytest.mark.parametrize("then", AFTER_THE_LEAP)
def test_a_leap_of_the_clock_renews_and_stops_nothing(ride, then):
    made = ride(guarded=True)
    assert leap(made, then=AFTER_THE_LEAP[then]) == (False, False)
    assert made.reports == [40 * DAY_MS, 0]


@pytest.mark.parametrize(
    ("then", "expected"),
    [("silence", (False, True)), ("a-snapshot", (True, True)), ("a-credit", (True, True))],
)
def test_control_what_a_plain_clock_lets_a_leap_do(ride, then, expected, new_world):
    """In silence it renews nothing, by the rule; but it orders stops, and a write is enough.

    The audit may tell that a wallet is looked at too late now: its next look is in the future
    that the clock had leapt to.
    """
    made = ride(guarded=False)
    assert leap(made, then=AFTER_THE_LEAP[then]) == expected
    assert all("is looked at again" in finding.message for finding in made.ledger.audit())
    new_world.let_go(made.world)


@pytest.mark.parametrize(("counted", "charged_ms"), [(True, HOUR_MS), (False, 0)])
def test_a_machine_suspended_for_an_hour(new_world, counted, charged_ms):
    """CLOCK_BOOTTIME counts the hour and it holds; CLOCK_MONOTONIC does not, and that is told."""
    world = new_world()
    wall, steady = ManualClock(world.clock.now_ms()), ManualClock()
    reports = []
    world.clock = GuardedClock(reports.append, wall=wall.now_ms, steady=steady.now_ms)
    world.ledger.close()
    world.ledger = world.hub.ledger = world.open()
    world.hub.clock = world.clock
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    wall.advance_ms(HOUR_MS)
    steady.advance_ms(HOUR_MS if counted else 0)
    world.hub.tell()
    world.ledger.advance_due()
    world.hub.end(key)
    spent = 100 * 3_600_000_000 - world.balance(member)
    assert spent == 10_000 * charged_ms
    assert reports == ([] if counted else [HOUR_MS])
