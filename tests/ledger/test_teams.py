"""Teams: who may spend from a shared wallet, up to what, and what happens when somebody leaves."""

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import LedgerError, NotAdmitted
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS

MINUTE_MS = 60_000
TEAMS = """
default_plan: own
zone: Europe/Berlin
adopt_profile: cpu
policy: {minimum_run: 5m, grace: 2m, stop_time: 30s, warn_before: [10m], warn_used_percent: [50]}
plans:
  own: {title: Own, tokens: 5, profiles: [cpu], max_servers: 2}
  pool: {title: Pool, tokens: 100, profiles: [cpu, gpu], max_servers: 3}
profiles:
  cpu: {title: CPU, rate: 1, cpu: 1, memory: 1G}
  gpu: {title: GPU, rate: 10, cpu: 1, memory: 1G, gpus: 1}
teams:
  physics: {title: Physics, group: phys, plan: pool, member_cap: 40, owners: [olga]}
"""


@pytest.fixture
def world(make_world):
    world = make_world()
    world.catalogue = parse_catalogue(TEAMS, "teams.yaml")
    return world


def join(world, name, *groups):
    identity = world.identity(name).model_copy(update={"groups": list(groups)})
    return world.ledger.ensure_member(identity), identity


def run(world, member, identity, profile="gpu", name="", **choice):
    key = world.hub.start(member, identity, profile, name, payer="physics", **choice)
    world.hub.ready(key)
    return key


def pool(world, member):
    (payer,) = world.ledger.payers(member.member_id)
    return payer


def orders(world):
    return [(o.session.start_key, o.reason) for o in world.ledger.standing_stops()]


def go_to(world, at_ms):
    world.clock.set_ms(at_ms)
    world.hub.tell()
    world.ledger.advance_due()


def test_the_team_pays_for_what_its_members_start_on_it(world):
    lara, identity = join(world, "lara", "phys")
    mia, other = join(world, "mia", "phys", "math")
    key = run(world, lara, identity)
    run(world, mia, other, "cpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    assert pool(world, lara).wallet.balance_grains == 89 * GRAINS_PER_TOKEN
    assert pool(world, lara).left_grains == 30 * GRAINS_PER_TOKEN
    assert pool(world, mia).left_grains == 39 * GRAINS_PER_TOKEN
    assert (world.tokens(lara), world.tokens(mia)) == (5, 5)


@pytest.mark.parametrize(("payer", "code"), [("physics", "not_in_team"), ("chess", "unknown_team")])
def test_who_is_not_in_a_team_cannot_spend_from_it(world, payer, code):
    join(world, "lara", "phys")
    stranger, identity = join(world, "sven", "math")
    with pytest.raises(NotAdmitted) as refused:
        world.hub.start(stranger, identity, payer=payer)
    assert (refused.value.code, refused.value.field) == (code, "payer")
    assert world.ledger.payers(stranger.member_id) == ()


def test_the_cap_of_a_member_ends_a_run_like_a_dry_wallet(world):
    lara, identity = join(world, "lara", "phys")
    mia, other = join(world, "mia", "phys")
    mine, hers = run(world, lara, identity), run(world, mia, other, "cpu")
    cut_ms = world.clock.now_ms() + 4 * HOUR_MS  # 40 tokens at 10 an hour
    go_to(world, cut_ms - 10 * MINUTE_MS)
    go_to(world, cut_ms - 30_000)
    assert orders(world) == [(mine, "team_cap")]
    assert world.kinds(lara) == ["time_left", "stopped"]
    assert world.kinds(mia) == []
    world.clock.set_ms(cut_ms)
    world.hub.end(mine)
    with pytest.raises(NotAdmitted) as refused:
        world.hub.start(lara, identity, payer="physics")
    assert refused.value.code == "team_cap"
    world.ledger.set_team_cap("physics", lara.member_id, 41 * GRAINS_PER_TOKEN)
    run(world, lara, identity, "cpu")
    assert hers in world.hub.servers


def test_warnings_of_ones_own_tokens_and_of_a_team_s_stand_beside_each_other(world):
    lara, identity = join(world, "lara", "phys")
    world.hub.run(lara, identity, "cpu", name="own")  # five tokens of her own, five hours
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    run(world, lara, identity)  # her share of the team's, four hours
    go_to(world, world.clock.now_ms() + 4 * HOUR_MS - 9 * MINUTE_MS)

    def shown():
        unseen = world.ledger.notices(lara.member_id, unseen_only=True)
        return sorted(n.params.get("team", "") for n in unseen if n.kind == "time_left")

    assert shown() == ["", "physics"]
    world.give(lara, 1)
    assert shown() == ["physics"]


def test_a_dry_pool_stops_everybody_and_tells_the_owner(world):
    owner, _ = join(world, "olga")
    people = [join(world, name, "phys") for name in ("lara", "mia", "noor")]
    keys = {run(world, member, identity) for member, identity in people}
    dry_ms = world.clock.now_ms() + 100 * HOUR_MS // 30
    go_to(world, dry_ms - HOUR_MS)
    assert world.kinds(owner) == ["used_percent"]
    go_to(world, dry_ms - 30_000)
    assert set(orders(world)) == {(key, "dry") for key in keys}
    for member, _ in people:
        assert world.kinds(member) == ["stopped_dry"]
    # Whoever reads it has a balance of their own.
    for told in (owner, people[0][0]):
        (notice,) = world.ledger.notices(told.member_id)
        assert notice.params["team"] == "physics"


def test_what_is_about_one_s_own_tokens_names_no_team(world):
    lara, identity = join(world, "lara", "phys")
    world.hub.run(lara, identity, "cpu")
    go_to(world, world.clock.now_ms() + 3 * HOUR_MS)
    (notice,) = world.ledger.notices(lara.member_id)
    assert notice.kind == "used_percent" and "team" not in notice.params


def test_leaving_the_group_ends_the_run_after_the_grace_and_coming_back_saves_it(world):
    lara, identity = join(world, "lara", "phys")
    key = run(world, lara, identity)
    own = world.hub.run(lara, identity, "cpu", name="own")
    outside = identity.model_copy(update={"groups": []})

    def groups_are(known):
        world.hub.servers[key][0] = world.hub.servers[own][0] = known
        world.hub.tell(members=[known])

    groups_are(outside)
    left_ms = world.clock.now_ms()
    assert world.kinds(lara) == ["last_warning"]
    go_to(world, left_ms + MINUTE_MS)
    groups_are(identity)
    go_to(world, left_ms + 10 * MINUTE_MS)
    assert orders(world) == []
    groups_are(outside)
    go_to(world, world.clock.now_ms() + 2 * MINUTE_MS)
    assert orders(world) == [(key, "left_team")]
    with pytest.raises(NotAdmitted):
        world.hub.start(lara, outside, "cpu", payer="physics")


def test_a_freeze_stops_a_members_servers_whoever_pays(world):
    lara, identity = join(world, "lara", "phys")
    mia, other = join(world, "mia", "phys")
    mine = {run(world, lara, identity), world.hub.run(lara, identity, "cpu", name="own")}
    run(world, mia, other)
    world.ledger.set_frozen(lara.member_id, frozen=True, actor="admin", reason="leave")
    assert {key for key, _ in orders(world)} == mine
    world.ledger.set_frozen(lara.member_id, frozen=False, actor="admin", reason="back")
    assert orders(world) == []


def test_the_pool_renews_with_the_plan_that_the_catalogue_says_by_then(world):
    lara, _ = join(world, "lara", "phys")
    teams = {"physics": world.catalogue.teams["physics"].model_copy(update={"plan": "own"})}
    world.catalogue = world.catalogue.model_copy(update={"teams": teams})
    assert pool(world, lara).wallet.balance_grains == 100 * GRAINS_PER_TOKEN
    go_to(world, pool(world, lara).wallet.period_end_ms)
    assert pool(world, lara).wallet.balance_grains == 5 * GRAINS_PER_TOKEN


def test_a_cap_is_set_for_members_only(world):
    join(world, "lara", "phys")
    stranger, _ = join(world, "sven")
    for team, code in (("physics", "not_in_team"), ("chess", "unknown_team")):
        with pytest.raises(LedgerError) as refused:
            world.ledger.set_team_cap(team, stranger.member_id, 1)
        assert refused.value.code == code
