"""Ends that the cluster tells, before and after the hub does."""

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger.ends import ClusterEnd
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import EndSeen

from .conftest import CATALOGUE, HOUR_MS

MINUTE_MS = 60_000
RATE = 10_000  # grains a millisecond, of the profile gpu


def running(world, name="lara"):
    member, identity = world.join(name)
    key = world.hub.run(member, identity, "gpu")
    return member, key, session_id(world, key)


def session_id(world, key):
    return next(s for s in sessions(world) if s["start_key"] == key)["session_id"]


def sessions(world):
    with world.ledger._store.read() as connection:
        return connection.exec_driver_sql("select * from sessions").mappings().all()


def session(world, key):
    return next(s for s in sessions(world) if s["start_key"] == key)


def told(world, key):
    """The session's end as the books have it: reason, how long it ran, what it cost."""
    row = session(world, key)
    ran_ms = row["ended_ms"] - row["ready_ms"]
    assert row["charged_grains"] == RATE * ran_ms
    return row["end_reason"], ran_ms


def spent(world, member):
    return 100 * GRAINS_PER_TOKEN - world.balance(member)


def tell(world, session_id, reason="oom", *, ago_ms=0, **facts):
    ended_ms = world.clock.now_ms() - ago_ms
    return world.ledger.cluster.end([ClusterEnd(session_id, ended_ms, reason, **facts)])


def test_the_cluster_ends_a_session_and_the_hubs_word_changes_nothing(world):
    member, key, pod = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    world.clock.advance_ms(20_000)
    assert tell(world, pod, ago_ms=15_000).booked == (pod,)
    assert told(world, key) == ("oom", HOUR_MS + 5_000)
    # The hub has not noticed yet, and shows it alive.
    world.clock.advance_ms(10_000)
    report = world.hub.tell()
    assert report.sessions == ()
    assert len(sessions(world)) == 1
    world.clock.advance_ms(10_000)
    world.hub.stop(key)
    assert key in world.hub.tell().ended
    assert told(world, key) == ("oom", HOUR_MS + 5_000)
    assert spent(world, member) == RATE * (HOUR_MS + 5_000)


@pytest.mark.parametrize("books_moved_on", [False, True])
def test_the_hub_comes_first_and_the_cluster_knows_better(world, books_moved_on):
    member, key, pod = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    world.clock.advance_ms(30_000)
    ended_ms = world.clock.now_ms()
    world.hub.end(key, ended_ms)
    if books_moved_on:
        world.pass_time(HOUR_MS, step_ms=HOUR_MS)
    report = world.ledger.cluster.end([ClusterEnd(pod, ended_ms - 25_000, "evicted")])
    assert report.booked == (pod,)
    assert told(world, key) == ("evicted", HOUR_MS + 5_000)
    assert spent(world, member) == RATE * (HOUR_MS + 5_000)
    assert world.kinds(member)[-1] == "ended"


def test_an_end_told_twice_is_one_end(world):
    member, key, pod = running(world)
    world.clock.advance_ms(HOUR_MS)
    tell(world, pod, "node_lost", ago_ms=MINUTE_MS)
    again = tell(world, pod, "oom")
    assert again.booked == ()
    assert told(world, key) == ("node_lost", HOUR_MS - MINUTE_MS)
    assert world.kinds(member).count("ended") == 1


def test_an_end_learned_late_is_returned(world):
    member, key, pod = running(world)
    world.pass_time(2 * HOUR_MS, step_ms=30 * MINUTE_MS)  # an unreachable node looks alive
    assert spent(world, member) == RATE * 2 * HOUR_MS
    tell(world, pod, "node_lost", ago_ms=HOUR_MS)
    assert spent(world, member) == RATE * HOUR_MS


def test_what_was_refunded_is_not_returned_again(world):
    member, key, pod = running(world)
    world.pass_time(2 * HOUR_MS, step_ms=30 * MINUTE_MS)
    world.hub.end(key)
    world.ledger.refund_session(pod, actor="boss", reason="sorry", caller="boss", key="refund-key")
    tell(world, pod, "node_lost", ago_ms=HOUR_MS)
    assert spent(world, member) == 0


def test_a_lost_server_is_charged_to_where_the_cluster_saw_it_end(world):
    """The hub was away; it charged up to its last proof of life, and the pod lived on."""
    member, key, pod = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    world.clock.advance_ms(HOUR_MS)
    world.hub.vanish(key)
    world.hub.tell()
    assert told(world, key) == ("lost", HOUR_MS)
    tell(world, pod, "deleted", ago_ms=10 * MINUTE_MS)
    assert told(world, key) == ("deleted", HOUR_MS + 50 * MINUTE_MS)
    assert spent(world, member) == RATE * (HOUR_MS + 50 * MINUTE_MS)


def test_what_was_found_again_is_not_charged_twice(world):
    member, key, pod = running(world)
    world.clock.advance_ms(HOUR_MS)
    identity, *_ = world.hub.servers[key]
    world.hub.vanish(key)
    world.hub.tell()
    found_ms = world.clock.now_ms()
    world.hub.servers["start-again"] = [identity, "", found_ms]
    world.hub.tell()  # adopted
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    tell(world, pod, "oom")
    assert told(world, key) == ("oom", HOUR_MS)
    world.hub.end("start-again")
    assert spent(world, member) == RATE * HOUR_MS + 1_000 * HOUR_MS


def test_it_waits_for_the_hub_to_say_that_it_was_ready(world):
    """The service was away while a server became ready and ran out of memory."""
    member, identity = world.join()
    key = world.hub.start(member, identity, "gpu")
    pod = session_id(world, key)
    world.clock.advance_ms(HOUR_MS)
    report = tell(world, pod, "oom", ago_ms=10 * MINUTE_MS)
    assert (report.booked, report.waiting) == ((), 1)
    assert session(world, key)["ended_ms"] is None
    end = EndSeen(start_key=key, ready_age_ms=50 * MINUTE_MS, ended_age_ms=9 * MINUTE_MS)
    del world.hub.servers[key]
    world.hub.tell(ended=[end])
    assert world.ledger.cluster.end().booked == (pod,)
    assert told(world, key) == ("oom", 40 * MINUTE_MS)
    assert world.ledger.cluster.end() == type(report)()


def test_a_start_that_failed_costs_nothing_and_says_why(world):
    member, identity = world.join()
    key = world.hub.start(member, identity, "gpu")
    pod = session_id(world, key)
    tell(world, pod, "oom")
    end = EndSeen(start_key=key, ended_age_ms=0, reason="failed")
    del world.hub.servers[key]
    world.hub.tell(ended=[end])
    world.ledger.cluster.end()
    assert session(world, key)["end_reason"] == "oom"
    assert spent(world, member) == 0
    assert "ended" not in world.kinds(member)


def test_a_stop_by_the_hub_is_no_deletion(world):
    _, key, pod = running(world)
    world.clock.advance_ms(HOUR_MS)
    tell(world, pod, "deleted")
    world.hub.stop(key)
    world.hub.tell()
    assert told(world, key) == ("stopped", HOUR_MS)


def test_our_own_order_stays_the_reason(world):
    member, key, pod = running(world)
    world.ledger.set_frozen(member.member_id, frozen=True, actor="a", reason="r")
    world.clock.advance_ms(MINUTE_MS)
    tell(world, pod, "oom")
    assert session(world, key)["end_reason"] == "frozen"
    assert "ended" not in world.kinds(member)


@pytest.mark.parametrize(("ago_ms", "ran_ms"), [(5 * HOUR_MS, 0), (-HOUR_MS, HOUR_MS)])
def test_a_clock_that_is_wrong_is_bounded(world, ago_ms, ran_ms):
    _, key, pod = running(world)
    world.clock.advance_ms(HOUR_MS)
    tell(world, pod, ago_ms=ago_ms)
    assert told(world, key) == ("oom", ran_ms)


def test_of_an_instant_that_was_not_observed_the_later_sign_of_life_counts(world):
    _, key, pod = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    tell(world, pod, "deleted", ago_ms=10 * MINUTE_MS, exact=False)
    assert told(world, key) == ("deleted", HOUR_MS)


def test_a_pod_of_nobody_is_left_out(world):
    assert tell(world, "unknown").booked == ()
    assert world.ledger.cluster.end().waiting == 0


def test_a_spending_limit_counts_a_moved_end_once(world):
    limited = CATALOGUE.replace("{{title: Lapse, ", "{{title: Lapse, spend_per_day: 21, ")
    world.catalogue = parse_catalogue(limited.format(enforce="true", overrun="waive"), "test.yaml")
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    pod = session_id(world, key)
    world.clock.advance_ms(2 * HOUR_MS)
    world.hub.end(key)  # 20 tokens of the day's 21
    world.hub.run(member, identity, "cpu")
    tell(world, pod, ago_ms=HOUR_MS)  # 10 of them come back
    (cut,) = [s.cut_ms for s in world.ledger.wallet_view(member.member_id).sessions]
    assert cut == world.clock.now_ms() + 11 * HOUR_MS
