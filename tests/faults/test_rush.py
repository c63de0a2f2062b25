"""Midnight: thousands renew at once and many run dry in the same second.

Time is virtual: a pass of the warden takes `PASS_MS`, whatever the machine does. What burns goes
first, so a stop waits for passes with stops alone; late stops cost what the formula says.
"""

import time
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.store import Store, open_engine
from tests.faults.crowd import Copies
from tests.faults.worlds import new_worlds, one_world  # noqa: F401  (fixtures)
from tests.ledger.conftest import HOUR_MS

BATCH = 200
PASS_MS = 500
STOP_TIME_MS = 30_000
STOPPING_MS = 42_000  # the servers take longer to stop than they were given
DAY_MS = 24 * HOUR_MS
RATE = 10_000
SHORT = {"SQLite": (2_000, 50), "PostgreSQL": (1_000, 50)}
# The audit of all of them has to fit into the time that one test may take.
THOROUGH = {"SQLite": (100_000, 1_000), "PostgreSQL": (20_000, 1_000)}
PASSES_MAX = 60


@dataclass
class Runner:
    """A wallet that runs dry in the second of the rush."""

    key: str
    member: object
    dry_ms: int

    @property
    def due_ms(self):
        return self.dry_ms - STOP_TIME_MS


def runners_for(world, count, midnight_ms):
    """Start `count` servers whose stops are due within the first second after midnight."""
    joined = [world.join(f"runner-{number}") for number in range(count)]
    lasts_ms = 10 * HOUR_MS  # 100 tokens at 10 an hour
    world.clock.set_ms(midnight_ms + STOP_TIME_MS - lasts_ms - 1_000)
    runners = []
    for number, (member, identity) in enumerate(joined):
        key = world.hub.start(member, identity, "gpu")
        ready_ms = midnight_ms + STOP_TIME_MS - lasts_ms + number * 137 % 1_000
        world.hub.servers[key][2] = ready_ms
        runners.append(Runner(key, member, ready_ms + lasts_ms))
    world.clock.advance_ms(2_000)
    world.hub.tell()
    # Their warnings are given as the night goes on.
    for left_ms in (5 * HOUR_MS, 2 * HOUR_MS, *(m * 60_000 for m in (30, 10, 5, 4, 2, 1))):
        world.clock.set_ms(midnight_ms - left_ms)
        world.hub.tell()
        while world.ledger.advance_due(BATCH).wallets:
            pass
    return runners


def naive_lateness_ms(world, midnight_ms):
    """How late stops would be if wallets were taken by deadline alone, from the same rows."""
    wallets = schema.wallets.c
    store = Store(open_engine(world.url))
    with store.read() as connection:
        query = select(wallets.next_deadline_ms, wallets.open_sessions)
        waiting = sorted(tuple(row) for row in connection.execute(query))
    store.close()
    now_ms, late = midnight_ms, []
    while waiting and waiting[0][0] <= now_ms:
        batch = [row for row in waiting[:BATCH] if row[0] <= now_ms]
        del waiting[: len(batch)]
        late += [now_ms - due_ms for due_ms, burning in batch if burning]
        now_ms += PASS_MS
    return late


def p99(values):
    return sorted(values)[(len(values) * 99 - 1) // 100]


@pytest.mark.slow_on_postgresql
def test_stops_come_first_when_everybody_renews(world, new_world, thorough, figure):
    renewals, dry = (THOROUGH if thorough else SHORT)[new_world.database]
    idle, _ = world.join("idle")
    midnight_ms = world.ledger.wallet_view(idle.member_id).period_end_ms
    Copies(world.url, idle.member_id).make(renewals - 1)
    world.clock.advance_ms(10 * DAY_MS)  # the others' months begin on another day
    runners = runners_for(world, dry, midnight_ms)

    world.clock.set_ms(midnight_ms)
    world.hub.tell()
    naive_late = naive_lateness_ms(world, midnight_ms)
    passes = handled = 0
    begun = time.perf_counter()
    while passes < PASSES_MAX:
        report = world.ledger.advance_due(BATCH)
        handled += report.wallets
        passes += 1
        if not report.wallets:
            break
        world.clock.advance_ms(PASS_MS)
    took_s = time.perf_counter() - begun

    orders = {order.session.start_key: order for order in world.ledger.standing_stops()}
    assert set(orders) == {runner.key for runner in runners}
    late = [orders[runner.key].issued_ms - runner.due_ms for runner in runners]
    allowed_ms = -(-dry // BATCH) * PASS_MS
    assert min(late) >= 0
    assert max(late) < allowed_ms
    assert len(naive_late) == dry
    assert max(naive_late) >= allowed_ms, "the control passes: nobody was in the way"
    assert handled >= min(renewals, BATCH * (PASSES_MAX - 10))
    figure(
        f"stops at midnight, {new_world.database}",
        f"{dry} dry in one second among {renewals} renewals: p99 ordered {p99(late)} ms after "
        f"it was due, {STOP_TIME_MS - p99(late)} ms before the wallet was dry",
    )
    figure(f"control: by deadline alone, {new_world.database}", f"p99 {p99(naive_late)} ms after")
    figure(
        f"the warden's pace at midnight, {new_world.database}",
        f"{handled} wallets in {took_s:.1f} s, {handled / took_s:.0f} a second (this machine)",
    )
    overruns = end_late(world, runners, orders)
    assert overruns == [
        (orders[runner.key].issued_ms + STOPPING_MS - runner.dry_ms) * RATE for runner in runners
    ]
    assert min(overruns) > 0
    figure(
        f"overrun of late stops, {new_world.database}",
        f"{len(overruns)} wallets, each exactly (end − dry) × rate",
    )


def end_late(world, runners, orders):
    """End each server `STOPPING_MS` after its order; return what was overrun, by runner."""
    latest_ms = max(order.issued_ms for order in orders.values()) + STOPPING_MS
    world.clock.set_ms(max(latest_ms, world.clock.now_ms()))
    for runner in runners:
        world.hub.stop(runner.key, orders[runner.key].issued_ms + STOPPING_MS)
    world.hub.tell()
    grants, wallets = schema.grants.c, schema.wallets.c
    query = (
        select(wallets.member_id, grants.granted_grains)
        .join_from(schema.grants, schema.wallets)
        .where(grants.source == "overrun")
    )
    store = Store(open_engine(world.url))
    with store.read() as connection:
        found = {}
        for member_id, granted in connection.execute(query):
            found[member_id] = found.get(member_id, 0) + granted
    store.close()
    return [found[runner.member.member_id] for runner in runners]
