"""Break-glass: what ran while the service was away is metered afterwards, exactly and once."""

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.store import Store, open_engine
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import ActTold, BreakGlassReport, StartTold

from .conftest import HOUR_MS
from .test_teams import TEAMS, join

MINUTE_MS = 60_000
CPU_MTOK_H = 1_000
ACT = "act-of-the-test"


class Outage:
    """A hub that lets starts through, and tells of it as often as it is asked to."""

    def __init__(self, world):
        self.world = world
        self.began_ms = world.clock.now_ms()
        self.ended_ms = None
        self.runs = {}

    def start(self, identity, key="through-1", **facts):
        now_ms = self.world.clock.now_ms()
        self.runs[key] = {
            "member": identity, "profile": "cpu", "rate_mtok_h": CPU_MTOK_H,
            "started": now_ms, **facts,
        }  # fmt: skip
        return key

    def mark(self, key, what):
        self.runs[key][what] = self.world.clock.now_ms()

    def report(self):
        now_ms = self.world.clock.now_ms()

        def age(at_ms):
            return None if at_ms is None else now_ms - at_ms

        starts = []
        for key, run in self.runs.items():
            facts = dict(run)
            ages = {
                f"{what}_age_ms": age(facts.pop(what, None))
                for what in ("started", "ready", "ended")
            }
            alive = None if ages["ready_age_ms"] is None else ages["ended_age_ms"] or 0
            starts.append(StartTold(start_key=key, act_id=ACT, alive_age_ms=alive, **ages, **facts))
        act = ActTold(
            act_id=ACT, opened_age_ms=now_ms - self.began_ms, duration_ms=HOUR_MS,
            actor="root (says: olga)", how="command", reason="a class",
            ended_age_ms=age(self.ended_ms), ended_by="root" if self.ended_ms else "",
        )  # fmt: skip
        return BreakGlassReport(acts=[act], starts=starts)

    def tell(self):
        return self.world.ledger.break_glass.take(self.report())


@pytest.fixture
def outage(world):
    return Outage(world)


def run(outage, identity, minutes, *, key="through-1", end=True, **facts):
    """Start, be ready a minute later, and run so long."""
    outage.start(identity, key, **facts)
    outage.world.clock.advance_ms(MINUTE_MS)
    outage.mark(key, "ready")
    outage.world.clock.advance_ms(minutes * MINUTE_MS)
    if end:
        outage.mark(key, "ended")


def spent(world, member):
    return 100 * GRAINS_PER_TOKEN - world.balance(member)


@pytest.mark.parametrize("settled", [False, True], ids=["not settled", "settled meanwhile"])
def test_a_run_within_the_outage_costs_rate_times_time_and_once(world, outage, settled):
    member, identity = world.join()
    run(outage, identity, 30)
    world.clock.advance_ms(10 * MINUTE_MS)
    if settled:  # an operation on the wallet settles it to now, beyond the whole run
        world.give(member, 1)
        world.give(member, -1, kind="adjustment")
    for _ in range(3):
        taken = outage.tell()
        assert (taken.acts, taken.starts) == ((ACT,), ("through-1",))
        world.clock.advance_ms(MINUTE_MS)
        world.ledger.advance_due()
    assert spent(world, member) == CPU_MTOK_H * 30 * MINUTE_MS
    assert world.ledger.wallet_view(member.member_id).sessions == ()


@pytest.mark.parametrize("settled", [False, True], ids=["not settled", "settled meanwhile"])
def test_a_server_that_runs_on_is_metered_from_its_true_ready_instant(world, outage, settled):
    member, identity = world.join()
    run(outage, identity, 30, end=False)
    if settled:
        world.give(member, 1)
        world.give(member, -1, kind="adjustment")
    outage.tell()
    world.hub.servers["through-1"] = [identity, "", outage.runs["through-1"]["ready"]]
    world.pass_time(10 * MINUTE_MS)
    outage.tell()  # once more, between snapshots
    world.hub.end("through-1")
    assert spent(world, member) == CPU_MTOK_H * 40 * MINUTE_MS
    outage.mark("through-1", "ended")
    outage.tell()
    assert spent(world, member) == CPU_MTOK_H * 40 * MINUTE_MS


def test_an_end_that_only_a_later_report_tells(world, outage):
    member, identity = world.join()
    run(outage, identity, 30, end=False)
    outage.tell()
    world.clock.advance_ms(10 * MINUTE_MS)
    outage.mark("through-1", "ended")
    world.give(member, 1)
    world.give(member, -1, kind="adjustment")
    world.clock.advance_ms(10 * MINUTE_MS)
    outage.tell()
    assert spent(world, member) == CPU_MTOK_H * 40 * MINUTE_MS


def test_one_that_never_became_ready_is_free(world, outage):
    member, identity = world.join()
    outage.start(identity)
    world.clock.advance_ms(MINUTE_MS)
    outage.mark("through-1", "ended")
    outage.runs["through-1"]["reason"] = "failed"
    outage.tell()
    world.ledger.advance_due()
    assert spent(world, member) == 0


def test_one_that_is_starting_when_told_is_metered_from_ready(world, outage):
    member, identity = world.join()
    key = outage.start(identity)
    outage.tell()
    world.hub.servers[key] = [identity, "", None]
    world.pass_time(MINUTE_MS)
    world.hub.ready(key)
    world.pass_time(10 * MINUTE_MS)
    world.hub.end(key)
    assert spent(world, member) == CPU_MTOK_H * 10 * MINUTE_MS


def test_a_newcomer_of_the_outage_is_metered_from_before_joining(world, outage):
    identity = world.identity("newcomer")
    run(outage, identity, 30)
    outage.tell()
    member = world.ledger.member_by_name("newcomer")
    assert spent(world, member) == CPU_MTOK_H * 30 * MINUTE_MS


def test_the_rate_is_that_of_the_start_even_if_the_profile_has_gone(world, outage):
    member, identity = world.join()
    run(outage, identity, 30, profile="of-yesterday", rate_mtok_h=3_000)
    outage.tell()
    assert spent(world, member) == 3_000 * 30 * MINUTE_MS


@pytest.mark.parametrize("overrun", ["waive", "deduct"])
@pytest.mark.parametrize("settled", [False, True])
def test_overdraw_goes_the_way_of_overrun(make_world, overrun, settled):
    world = make_world(overrun=overrun)
    member, identity = world.join("smith")  # 2 tokens
    outage = Outage(world)
    run(outage, identity, 180)
    if settled:
        world.give(member, 1)
        world.give(member, -1, kind="adjustment")
    outage.tell()
    assert world.balance(member) == 0
    [act] = world.ledger.break_glass.acts()
    assert act.starts[0].charged_grains == CPU_MTOK_H * 180 * MINUTE_MS
    store = Store(open_engine(world.url))
    with store.read() as connection:
        debt = connection.execute(schema.wallets.select()).mappings().one()["debt_grains"]
    store.close()
    assert debt == (GRAINS_PER_TOKEN if overrun == "deduct" else 0)


def test_waived_until_the_service_is_back(world, outage):
    policy = world.catalogue.policy.model_copy(update={"break_glass": "waive"})
    world.catalogue = world.catalogue.model_copy(update={"policy": policy})
    member, identity = world.join()
    run(outage, identity, 30, key="through-1")
    run(outage, identity, 30, key="through-2", end=False, server_name="two")
    outage.tell()
    assert spent(world, member) == 0
    # The server goes on under the key that it knows, and is metered from here.
    world.hub.servers["through-2"] = [identity, "two", outage.runs["through-2"]["ready"]]
    world.pass_time(10 * MINUTE_MS)
    outage.tell()
    world.hub.vanish("through-2")
    world.hub.tell()
    assert spent(world, member) == CPU_MTOK_H * 10 * MINUTE_MS
    [act] = world.ledger.break_glass.acts()
    assert [start.charged for start in act.starts] == [False, False]
    now_ms = world.clock.now_ms()
    entries = world.ledger.statement(member.member_id, outage.began_ms, now_ms + 1).entries
    waived = [entry for entry in entries if entry.waived]
    assert [entry.amount_grains for entry in waived] == [0, 0]
    assert all(entry.break_glass for entry in waived)


def test_the_act_is_recorded_once_and_for_good(world, outage):
    member, identity = world.join()
    run(outage, identity, 30)
    outage.tell()
    outage.ended_ms = world.clock.now_ms()
    world.clock.advance_ms(MINUTE_MS)
    outage.tell()
    world.clock.advance_ms(MINUTE_MS)
    outage.tell()
    [act] = world.ledger.break_glass.acts()
    assert (act.opened_ms, act.until_ms) == (outage.began_ms, outage.began_ms + HOUR_MS)
    assert (act.ended_ms, act.ended_by) == (outage.ended_ms, "root")
    assert (act.actor, act.reason, act.profiles) == ("root (says: olga)", "a class", None)
    [start] = act.starts
    assert (start.name, start.charged) == (member.name, True)
    now_ms = world.clock.now_ms()
    entries = world.ledger.statement(member.member_id, outage.began_ms, now_ms + 1).entries
    assert [e.break_glass for e in entries if e.kind == "usage"] == [True]
    store = Store(open_engine(world.url))
    for table in (schema.break_glass_acts, schema.break_glass_ends, schema.break_glass_starts):
        for change in (delete(table), update(table).values(told_ms=0)):
            with pytest.raises(DBAPIError, match="append-only"), store.write() as connection:
                connection.execute(change)
    store.close()


@pytest.mark.parametrize(
    ("groups", "payer", "team_pays"),
    [("phys", "physics", True), ("phys", None, False), ("math", "physics", False),
     ("phys", "no-such-team", False)],
    ids=["chosen", "not chosen", "not a member of it", "no such team"],
)  # fmt: skip
def test_a_team_pays_if_it_was_chosen_and_may_be(make_world, groups, payer, team_pays):
    world = make_world()
    world.catalogue = parse_catalogue(TEAMS, "teams.yaml")
    olga, _ = join(world, "olga", "phys")
    member, identity = join(world, "lara", groups)
    outage = Outage(world)
    run(outage, identity, 30, payer=payer)
    outage.tell()
    (team,) = world.ledger.payers(olga.member_id)
    cost = CPU_MTOK_H * 30 * MINUTE_MS
    assert 100 * GRAINS_PER_TOKEN - team.wallet.balance_grains == (cost if team_pays else 0)
    assert 5 * GRAINS_PER_TOKEN - world.balance(member) == (0 if team_pays else cost)


def test_a_member_frozen_meanwhile_is_stopped(world, outage):
    member, identity = world.join()
    run(outage, identity, 30, end=False)
    world.ledger.set_frozen(member.member_id, frozen=True, actor="admin", reason="a test")
    outage.tell()
    world.hub.servers["through-1"] = [identity, "", outage.runs["through-1"]["ready"]]
    world.pass_time(MINUTE_MS)
    [order] = world.ledger.standing_stops()
    assert order.reason == "frozen"
    world.hub.end("through-1")
