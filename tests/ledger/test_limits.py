"""Limits beside the balance: spending, the longest run, GPUs at a time."""

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import NotAdmitted
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS

MINUTE_MS = 60_000
LIMITS = """
default_plan: daily
zone: Europe/Berlin
adopt_profile: cpu
policy: {minimum_run: 5m, grace: 2m, stop_time: 30s, warn_before: [10m], warn_used_percent: []}
plans:
  daily:
    {title: Daily, tokens: 1000, profiles: [cpu, gpu, short], max_servers: 4, spend_per_day: 12}
  weekly: {title: Weekly, tokens: 1000, profiles: [cpu, gpu], max_servers: 4, spend_per_week: 12}
  gpus: {title: GPUs, tokens: 1000, profiles: [cpu, gpu], max_servers: 4, max_gpus: 3}
profiles:
  cpu: {title: CPU, rate: 1, cpu: 1, memory: 1G}
  gpu: {title: GPU, rate: 10, cpu: 1, memory: 1G, gpus: 2}
  short: {title: Short, rate: 1, cpu: 1, memory: 1G, max_run: 2h}
assign:
  - {members: [wim], plan: weekly}
  - {members: [gina], plan: gpus}
"""


@pytest.fixture
def world(make_world):
    world = make_world()
    world.catalogue = parse_catalogue(LIMITS, "limits.yaml")
    return world


def orders(world):
    return [(o.session.start_key, o.reason) for o in world.ledger.standing_stops()]


def go_to(world, at_ms):
    world.clock.set_ms(at_ms)
    world.hub.tell()
    world.ledger.advance_due()


@pytest.mark.parametrize(("name", "reason"), [("lara", "day_limit"), ("wim", "week_limit")])
def test_a_spending_limit_ends_a_run_like_a_dry_wallet(world, name, reason):
    member, identity = world.join(name)
    key = world.hub.run(member, identity, "gpu")
    began_ms = world.clock.now_ms()
    cut_ms = began_ms + 12 * HOUR_MS // 10  # 12 tokens at 10 an hour
    (stop_at_ms,) = world.hub.tell().stop_at_ms
    assert stop_at_ms == cut_ms - 30_000
    go_to(world, cut_ms - 10 * MINUTE_MS)
    (warning,) = world.ledger.notices(member.member_id)
    assert (warning.kind, warning.params["reason"]) == ("time_left", reason)
    go_to(world, cut_ms - 31_000)
    assert orders(world) == []
    go_to(world, cut_ms - 30_000)
    assert orders(world) == [(key, reason)]
    world.clock.set_ms(cut_ms)
    world.hub.end(key)
    with pytest.raises(NotAdmitted) as refused:
        world.hub.start(member, identity)
    assert refused.value.code == "spending_limit"
    assert refused.value.missing_grains == 7.5 * MINUTE_MS * 1000
    prospect = world.ledger.prospects(member.member_id, [world.catalogue.profiles["cpu"]])["cpu"]
    assert (prospect.carried, prospect.limit) == (False, reason)
    world.clock.set_ms(refused.value.until_ms)
    world.hub.run(member, identity)
    assert world.kinds(member)[-1] == "stopped"


def test_a_limit_begins_anew_while_a_server_runs(world):
    member, identity = world.join()
    key = world.hub.run(member, identity)  # one token an hour from ten o'clock on
    world.pass_time(24 * HOUR_MS, step_ms=HOUR_MS)
    assert orders(world) == []  # 14 tokens yesterday would be too many, 10 today are not
    world.clock.advance_ms(1)
    midnight_ms = world.clock.now_ms() - 10 * HOUR_MS - 1
    (stop_at_ms,) = world.hub.tell().stop_at_ms
    assert stop_at_ms == midnight_ms + 12 * HOUR_MS - 30_000
    assert key in world.hub.servers


def test_yesterdays_limit_stops_what_would_burn_too_much_before_midnight(world):
    member, identity = world.join()
    world.clock.advance_ms(20 * HOUR_MS)  # six in the morning: 18 hours are left of the day
    key = world.hub.run(member, identity)
    world.pass_time(12 * HOUR_MS - MINUTE_MS, step_ms=HOUR_MS)
    assert orders(world) == []
    go_to(world, world.clock.now_ms() + MINUTE_MS)
    assert orders(world) == [(key, "day_limit")]


def test_the_longest_run_of_a_profile_ends_a_run_and_of_two_the_shorter(world):
    member, identity = world.join()
    by_profile = world.hub.run(member, identity, "short")
    chosen = world.hub.start(member, identity, name="second", max_run_ms=HOUR_MS)
    world.clock.advance_ms(MINUTE_MS)
    world.hub.ready(chosen)  # counts from ready on
    began_ms = world.clock.now_ms()
    go_to(world, began_ms + HOUR_MS - 30_000)
    assert orders(world) == [(chosen, "max_run")]
    world.hub.end(chosen)
    assert orders(world) == []
    go_to(world, began_ms - MINUTE_MS + 2 * HOUR_MS - 30_000)
    assert orders(world) == [(by_profile, "max_run")]
    world.give(member, 1000)  # no balance changes that
    assert orders(world) == [(by_profile, "max_run")]


@pytest.mark.parametrize("longest_ms", [3 * HOUR_MS, 10, 0, -1])
def test_a_choice_of_run_time_has_bounds(world, longest_ms):
    member, identity = world.join()
    with pytest.raises(NotAdmitted) as refused:
        world.hub.start(member, identity, "short", max_run_ms=longest_ms)
    assert (refused.value.code, refused.value.field) == ("bad_choice", "max_run_ms")


def test_gpus_at_a_time(world):
    member, identity = world.join("gina")
    key = world.hub.run(member, identity, "gpu")
    world.hub.run(member, identity, "cpu", name="second")
    with pytest.raises(NotAdmitted) as refused:
        world.hub.start(member, identity, "gpu", name="third")
    assert refused.value.code == "gpus"
    world.hub.end(key)
    world.hub.run(member, identity, "gpu", name="third")


def test_shadow_mode_says_that_a_limit_is_reached_but_stops_nothing(world):
    world.catalogue = world.catalogue.model_copy(update={"enforce": False})
    member, identity = world.join()
    world.hub.run(member, identity, "gpu")
    world.pass_time(2 * HOUR_MS, step_ms=MINUTE_MS)
    assert orders(world) == []
    assert world.kinds(member).count("would_stop") == 1
    assert world.ledger.wallet_view(member.member_id).used_grains == 20 * GRAINS_PER_TOKEN
