"""Usage by day, hour and session: cut exactly, and in sum what the statement says."""

import shutil
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS, World

ZONE = "Europe/Berlin"
DAY_MS = 24 * HOUR_MS
RATES = {"cpu": 1_000, "gpu": 10_000, "free": 0}


def usage(world, member, periods=1, zone=ZONE):
    spans = world.ledger.periods(member.member_id)[:periods]
    return world.ledger.usage.span(member.member_id, spans[-1][0], spans[0][1], zone)


def stated(world, member, *, kinds=("usage",)):
    """What the statements of all periods say was used, by session."""
    found = defaultdict(int)
    for span in world.ledger.periods(member.member_id):
        for entry in world.ledger.statement(member.member_id, *span).entries:
            if entry.kind in kinds:
                found[entry.session_id] -= entry.amount_grains
    return dict(found)


def by_the_clock(runs, now_ms, zone=ZONE):
    """The same by brute force: hour by hour of the calendar, what lies within it."""
    days, hours = defaultdict(int), defaultdict(int)
    for profile, ready_ms, ended_ms in runs:
        end_ms = now_ms if ended_ms is None else min(ended_ms, now_ms)
        at_ms = ready_ms
        while at_ms < end_ms:
            local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(
                ZoneInfo(zone)
            )
            until_ms = min(end_ms, at_ms - at_ms % HOUR_MS + HOUR_MS)
            part = RATES[profile] * (until_ms - at_ms)
            if part:
                days[local.date(), profile] += part
                hours[local.weekday(), local.hour] += part
            at_ms = until_ms
    return dict(days), dict(hours)


def positive(amounts):
    return {key: amount for key, amount in amounts.items() if amount}


def test_a_night_s_run_is_cut_at_midnight(world):
    member, identity = world.join()
    world.clock.advance_ms(13 * HOUR_MS)  # 23:00 on the first
    key = world.hub.run(member, identity, "gpu", "night")
    world.clock.advance_ms(2 * HOUR_MS + 1)
    world.hub.end(key)
    view = usage(world, member)
    assert view.days == {
        (date(2026, 11, 1), "gpu"): 10 * GRAINS_PER_TOKEN,
        (date(2026, 11, 2), "gpu"): 10 * GRAINS_PER_TOKEN + 10_000,
    }
    assert view.hours[6, 23] == view.hours[0, 0] == 10 * GRAINS_PER_TOKEN
    assert view.hours[0, 1] == 10_000
    (session,) = view.sessions
    assert (session.server_name, session.profile) == ("night", "gpu")
    assert session.used_grains == view.used_grains == 20 * GRAINS_PER_TOKEN + 10_000
    assert session.to_ms - session.from_ms == 2 * HOUR_MS + 1


def test_what_runs_is_counted_up_to_now(world):
    member, identity = world.join()
    world.hub.run(member, identity)
    world.clock.advance_ms(90 * 60_000)
    assert usage(world, member).used_grains == GRAINS_PER_TOKEN * 3 // 2


def test_what_came_back_is_told_beside(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    (session,) = usage(world, member).sessions
    world.ledger.refund_session(
        session.session_id,
        amount_grains=4 * GRAINS_PER_TOKEN,
        actor="admin",
        reason="a bad disk",
        caller="test",
        key="refund-1",
    )
    view = usage(world, member)
    assert (view.used_grains, view.returned_grains) == (
        10 * GRAINS_PER_TOKEN,
        4 * GRAINS_PER_TOKEN,
    )


def test_what_a_team_or_another_member_burns_is_not_counted(world):
    member, _ = world.join("lara")
    other, identity = world.join("rolf")
    world.hub.run(other, identity)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    view = usage(world, member)
    assert (view.used_grains, view.days, view.sessions) == (0, {}, ())


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "UTC"])
def test_any_zone_s_days_add_up(world, zone):
    member, identity = world.join()
    key = world.hub.run(member, identity)
    world.clock.advance_ms(30 * HOUR_MS + 12_345)
    world.hub.end(key)
    view = usage(world, member, zone=zone)
    assert sum(view.days.values()) == sum(view.hours.values()) == 1000 * (30 * HOUR_MS + 12_345)
    assert max(view.hours.values()) <= 2 * 1000 * HOUR_MS, "no hour of the week holds more"


def test_the_days_the_clocks_change(make_world):
    world = make_world()
    world.clock.set_ms(1_792_792_800_000)  # 2026-10-24 00:00 in Berlin, a day before
    member, identity = world.join()
    world.give(member, 10)
    world.hub.run(member, identity)
    world.clock.advance_ms(49 * HOUR_MS)
    view = usage(world, member, periods=2)
    assert view.days[date(2026, 10, 25), "cpu"] == 25 * GRAINS_PER_TOKEN
    assert view.hours[6, 2] == 2 * GRAINS_PER_TOKEN, "two o'clock came twice"


steps = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.sampled_from(sorted(RATES))),
        st.tuples(st.just("end"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.integers(1, 12 * DAY_MS)),
        st.tuples(st.just("book"), st.just(0)),
    ),
    min_size=3,
    max_size=14,
)


@pytest.fixture(scope="module")
def empty_books(tmp_path_factory):
    path = tmp_path_factory.mktemp("usage") / "empty.sqlite"
    World(f"sqlite:///{path}").ledger.close()
    return path


@given(steps=steps)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# Two servers at once share the millisecond in which the plan's tokens end; one runs over midnight.
@example(
    steps=[("run", "cpu"), ("run", "gpu"), ("run", "gpu"), ("wait", 17 * HOUR_MS), ("end", 1)],
)
def test_days_hours_and_sessions_come_to_the_statements(empty_books, tmp_path, steps):
    # Each example has its own books: what one that failed left open must not meet the next.
    path = Path(mkdtemp(dir=tmp_path)) / "books.sqlite"
    shutil.copy(empty_books, path)
    world = World(f"sqlite:///{path}")
    member, identity = world.join()
    world.give(member, 20_000)  # nothing runs dry: what the clock says is what is charged
    runs, open_keys = [], {}
    for what, value in steps:
        if what == "run" and len(open_keys) < 3:
            name = f"s{len(runs)}"
            open_keys[world.hub.run(member, identity, value, name)] = len(runs)
            runs.append([value, world.clock.now_ms(), None])
        elif what == "end" and open_keys:
            key = list(open_keys)[value % len(open_keys)]  # in the order of their starts
            runs[open_keys.pop(key)][2] = world.clock.now_ms()
            world.hub.end(key)
        elif what == "wait":
            world.clock.advance_ms(value)
            world.hub.tell()
        else:
            while world.ledger.advance_due().wallets:
                pass
    view = usage(world, member, periods=1000)
    days, hours = by_the_clock(runs, world.clock.now_ms())
    assert positive(view.days) == days
    assert positive(view.hours) == hours
    said = stated(world, member)
    assert view.used_grains == sum(view.days.values()) == sum(said.values())
    for session in view.sessions:
        assert session.used_grains == said[session.session_id]
    for span in world.ledger.periods(member.member_id):
        one = world.ledger.usage.span(member.member_id, *span, ZONE)
        entries = world.ledger.statement(member.member_id, *span).entries
        assert sum(one.days.values()) == -sum(e.amount_grains for e in entries if e.kind == "usage")
        for (day, _profile), amount in one.days.items():
            assert amount >= 0
            assert day in {key[0] for key in view.days}
    assert world.ledger.audit() == ()
    world.ledger.close()


def test_dry_and_overrun_use_is_counted_as_the_statement_does(world):
    member, identity = world.join("smith")
    key = world.hub.run(member, identity)
    world.clock.advance_ms(3 * HOUR_MS)  # two tokens, and an hour that nobody could pay
    world.hub.end(key)
    assert usage(world, member).used_grains == sum(stated(world, member).values())
    assert usage(world, member).used_grains == 3 * GRAINS_PER_TOKEN


def test_the_itemised_statement_says_which_grants_paid(world):
    member, identity = world.join()
    world.give(member, 30)
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(6 * HOUR_MS)
    world.hub.tell()
    world.give(member, 1)  # books what has run so far: still one segment
    world.clock.advance_ms(5 * HOUR_MS)
    world.hub.end(key)
    span = world.ledger.periods(member.member_id)[0]
    items = world.ledger.itemised(member.member_id, *span)
    ((session_id, segments),) = items.segments.items()
    assert [(s.source, s.amount_grains // GRAINS_PER_TOKEN) for s in segments] == [
        ("plan", 100),
        ("topup", 10),
    ]
    assert [s.to_ms - s.from_ms for s in segments] == [10 * HOUR_MS, HOUR_MS]
    (line,) = [e for e in items.view.entries if e.kind == "usage"]
    assert line.session_id == session_id
    assert -line.amount_grains == sum(s.amount_grains for s in segments)


def test_segments_of_what_runs_are_as_of_now(world):
    member, identity = world.join()
    world.hub.run(member, identity)
    world.clock.advance_ms(HOUR_MS)
    span = world.ledger.periods(member.member_id)[0]
    ((segment,),) = world.ledger.itemised(member.member_id, *span).segments.values()
    assert (segment.booked, segment.source, segment.expires_ms) == (False, "plan", span[1])
    assert segment.amount_grains == GRAINS_PER_TOKEN


def test_stamps_change_with_what_a_page_shows(world):
    member, identity = world.join()
    other, _ = world.join("rolf")
    ids = [member.member_id, other.member_id, "nobody"]
    before = world.ledger.wallet_stamps(ids)
    assert set(before) == {member.member_id, other.member_id}
    world.hub.tell()
    assert world.ledger.wallet_stamps(ids) == before, "a snapshot without news"

    def changed():
        nonlocal before
        after = world.ledger.wallet_stamps(ids)
        assert after[other.member_id] == before[other.member_id], "of this member only"
        was, before = before, after
        return after[member.member_id] != was[member.member_id]

    key = world.hub.start(member, identity)
    assert changed(), "a start"
    world.hub.ready(key)
    assert changed(), "ready"
    world.ledger.servers.ask_stop(member.member_id, "")
    assert changed(), "a stop that is asked for"
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    assert changed(), "an end"
    world.give(member, 1)
    assert changed(), "a grant, and its notice"
    notices = [n.notice_id for n in world.ledger.notices(member.member_id)]
    world.ledger.mark_notices_seen(member.member_id, notices)
    assert changed(), "notices that were read in another tab"
    world.ledger.set_frozen(member.member_id, frozen=True, actor="a", reason="because")
    assert changed(), "a freeze"
