"""Admission, metering and ends, told as a hub tells them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from jhub_tokens.ledger import LedgerError, NotAdmitted
from jhub_tokens.ledger.store import Store, open_engine
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import EndSeen, ServerSeen

from .conftest import HOUR_MS

MINUTE_MS = 60_000


def refused(world, member, identity, profile="cpu", **choice):
    before = world.balance(member)
    with pytest.raises(NotAdmitted) as refusal:
        world.hub.start(member, identity, profile, **choice)
    assert world.balance(member) == before
    assert not world.ledger.wallet_view(member.member_id).sessions
    return refusal.value


def test_a_run_costs_rate_times_time_to_the_millisecond(world):
    member, identity = world.join()
    key = world.hub.start(member, identity, "gpu")
    world.clock.advance_ms(90_000)  # waiting for a node is free
    world.hub.ready(key)
    world.clock.advance_ms(1_234_567)
    world.hub.end(key)
    assert world.balance(member) == 100 * GRAINS_PER_TOKEN - 10_000 * 1_234_567


def test_two_servers_burn_together(world):
    member, identity = world.join()
    world.hub.run(member, identity, "gpu")
    world.hub.run(member, identity, "cpu", name="second")
    world.clock.advance_ms(HOUR_MS)
    view = world.ledger.wallet_view(member.member_id)
    assert view.burn_mtok_h == 11_000
    assert view.balance_grains == 89 * GRAINS_PER_TOKEN
    assert view.dry_at_ms == world.clock.now_ms() + 89 * HOUR_MS // 11


@pytest.mark.parametrize(
    ("choice", "code", "field"),
    [
        ({"profile": "big"}, "plan", None),
        ({"profile": "nope"}, "unknown_profile", "profile"),
        ({"profile": ""}, "unknown_profile", "profile"),
        ({"image": "nope"}, "unknown_image", "image"),
        ({"image": "old"}, "retired_image", "image"),
        ({"profile": "gpu", "image": "cpu-only"}, "bad_choice", "image"),
        ({"gpu_model": "T4"}, "bad_choice", "gpu_model"),
        ({"profile": "gpu", "gpu_model": "H100"}, "bad_choice", "gpu_model"),
    ],
)
def test_what_is_not_on_offer_is_refused_and_leaves_nothing(world, choice, code, field):
    member, identity = world.join()
    refusal = refused(world, member, identity, **choice)
    assert (refusal.code, refusal.field) == (code, field)


def test_a_retiring_image_retires_on_its_day(world):
    member, identity = world.join()
    key = world.hub.start(member, identity, image="leaving")
    world.hub.ready(key)
    world.hub.end(key)
    world.pass_time(60 * 24 * HOUR_MS, step_ms=24 * HOUR_MS)
    assert refused(world, member, identity, image="leaving").code == "retired_image"


def test_a_balance_that_cannot_carry_the_start_is_told_what_is_missing(world):
    member, identity = world.join("smith")  # 2 tokens; a CPU start needs 7.5 minutes of 1 token/h
    world.give(member, -1.9, kind="adjustment")
    refusal = refused(world, member, identity)
    assert refusal.code == "balance"
    assert refusal.missing_grains == 1000 * 450_000 - GRAINS_PER_TOKEN // 10
    world.give(member, refusal.missing_grains / GRAINS_PER_TOKEN)
    world.hub.run(member, identity)


def test_open_sessions_keep_their_needs(world):
    """A second start may not take what the first was admitted on."""
    member, identity = world.join()
    world.give(member, -98, kind="adjustment")  # 2 left: one GPU start needs 1.25
    world.hub.start(member, identity, "gpu")
    with pytest.raises(NotAdmitted) as refusal:
        world.hub.start(member, identity, "gpu", name="second")
    assert refusal.value.code == "balance"
    world.hub.start(member, identity, "cpu", name="third")


def test_too_many_servers(world):
    member, identity = world.join("smith")
    world.hub.run(member, identity)
    with pytest.raises(NotAdmitted) as refusal:
        world.hub.start(member, identity, name="second")
    assert refusal.value.code == "limit"
    # The same name again: the hub runs one server of a name, so the first must be over.
    world.hub.start(member, identity)
    world.hub.servers.clear()
    world.clock.advance_ms(10_000)
    world.hub.tell()


def test_a_free_profile_needs_and_costs_nothing(world):
    member, identity = world.join()
    world.give(member, -100, kind="adjustment")
    key = world.hub.run(member, identity, "free")
    world.pass_time(HOUR_MS, step_ms=10 * MINUTE_MS)
    assert world.ledger.wallet_view(member.member_id).dry_at_ms is None
    world.hub.end(key)
    assert world.balance(member) == 0


def test_frozen_members_start_nothing_and_stop(world):
    member, identity = world.join()
    key = world.hub.run(member, identity)
    world.ledger.set_frozen(member.member_id, frozen=True, actor="admin", reason="unpaid")
    (order,) = world.ledger.standing_stops()
    assert (order.reason, order.session.start_key) == ("frozen", key)
    world.clock.advance_ms(5_000)
    world.hub.end(key)
    assert world.ledger.standing_stops() == ()
    assert refused(world, member, identity).code == "frozen"
    world.ledger.set_frozen(member.member_id, frozen=False, actor="admin", reason="paid")
    world.hub.run(member, identity)
    assert world.kinds(member) == ["frozen", "unfrozen"]


def test_thawing_revokes_the_stop_order(world):
    member, identity = world.join()
    world.hub.run(member, identity)
    world.ledger.set_frozen(member.member_id, frozen=True, actor="admin", reason="oops")
    world.ledger.set_frozen(member.member_id, frozen=False, actor="admin", reason="oops")
    assert world.ledger.standing_stops() == ()


# --- one start, however often it is told ----------------------------------------------------


def test_the_same_start_key_is_one_session(world):
    member, _ = world.join()
    choice = {"server_name": "", "start_key": "key-12345", "profile": "cpu"}
    first, _ = world.ledger.admit(member.member_id, **choice)
    again, _ = world.ledger.admit(member.member_id, **choice)
    assert first == again
    with pytest.raises(LedgerError) as conflict:
        world.ledger.admit(member.member_id, **{**choice, "profile": "gpu"})
    assert conflict.value.code == "idempotency_conflict"


def test_a_cancelled_start_refuses_its_delayed_admission(world):
    member, _ = world.join()
    world.hub.tell(cancelled=["key-12345"])
    with pytest.raises(NotAdmitted) as refusal:
        world.ledger.admit(member.member_id, server_name="", start_key="key-12345", profile="cpu")
    assert refusal.value.code == "cancelled"


def test_a_failed_start_costs_nothing(world):
    member, identity = world.join()
    key = world.hub.start(member, identity, "gpu")
    world.clock.advance_ms(5 * MINUTE_MS)
    del world.hub.servers[key]
    world.hub.tell(ended=[EndSeen(start_key=key, ended_age_ms=0, reason="failed")])
    assert world.tokens(member) == 100
    assert not world.ledger.wallet_view(member.member_id).sessions


def test_a_start_that_the_hub_forgot_weighs_on_nothing(world):
    member, identity = world.join()
    key = world.hub.start(member, identity)
    world.hub.vanish(key)
    world.hub.tell()  # the list may have been taken before the admission: not yet
    assert world.ledger.wallet_view(member.member_id).sessions
    world.clock.advance_ms(6_000)
    world.hub.tell()
    assert not world.ledger.wallet_view(member.member_id).sessions
    assert world.tokens(member) == 100


def test_n_starts_at_once_on_a_balance_for_k_admit_k(world):
    member, _ = world.join("rosa")
    world.catalogue = world.catalogue.model_copy(
        update={
            "plans": {
                **world.catalogue.plans,
                "roll": world.catalogue.plans["roll"].model_copy(update={"max_servers": 99}),
            }
        }
    )
    world.give(member, -96, kind="adjustment")  # 4 tokens carry three GPU starts of 1.25
    books = [world.open() for _ in range(2)]
    barrier = threading.Barrier(8)

    def start(index):
        barrier.wait()
        try:
            books[index % 2].admit(
                member.member_id,
                server_name=f"s{index}",
                start_key=f"key-at-once-{index}",
                profile="gpu",
            )
        except NotAdmitted as refusal:
            return refusal.code
        return "admitted"

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(start, range(8)))
    assert answers == ["admitted"] * 3 + ["balance"] * 5
    for ledger in books:
        ledger.close()


# --- facts that come late, twice or never ---------------------------------------------------


def test_a_lost_ready_report_is_repaired_by_the_next_snapshot(world):
    member, identity = world.join()
    key = world.hub.start(member, identity)
    world.clock.advance_ms(10_000)
    world.hub.servers[key][2] = world.clock.now_ms()  # ready, but the report is lost
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    assert world.tokens(member) == 99


def test_a_top_up_before_the_ready_report_loses_none_of_the_run(world):
    member, identity = world.join()
    key = world.hub.start(member, identity)
    world.clock.advance_ms(10_000)
    world.hub.servers[key][2] = world.clock.now_ms()
    world.clock.advance_ms(HOUR_MS)
    world.give(member, 5)  # must not settle the hour in which the start may have become ready
    world.hub.tell()
    assert world.tokens(member) == 104


def test_a_service_that_was_away_charges_for_all_of_it(world):
    member, identity = world.join()
    world.hub.run(member, identity)
    world.clock.advance_ms(5 * HOUR_MS)  # no snapshot, no warden
    world.ledger.advance_due()
    world.hub.tell()
    world.ledger.close()
    world.ledger = world.hub.ledger = world.open()
    assert world.tokens(member) == 95


def test_a_run_that_began_and_ended_while_the_service_was_away_is_charged(world):
    member, identity = world.join()
    key = world.hub.start(member, identity, "gpu")
    world.clock.advance_ms(10_000)
    world.hub.servers[key][2] = world.clock.now_ms()
    world.clock.advance_ms(HOUR_MS)
    world.hub.stop(key)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    assert world.tokens(member) == 90


def test_a_server_that_died_unseen_is_charged_to_its_last_proof_of_life(world):
    member, identity = world.join()
    key = world.hub.run(member, identity)
    world.pass_time(HOUR_MS, step_ms=10 * MINUTE_MS)
    world.clock.advance_ms(HOUR_MS)
    world.hub.vanish(key)
    world.hub.restart()
    world.hub.tell()
    assert world.tokens(member) == 99
    (usage,) = usages(world, member)
    assert usage.end_reason == "lost"


def test_an_end_learned_late_is_returned(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()  # a stale poll: it had ended half an hour before
    world.give(member, 1)  # has the hour booked
    world.hub.end(key, world.clock.now_ms() - HOUR_MS // 2)
    assert world.tokens(member) == 96
    lines = world.ledger.statement(member.member_id, *world.ledger.periods(member.member_id)[0])
    assert [e.amount_grains // GRAINS_PER_TOKEN for e in lines.entries if e.kind == "return"] == [5]


def test_a_return_of_what_expired_lasts_to_the_periods_end(world):
    member, identity = world.join()
    world.clock.set_ms(world.ledger.periods(member.member_id)[0][1] - HOUR_MS)
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(2 * HOUR_MS)  # one hour before the renewal, one after
    world.hub.tell()
    world.give(member, 1)
    world.hub.end(key, world.clock.now_ms() - 2 * HOUR_MS)
    view = world.ledger.wallet_view(member.member_id)
    assert view.balance_grains == 111 * GRAINS_PER_TOKEN  # 100, 1 given, 10 of November
    (refund,) = [g for g in view.grants if g.source == "refund"]
    assert refund.expires_ms == view.period_end_ms
    world.clock.set_ms(view.period_end_ms + 1)
    world.hub.tell()
    assert world.tokens(member) == 101


def test_a_return_of_overrun_takes_the_cover_back_first(world):
    member, identity = world.join("smith")  # two tokens
    key = world.hub.run(member, identity)
    world.clock.advance_ms(3 * HOUR_MS)
    world.hub.tell()
    world.ledger.advance_due()  # books three hours, one of them covered
    assert world.ledger.totals()["overrun_grains"] == GRAINS_PER_TOKEN
    world.hub.end(key, world.clock.now_ms() - 2 * HOUR_MS)
    assert world.tokens(member) == 1
    assert world.ledger.totals()["overrun_grains"] == 0
    assert world.ledger.totals()["consumed_grains"] == GRAINS_PER_TOKEN


def test_an_end_is_told_twice_and_booked_once(world):
    member, identity = world.join()
    key = world.hub.run(member, identity)
    world.clock.advance_ms(HOUR_MS)
    del world.hub.servers[key]
    for _ in range(3):
        report = world.hub.tell(ended=[EndSeen(start_key=key, ended_age_ms=0)])
        assert report.ended == (key,)
        world.clock.advance_ms(HOUR_MS)
    assert world.tokens(member) == 99


def test_a_late_snapshot_proves_nothing(world):
    member, identity = world.join()
    before = world.hub.snapshot()
    key = world.hub.run(member, identity)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    world.ledger.observe(before)  # it does not show the server, but it is old
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    assert world.tokens(member) == 98
    after = world.hub.snapshot()
    world.hub.restart()
    world.hub.end(key)
    world.ledger.observe(after)  # shows it alive, from the hub's former life
    assert not world.ledger.wallet_view(member.member_id).sessions


def test_a_server_without_a_session_is_metered_from_when_it_is_seen(world):
    member, identity = world.join()
    server = ServerSeen(
        member=identity, started="2026-11-01T09:00:00", ready_age_ms=0, alive_age_ms=0, profile="x"
    )
    (adopted,) = world.hub.tell(servers=[server]).sessions
    assert adopted.profile == "cpu"  # the catalogue's adopt_profile
    assert adopted.start_key.startswith("adopted-")
    world.clock.advance_ms(HOUR_MS)
    # After a restart of the hub it has no key yet: known by member, name and start time.
    world.hub.restart()
    (again,) = world.hub.tell(servers=[server]).sessions
    assert again.session_id == adopted.session_id
    assert world.tokens(member) == 99
    gpu = server.model_copy(update={"server_name": "b", "profile": "gpu"})
    assert {s.profile for s in world.hub.tell(servers=[server, gpu]).sessions} == {"cpu", "gpu"}


def test_a_server_with_a_spent_key_is_one_adopted_session(world):
    member, identity = world.join()
    key = world.hub.run(member, identity)
    server = world.hub.servers.pop(key)
    world.clock.advance_ms(10_000)
    world.hub.tell()  # one snapshot lacked it: ended at its last proof of life
    world.hub.servers[key] = server
    sessions = set()
    for _ in range(4):
        world.clock.advance_ms(HOUR_MS)
        sessions |= {s.session_id for s in world.hub.tell().sessions}
    assert len(sessions) == 1
    assert world.tokens(member) == 97


def test_hubs_that_share_the_books_have_names(world):
    member, identity = world.join()
    world.hub.name = "east"
    key = world.hub.run(member, identity)
    world.pass_time(HOUR_MS, step_ms=10 * MINUTE_MS)
    assert world.tokens(member) == 99
    world.hub.end(key)


def test_a_frozen_members_adopted_server_is_stopped(world):
    member, identity = world.join()
    world.ledger.set_frozen(member.member_id, frozen=True, actor="admin", reason="unpaid")
    world.hub.tell(servers=[ServerSeen(member=identity, ready_age_ms=0, alive_age_ms=0)])
    (order,) = world.ledger.standing_stops()
    assert order.reason == "frozen"


def test_a_freeze_outlasts_a_top_up(world):
    member, identity = world.join("smith")
    world.hub.run(member, identity)
    world.clock.set_ms(world.ledger.wallet_view(member.member_id).dry_at_ms)
    world.hub.tell()
    world.ledger.advance_due()
    world.ledger.set_frozen(member.member_id, frozen=True, actor="admin", reason="unpaid")
    world.give(member, 5)
    (order,) = world.ledger.standing_stops()
    assert order.reason == "frozen"


@pytest.mark.parametrize("step_ms", [3_000, 60_000])
def test_a_clock_that_steps_back_charges_nothing_wrong(world, step_ms):
    member, identity = world.join()
    world.give(member, 1)
    world.clock.advance_ms(-step_ms)
    key = world.hub.run(member, identity)
    world.clock.advance_ms(10_000)
    world.hub.end(key)
    assert world.balance(member) >= 101 * GRAINS_PER_TOKEN - 10_000 * 1_000
    world.clock.advance_ms(2 * step_ms)
    world.hub.tell()


def test_one_wallets_trouble_is_not_everybodys(world):
    broken, identity = world.join()
    sound, other = world.join("b")
    keys = [world.hub.run(broken, identity), world.hub.run(sound, other)]
    world.clock.advance_ms(HOUR_MS)
    for key in keys:
        world.hub.stop(key)
    with spoiled_terms(world, broken):
        report = world.hub.tell()
        assert report.ended == (keys[1],), "the broken one's end is told again"
        assert world.tokens(sound) == 99
        world.ledger.advance_due()
    assert world.hub.tell().ended == (keys[0],)
    assert world.tokens(broken) == 99


@contextmanager
def spoiled_terms(world, member):
    """A subscription that cannot be read, as after a repair by hand that went wrong."""
    store = Store(open_engine(world.url))
    change = "UPDATE subscriptions SET plan = :plan, zone = :zone WHERE member_id = :member"
    for plan, zone in (("lapse", "Nowhere/Land"), ("lapse", "Europe/Berlin")):
        with store.write() as connection:
            values = {"plan": plan, "zone": zone, "member": member.member_id}
            connection.execute(text(change), values)
        if zone == "Nowhere/Land":
            yield
    store.close()


def test_a_server_that_lives_on_after_its_end_was_booked_is_metered_again(world):
    member, identity = world.join()
    key = world.hub.run(member, identity)
    world.clock.advance_ms(HOUR_MS)
    server = world.hub.servers.pop(key)
    world.hub.tell(ended=[EndSeen(start_key=key, ended_age_ms=0)])
    world.clock.advance_ms(HOUR_MS)
    world.hub.servers[key] = server
    (again,) = world.hub.tell().sessions
    assert again.start_key != key
    world.clock.advance_ms(HOUR_MS)
    assert world.tokens(member) == 98


def test_claims_are_clamped_between_what_is_known_and_now(world):
    member, identity = world.join()
    key = world.hub.start(member, identity)
    world.clock.advance_ms(1000)
    world.hub.servers[key][2] = world.clock.now_ms() - HOUR_MS  # ready before it was admitted
    (session,) = world.hub.tell().sessions
    assert session.ready_ms == session.admitted_ms
    world.clock.advance_ms(HOUR_MS)
    world.hub.servers.pop(key)
    world.hub.tell(ended=[EndSeen(start_key=key, ended_age_ms=2 * HOUR_MS)])  # before it began
    assert world.tokens(member) == 100


def usages(world, member):
    period = world.ledger.periods(member.member_id)[0]
    view = world.ledger.statement(member.member_id, *period)
    return [entry for entry in view.entries if entry.kind == "usage"]
