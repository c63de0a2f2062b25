"""What a run tells about its end, and reports that are repeated until a receipt names them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jhub_tokens import wire
from jhub_tokens.hub.runs import REPORT_LIFETIME_S, Reports, Run

MEMBER = wire.Identity(hub_user_id=1, created="2026-01-01T00:00:00Z", name="ann")


def run(**values: Any) -> Run:
    given: dict[str, Any] = {
        "spawner": SimpleNamespace(orm_spawner=None),
        "member": MEMBER,
        "server_name": "",
        "start_key": "k" * 32,
        "phase": "ready",
        **values,
    }
    return Run(**given)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "failed"),
        ({"cancelled": True}, "cancelled"),
        ({"ready_at": 1.0, "alive_at": 2.0}, "exited"),
        ({"ready_at": 1.0, "alive_at": 2.0, "stopping": True}, "stopped"),
        ({"restored": True}, "lost"),
        ({"restored": True, "ready_at": 1.0, "alive_at": 2.0}, "exited"),
    ],
)
def test_why_it_ended(values: dict[str, Any], reason: str) -> None:
    assert run(**values).end_reason() == reason


def test_the_first_poll_that_finds_it_gone_is_the_end() -> None:
    one = run()
    one.polled(0, 1.0)
    assert one.died_at is None  # never alive: nothing that could have died
    one.polled(None, 2.0)
    one.polled(0, 3.0)
    one.polled(0, 4.0)
    assert (one.alive_at, one.died_at) == (2.0, 3.0)
    one.polled(None, 5.0)  # a stale look corrected
    assert (one.alive_at, one.died_at) == (5.0, None)


def test_ages_grow_while_a_message_waits() -> None:
    one = run(ready_at=10.0, alive_at=19.5)
    seen = one.seen(20.0)
    assert (seen.ready_age_ms, seen.alive_age_ms) == (10_000, 500)


def snapshot(reports: Reports, now: float) -> wire.Snapshot:
    return wire.Snapshot(epoch="e" * 8, sequence=1, **reports.fill(now))


def test_reports_are_repeated_until_named() -> None:
    reports = Reports()
    reports.ended("a" * 8, 4.0, 10.0, "stopped")
    reports.ended("a" * 8, 4.0, 99.0, "exited")  # a later look at the same end
    reports.cancelled("c" * 8)
    reports.member(MEMBER)
    reports.stop_failed("order", "why")
    first = snapshot(reports, 12.0)
    assert [(end.start_key, end.ended_age_ms, end.reason) for end in first.ended] == [
        ("a" * 8, 2000, "stopped")
    ]
    # A receipt that names nothing confirms only what needs no name.
    reports.received(first, wire.SnapshotReceipt())
    second = snapshot(reports, 13.0)
    assert [end.ended_age_ms for end in second.ended] == [3000]
    assert second.cancelled == ["c" * 8]
    assert not second.members
    assert not second.failed_stops
    reports.received(second, wire.SnapshotReceipt(ended=["a" * 8], cancelled=["c" * 8]))
    third = snapshot(reports, 14.0)
    assert not third.ended
    assert not third.cancelled


def test_what_changed_while_a_snapshot_was_under_way_is_told_again() -> None:
    reports = Reports()
    reports.member(MEMBER)
    reports.stop_failed("order", "first")
    under_way = snapshot(reports, 1.0)
    renamed = MEMBER.model_copy(update={"name": "anna"})
    reports.member(renamed)
    reports.stop_failed("order", "second")
    reports.received(under_way, wire.SnapshotReceipt())
    later = snapshot(reports, 2.0)
    assert later.members == [renamed]
    assert [failed.detail for failed in later.failed_stops] == ["second"]


def test_reports_do_not_pile_up_for_ever() -> None:
    reports = Reports()
    reports.ended("a" * 8, 4.0, 10.0, "stopped")
    assert snapshot(reports, 10.0 + REPORT_LIFETIME_S).ended
    assert not snapshot(reports, 11.0 + REPORT_LIFETIME_S).ended


def test_a_snapshot_that_was_held_up_is_older_by_that() -> None:
    server = run(ready_at=10.0, alive_at=19.0).seen(20.0)
    end = wire.EndSeen(start_key="e" * 8, ended_age_ms=100)
    sent = wire.Snapshot(
        epoch="e" * 8, sequence=1, age_ms=5, sent_at_ms=50_000, servers=[server], ended=[end]
    )
    assert sent.counted_to(50_900) is sent  # an ordinary journey
    assert sent.counted_to(40_000) is sent  # the service's clock was set back
    late = sent.counted_to(3_650_000)
    assert late.age_ms == 3_600_005
    assert late.servers[0].alive_age_ms == 3_601_000
    assert late.servers[0].ready_age_ms == 3_610_000
    assert late.ended[0].ended_age_ms == 3_600_100
    unknown = sent.model_copy(update={"sent_at_ms": None})
    assert unknown.counted_to(3_650_000) is unknown
