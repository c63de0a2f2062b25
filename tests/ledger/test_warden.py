"""Warnings, stops, overrun and renewals as time passes."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from jhub_tokens.ledger.idle import LOOK_AGAIN_MS
from jhub_tokens.ledger.oversight_records import MemberFilter
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS

MINUTE_MS = 60_000


def notices(world, member, kind):
    return [n for n in world.ledger.notices(member.member_id, limit=1000) if n.kind == kind]


def low_members(world):
    found = world.ledger.oversight.members(MemberFilter(state="low"))
    return [row.member.member_id for row in found.rows]


def test_each_threshold_is_noticed_once_and_a_dry_wallet_stops(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")  # 100 tokens last ten hours
    dry_ms = world.clock.now_ms() + 10 * HOUR_MS
    world.pass_time(9 * HOUR_MS, step_ms=10 * MINUTE_MS)
    world.pass_time(HOUR_MS - 31_000, step_ms=MINUTE_MS)
    assert world.ledger.standing_stops() == ()
    world.pass_time(2_000, step_ms=1_000)
    (order,) = world.ledger.standing_stops()
    assert order.session.start_key == key
    assert order.issued_ms == dry_ms - 30_000  # when only the stop time is left
    world.pass_time(10_000, step_ms=1_000)
    assert len(world.ledger.standing_stops()) == 1
    world.hub.end(key)
    assert world.ledger.standing_stops() == ()
    assert world.kinds(member) == [
        "used_percent",
        "used_percent",
        *["time_left"] * 4,
        "last_warning",
        "stopped_dry",
    ]
    thresholds = [n.params["threshold_ms"] for n in notices(world, member, "time_left")]
    assert thresholds == [ms * MINUTE_MS for ms in (4, 5, 10, 30)]
    assert [n.params["percent"] for n in notices(world, member, "used_percent")] == [80, 50]
    assert world.balance(member) == 10_000 * 19_000  # what the stop left of its 30 seconds


def test_what_is_noticed_before_its_proof_is_booked_soon_after_it(world):
    member, identity = world.join()
    world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(8 * HOUR_MS)
    world.ledger.advance_due()
    assert len(notices(world, member, "used_percent")) == 1
    assert low_members(world) == [], "as booked"
    world.clock.advance_ms(1_000)
    world.hub.tell()
    world.clock.advance_ms(LOOK_AGAIN_MS)
    world.ledger.advance_due()
    assert low_members(world) == [member.member_id]


def test_the_latest_step_of_the_ladder_takes_the_place_of_the_earlier_ones(world):
    member, identity = world.join("smith")
    world.hub.run(member, identity)
    for left_ms, kind in ((9 * MINUTE_MS, "time_left"), (20_000, "stopped_dry")):
        world.clock.set_ms(world.ledger.wallet_view(member.member_id).dry_at_ms - left_ms)
        world.hub.tell()
        world.ledger.advance_due()
        unseen = world.ledger.notices(member.member_id, unseen_only=True)
        assert [n.kind for n in unseen if n.kind != "used_percent"] == [kind]


def shown_warnings(world, member):
    """What still stands on the member's pages of a stop to come, as minutes before it."""
    unseen = world.ledger.notices(member.member_id, unseen_only=True)
    return [n.params["threshold_ms"] // MINUTE_MS for n in unseen if "threshold_ms" in n.params]


@pytest.mark.parametrize("relief", ["top-up", "end"])
def test_a_warning_that_does_not_come_true_is_no_longer_shown(world, relief):
    member, identity = world.join("smith")  # two tokens, two hours
    other, other_identity = world.join("jones")
    key = world.hub.run(member, identity)
    world.hub.run(other, other_identity)
    world.pass_time(2 * HOUR_MS - 9 * MINUTE_MS, step_ms=MINUTE_MS)
    assert shown_warnings(world, member) == [10]
    if relief == "top-up":
        world.give(member, 1)
    else:
        world.hub.end(key)
    assert shown_warnings(world, member) == []
    assert shown_warnings(world, other) == [10], "nobody else's"


def test_a_top_up_that_does_not_last_warns_anew(world):
    member, identity = world.join("smith")
    world.hub.run(member, identity)
    world.pass_time(2 * HOUR_MS - 4 * MINUTE_MS, step_ms=MINUTE_MS)
    assert shown_warnings(world, member) == [4]
    world.give(member, 0.05)  # three minutes
    world.ledger.advance_due()
    assert shown_warnings(world, member) == [10]


def test_the_end_of_one_server_leaves_the_warning_of_another(world):
    member, identity = world.join()
    world.hub.run(member, identity, "gpu")
    key = world.hub.run(member, identity, "cpu", name="second")
    world.clock.set_ms(world.ledger.wallet_view(member.member_id).dry_at_ms - 9 * MINUTE_MS)
    world.hub.tell()
    world.ledger.advance_due()
    assert shown_warnings(world, member) == [10]
    world.hub.end(key)
    assert shown_warnings(world, member) == [10]


def test_a_warning_comes_at_its_instant(world):
    member, identity = world.join()
    world.hub.run(member, identity, "gpu")
    dry_ms = world.clock.now_ms() + 10 * HOUR_MS
    world.pass_time(9 * HOUR_MS, step_ms=HOUR_MS)
    world.pass_time(31 * MINUTE_MS, step_ms=MINUTE_MS)
    (warning,) = notices(world, member, "time_left")
    assert warning.params["dry_at_ms"] == dry_ms
    assert warning.created_ms == dry_ms - 30 * MINUTE_MS


def test_the_warden_is_told_when_to_look_again(world):
    member, identity = world.join()
    world.hub.run(member, identity, "gpu")
    started_ms = world.clock.now_ms()
    deadlines = []
    for _ in range(8):
        deadline_ms = world.ledger.advance_due().next_deadline_ms
        deadlines.append(deadline_ms - started_ms)
        world.clock.set_ms(deadline_ms)
        world.hub.tell()
    hours = 10 * HOUR_MS
    assert deadlines[:7] == [
        5 * HOUR_MS,  # 50 % used
        8 * HOUR_MS,  # 80 %
        hours - 30 * MINUTE_MS,
        hours - 10 * MINUTE_MS,
        hours - 5 * MINUTE_MS,
        hours - 4 * MINUTE_MS,
        hours - 150_000,  # grace and stop time are left: the last warning
    ]
    assert deadlines[7] == hours - 30_000


def test_a_top_up_revokes_the_stop_and_warns_again_later(world):
    member, identity = world.join("smith")  # two tokens, two hours
    world.hub.run(member, identity)
    world.pass_time(2 * HOUR_MS - 5 * MINUTE_MS, step_ms=5 * MINUTE_MS)
    world.pass_time(5 * MINUTE_MS - 20_000, step_ms=10_000)
    assert len(world.ledger.standing_stops()) == 1
    world.give(member, 1)
    assert world.ledger.standing_stops() == ()
    world.pass_time(HOUR_MS - 5 * MINUTE_MS, step_ms=5 * MINUTE_MS)
    world.pass_time(4 * MINUTE_MS)
    assert world.ledger.standing_stops() == ()
    world.pass_time(60_000)
    assert len(world.ledger.standing_stops()) == 1
    assert world.kinds(member).count("last_warning") == 2
    assert world.kinds(member).count("stopped_dry") == 2


def test_all_servers_of_a_dry_wallet_stop_together(world):
    member, identity = world.join()
    world.hub.run(member, identity, "gpu")
    world.hub.run(member, identity, "cpu", name="second")
    world.hub.run(member, identity, "free", name="third")
    world.clock.set_ms(world.ledger.wallet_view(member.member_id).dry_at_ms)
    world.hub.tell()
    world.ledger.advance_due()
    assert len(world.ledger.standing_stops()) == 3
    assert world.kinds(member).count("stopped_dry") == 1


def test_when_one_server_ends_the_others_may_run_on(world):
    member, identity = world.join("rosa")
    gpu = world.hub.run(member, identity, "gpu")
    world.hub.run(member, identity, "cpu", name="second")
    world.clock.set_ms(world.ledger.wallet_view(member.member_id).dry_at_ms - 20_000)
    world.hub.tell()
    world.ledger.advance_due()
    assert len(world.ledger.standing_stops()) == 2
    world.hub.end(gpu)
    assert world.ledger.standing_stops() == ()


def test_overrun_is_covered_exactly_and_shown(world):
    member, identity = world.join("smith")
    key = world.hub.run(member, identity)
    world.clock.advance_ms(3 * HOUR_MS)  # nobody stopped it in time
    world.hub.end(key)
    assert world.balance(member) == 0
    period = world.ledger.periods(member.member_id)[0]
    amounts = {
        e.kind: e.amount_grains // GRAINS_PER_TOKEN
        for e in world.ledger.statement(member.member_id, *period).entries
    }
    assert amounts == {"allotment": 2, "usage": -3, "overrun": 1}


@pytest.mark.parametrize(("took_ms", "late_ms"), [(20_000, 0), (95_000, 65_000)])
def test_a_stop_is_timed_and_what_came_late_is_overrun(world, took_ms, late_ms):
    member, identity = world.join("smith")  # one token an hour
    key = world.hub.run(member, identity)
    world.clock.set_ms(world.ledger.wallet_view(member.member_id).dry_at_ms - 30_000)
    world.hub.tell()
    world.ledger.advance_due()
    assert len(world.ledger.standing_stops()) == 1
    world.clock.advance_ms(took_ms)
    world.hub.stop(key)
    (ended,) = world.hub.tell().stops_ended
    assert (ended.reason, ended.took_ms, ended.late_ms) == ("dry", took_ms, late_ms)
    entries = world.ledger.statement(member.member_id, 0, 1 << 42).entries
    overrun = sum(e.amount_grains for e in entries if e.kind == "overrun")
    assert overrun == 1000 * late_ms, "one token an hour for as long as it was late"
    assert world.hub.tell().stops_ended == ()


@pytest.mark.parametrize(("overrun", "next_balance"), [("waive", 2), ("deduct", 1)])
def test_overrun_is_waived_or_deducted_by_policy(make_world, overrun, next_balance):
    world = make_world(overrun=overrun)
    member, identity = world.join("smith")
    key = world.hub.run(member, identity)
    world.clock.advance_ms(3 * HOUR_MS)
    world.hub.end(key)
    world.clock.set_ms(world.ledger.periods(member.member_id)[0][1])
    assert world.tokens(member) == next_balance
    world.hub.tell()
    world.ledger.advance_due()
    assert world.tokens(member) == next_balance


def test_shadow_mode_says_but_neither_refuses_nor_stops(make_world):
    world = make_world(enforce=False)
    member, identity = world.join("smith")
    world.give(member, -1.99, kind="adjustment")
    _, refusal = world.ledger.admit(
        member.member_id, server_name="", start_key="key-12345", profile="big"
    )
    assert refusal.code == "plan"
    world.hub.servers["key-12345"] = [identity, "", None]
    world.hub.ready("key-12345")
    world.pass_time(HOUR_MS)
    assert world.ledger.standing_stops() == ()
    assert world.kinds(member).count("would_stop") == 1
    assert world.balance(member) == 0
    world.hub.end("key-12345")
    assert world.ledger.wallet_view(member.member_id).used_grains == 30 * GRAINS_PER_TOKEN


def test_nobody_is_stopped_on_the_word_of_the_clock_alone(world):
    """Without a snapshot nothing is booked, but a stop is ordered by what is foreseen."""
    member, identity = world.join("smith")
    world.hub.run(member, identity)
    world.clock.advance_ms(5 * HOUR_MS)
    world.ledger.advance_due()
    assert len(world.ledger.standing_stops()) == 1
    assert world.ledger.totals()["consumed_grains"] == 0


# --- periods --------------------------------------------------------------------------------


def berlin(ms):
    return datetime.fromtimestamp(ms / 1000, ZoneInfo("Europe/Berlin")).isoformat()


def test_what_is_left_lapses_or_rolls_over_up_to_the_cap(world):
    lapser, _ = world.join()
    roller, identity = world.join("rolf")
    world.give(roller, 7)
    start, end = world.ledger.periods(roller.member_id)[0]
    assert (berlin(start), berlin(end)) == (
        "2026-11-01T00:00:00+01:00",
        "2026-12-01T00:00:00+01:00",
    )
    key = world.hub.run(roller, identity, "gpu")
    world.clock.advance_ms(3 * HOUR_MS)
    world.hub.end(key)
    world.clock.set_ms(end)
    assert (world.tokens(lapser), world.tokens(roller)) == (100, 157)  # foreseen
    world.hub.tell()
    assert world.ledger.advance_due().wallets == 2
    assert (world.tokens(lapser), world.tokens(roller)) == (100, 157)  # booked
    lines = world.ledger.statement(roller.member_id, start, end)
    assert [(e.kind, e.amount_grains // GRAINS_PER_TOKEN) for e in lines.entries] == [
        ("allotment", 100),
        ("topup", 7),
        ("usage", -30),
        ("expiry", -20),
    ]
    assert lines.closing_grains == 57 * GRAINS_PER_TOKEN
    following = world.ledger.statement(roller.member_id, *world.ledger.periods(roller.member_id)[0])
    assert following.opening_grains == lines.closing_grains
    # Unused again: allotment and rollover together roll over up to the cap.
    world.clock.set_ms(world.ledger.periods(roller.member_id)[0][1])
    world.hub.tell()
    assert world.tokens(roller) == 157


def test_a_run_across_the_renewal_burns_both_months(world):
    member, identity = world.join()
    end = world.ledger.periods(member.member_id)[0][1]
    world.clock.set_ms(end - HOUR_MS)
    world.hub.run(member, identity, "gpu")
    world.pass_time(3 * HOUR_MS, step_ms=10 * MINUTE_MS)
    assert world.tokens(member) == 80
    november, december = reversed(world.ledger.periods(member.member_id))
    used = [
        sum(e.amount_grains for e in world.ledger.statement(member.member_id, *p).entries
            if e.kind == "usage") // GRAINS_PER_TOKEN
        for p in (november, december)
    ]  # fmt: skip
    assert used == [-10, -20]


def test_a_renewal_that_waits_for_proof_of_life_is_booked_soon(world):
    member, identity = world.join()
    end = world.ledger.periods(member.member_id)[0][1]
    world.clock.set_ms(end - 4 * HOUR_MS)
    world.hub.run(member, identity, "gpu")
    world.clock.set_ms(end - 20_000)
    world.hub.tell()
    world.clock.set_ms(end)
    deadline_ms = world.ledger.advance_due().next_deadline_ms  # the last proof is 20 s old
    assert deadline_ms <= end + 5_000
    demoted = identity.model_copy(update={"name": "smith"})
    world.ledger.ensure_member(demoted)  # must not change the renewal that is due
    world.clock.set_ms(deadline_ms)
    world.hub.tell()
    world.ledger.advance_due()
    assert world.ledger.wallet_view(member.member_id).allotment_grains == 100 * GRAINS_PER_TOKEN
    assert world.ledger.member(member.member_id).plan == "lapse"


def test_a_renewal_revokes_the_stop_of_a_dry_wallet(world):
    member, identity = world.join("smith")
    end = world.ledger.periods(member.member_id)[0][1]
    world.clock.set_ms(end - 2 * HOUR_MS - MINUTE_MS)
    world.hub.run(member, identity)  # dry a minute before the new tokens come
    world.clock.set_ms(end - MINUTE_MS)
    world.hub.tell()
    world.ledger.advance_due()
    assert len(world.ledger.standing_stops()) == 1
    world.clock.set_ms(end + 1000)
    world.hub.tell()
    world.ledger.advance_due()
    assert world.ledger.standing_stops() == ()


def test_overrun_across_a_renewal_is_deducted_from_that_renewal(make_world):
    world = make_world(overrun="deduct")
    member, identity = world.join("smith")
    end = world.ledger.periods(member.member_id)[0][1]
    world.clock.set_ms(end - 3 * HOUR_MS)
    key = world.hub.run(member, identity)
    world.clock.set_ms(end + HOUR_MS // 2)
    world.hub.end(key)
    assert world.tokens(member) == 0.5  # 2, less 1 of overrun, less half an hour


def test_a_huge_plan_renews_like_any_other(world):
    plans = dict(world.catalogue.plans)
    plans["lapse"] = plans["lapse"].model_copy(update={"allotment_mtok": 2_000_000_000_000})
    world.catalogue = world.catalogue.model_copy(update={"plans": plans})
    member, _ = world.join()
    for _ in range(3):
        world.clock.set_ms(world.ledger.periods(member.member_id)[0][1])
        world.hub.tell()
        world.ledger.advance_due()
        assert world.tokens(member) == 2_000_000_000
        period = world.ledger.periods(member.member_id)[0]
        assert world.ledger.statement(member.member_id, *period).opening_grains == 0


def test_renewals_left_for_the_next_pass_are_due_at_once(world):
    members = [world.join(f"m{n}")[0] for n in range(5)]
    world.clock.set_ms(world.ledger.periods(members[0].member_id)[0][1])
    world.hub.tell()
    for left in (3, 1):
        report = world.ledger.advance_due(limit=2)
        assert report.wallets == 2
        assert report.next_deadline_ms <= world.clock.now_ms(), f"{left} are left"
    assert world.ledger.advance_due(limit=2).next_deadline_ms > world.clock.now_ms()


def test_a_wallet_idle_for_years_renews_when_it_is_needed(world):
    member, identity = world.join()
    world.clock.advance_ms(3 * 365 * 24 * HOUR_MS)
    assert world.tokens(member) == 100
    key = world.hub.run(member, identity)
    world.hub.end(key)
    assert world.tokens(member) == 100
    assert len(world.ledger.periods(member.member_id)) == 36


def test_no_hub_no_renewal(world):
    """A clock that jumps forward without a hub to confirm it expires nothing."""
    world.join()
    world.hub.tell()
    world.clock.advance_ms(40 * 24 * HOUR_MS)
    assert world.ledger.advance_due().wallets == 0
    world.hub.tell()
    assert world.ledger.advance_due().wallets == 1
    assert world.ledger.advance_due().wallets == 0


def test_a_changed_rule_holds_from_the_next_period(world):
    member, identity = world.join()
    promoted = identity.model_copy(update={"name": "smith"})  # also a rename
    assert world.ledger.ensure_member(promoted).plan == "lapse"
    assert world.tokens(member) == 100
    world.clock.set_ms(world.ledger.periods(member.member_id)[0][1])
    world.hub.tell()
    world.ledger.advance_due()
    assert world.ledger.member(member.member_id).plan == "small"
    assert world.tokens(member) == 2


def test_a_plan_that_left_the_catalogue_keeps_its_terms(world):
    member, _ = world.join("rolf")
    plans = {k: v for k, v in world.catalogue.plans.items() if k != "roll"}
    world.catalogue = world.catalogue.model_copy(update={"plans": plans, "assign": ()})
    world.ledger.admit(member.member_id, server_name="", start_key="key-12345", profile="gpu")
    world.clock.advance_ms(10_000)
    world.hub.tell()
    world.clock.set_ms(world.ledger.periods(member.member_id)[0][1])
    world.hub.tell()
    world.ledger.advance_due()
    assert world.tokens(member) == 150
