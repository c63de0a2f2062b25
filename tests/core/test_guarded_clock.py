"""The wall clock against the steady one: what is followed, what is reported, what is held."""

import time

import pytest

from jhub_tokens.clock import ManualClock
from jhub_tokens.guarded_clock import TOLERANCE_MS, GuardedClock, steady_ms

NOON_MS = 1_793_530_800_000
HOUR_MS = 3_600_000


class Machine:
    """Two clocks that pass together and can be set apart."""

    def __init__(self):
        self.wall = ManualClock(NOON_MS)
        self.steady = ManualClock(77_000)
        self.told = []
        self.clock = GuardedClock(
            self.told.append, wall=self.wall.now_ms, steady=self.steady.now_ms
        )

    def pass_ms(self, duration_ms):
        self.wall.advance_ms(duration_ms)
        self.steady.advance_ms(duration_ms)


@pytest.fixture
def machine():
    return Machine()


def test_it_tells_the_wall_clock_while_both_agree(machine):
    for _ in range(5):
        machine.pass_ms(HOUR_MS)
        assert machine.clock.now_ms() == machine.wall.now_ms()
    assert machine.told == []


def test_small_corrections_are_followed_but_never_back(machine):
    machine.wall.advance_ms(TOLERANCE_MS)
    assert machine.clock.now_ms() == NOON_MS + TOLERANCE_MS
    machine.wall.advance_ms(-500)
    assert machine.clock.now_ms() == NOON_MS + TOLERANCE_MS  # it stands still
    machine.pass_ms(600)
    assert machine.clock.now_ms() == NOON_MS + TOLERANCE_MS + 100
    assert machine.told == []


@pytest.mark.parametrize("jump_ms", [TOLERANCE_MS + 1, 40 * 24 * HOUR_MS, -HOUR_MS])
def test_a_jump_is_reported_once_and_time_goes_on_steadily(machine, jump_ms):
    machine.wall.advance_ms(jump_ms)
    for passed in range(1, 4):
        machine.pass_ms(30_000)
        assert machine.clock.now_ms() == NOON_MS + passed * 30_000
    assert machine.told == [jump_ms]
    assert machine.clock.disagreement_ms == jump_ms


def test_a_second_jump_and_the_way_back_are_reported(machine):
    for jump_ms in (HOUR_MS, HOUR_MS, -2 * HOUR_MS):
        machine.wall.advance_ms(jump_ms)
        assert machine.clock.now_ms() == NOON_MS
    assert machine.told == [HOUR_MS, 2 * HOUR_MS, 0]
    assert machine.clock.disagreement_ms == 0


def test_a_jump_within_the_tolerance_does_not_hide_in_many_looks(machine):
    machine.wall.advance_ms(TOLERANCE_MS * 3)
    times = [machine.clock.now_ms() for _ in range(10)]
    assert times == [NOON_MS] * 10


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
def test_an_operator_can_accept_the_wall_clock(machine, jump_ms):
    machine.wall.advance_ms(jump_ms)
    machine.clock.now_ms()
    machine.clock.accept()
    assert machine.clock.now_ms() == max(NOON_MS, NOON_MS + jump_ms)
    machine.pass_ms(2 * HOUR_MS)
    assert machine.clock.now_ms() == NOON_MS + jump_ms + 2 * HOUR_MS
    assert machine.told == [jump_ms, 0]


def test_whoever_is_told_may_ask_for_the_time():
    wall = ManualClock(NOON_MS)
    asked = []
    clock = GuardedClock(lambda _: asked.append(clock.now_ms()), wall=wall.now_ms, steady=int)
    wall.advance_ms(HOUR_MS)
    assert clock.now_ms() == NOON_MS
    assert asked == [NOON_MS]


def test_the_machines_own_clocks_agree():
    told = []
    clock = GuardedClock(told.append)
    assert abs(clock.now_ms() - time.time() * 1_000) < 5_000
    assert clock.now_ms() <= clock.now_ms()
    assert steady_ms() >= time.monotonic() * 1_000 - 5_000
    assert told == []
