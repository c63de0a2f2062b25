"""Changes of plan: now or later, trials, cancelling, and taking a change back."""

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import LedgerError
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS

DAY_MS = 24 * HOUR_MS
PLANS = """
default_plan: basic
zone: Europe/Berlin
adopt_profile: cpu
policy: {warn_expiry: 3d}
plans:
  basic: {title: Basic, tokens: 30, profiles: [cpu]}
  pro:
    title: Pro
    tokens: 90
    price: 20 EUR
    profiles: [cpu, gpu]
    max_servers: 3
    trial: {tokens: 5, duration: 7d}
  later: {title: Later, tokens: 300, upgrade: next, profiles: [cpu]}
  keeps: {title: Keeps, tokens: 10, rollover: 100, rollover_periods: 2, profiles: [cpu]}
profiles:
  cpu: {title: CPU, rate: 1, cpu: 1, memory: 1G}
  gpu: {title: GPU, rate: 10, cpu: 1, memory: 1G, gpus: 1}
assign:
  - {members: [pia], plan: pro}
  - {members: [karl], plan: keeps}
"""


@pytest.fixture
def world(make_world):
    world = make_world()
    world.catalogue = parse_catalogue(PLANS, "plans.yaml")
    return world


def change(world, member, plan, **options):
    return world.ledger.change_plan(member.member_id, plan, actor="admin", **options)


def renew(world, member):
    """Go to the beginning of the member's next period."""
    world.clock.set_ms(world.ledger.periods(member.member_id)[0][1])
    world.hub.tell()
    world.ledger.advance_due()


def plan_of(world, member):
    return world.ledger.member(member.member_id).plan


def test_an_upgrade_at_once_adds_the_difference_for_what_is_left(world):
    member, identity = world.join()
    start_ms, end_ms = world.ledger.periods(member.member_id)[0]
    world.clock.set_ms(start_ms + (end_ms - start_ms) * 2 // 3 + 1)
    change(world, member, "pro")
    # 60 tokens more in a month, a millisecond less than a third of it left: floored once.
    assert world.balance(member) == (30_000 + 19_999) * (GRAINS_PER_TOKEN // 1000)
    assert plan_of(world, member) == "pro"
    world.hub.run(member, identity, "gpu")  # which Basic has not
    renew(world, member)
    assert world.ledger.wallet_view(member.member_id).allotment_grains == 90 * GRAINS_PER_TOKEN
    assert "plan_changed" in world.kinds(member)


def test_rules_leave_a_chosen_plan_alone_until_they_may_decide_again(world):
    member, identity = world.join()
    change(world, member, "pro")
    renew(world, member)
    assert world.ledger.ensure_member(identity).plan == "pro"
    world.ledger.follow_rules(member.member_id)
    world.ledger.ensure_member(identity)
    renew(world, member)
    assert plan_of(world, member) == "basic"


def test_a_downgrade_waits_for_the_next_period_and_can_be_taken_back(world):
    member, identity = world.join("pia")
    waiting = change(world, member, "basic")
    assert waiting.at_ms == world.ledger.periods(member.member_id)[0][1]
    assert (waiting.applied_ms, world.tokens(member)) == (None, 90)
    revoked = world.ledger.revoke_change(member.member_id, waiting.change_id)
    assert revoked.revoked_ms == world.clock.now_ms()
    assert world.ledger.revoke_change(member.member_id, waiting.change_id) == revoked
    renew(world, member)
    assert (plan_of(world, member), world.tokens(member)) == ("pro", 90)
    again = change(world, member, "basic")
    renew(world, member)
    assert (plan_of(world, member), world.tokens(member)) == ("basic", 30)
    (done, _) = world.ledger.plan_changes(member.member_id)
    assert (done.change_id, done.applied_ms) == (again.change_id, world.clock.now_ms())
    with pytest.raises(LedgerError) as refused:
        world.ledger.revoke_change(member.member_id, again.change_id)
    assert refused.value.code == "change_done"


def test_the_latest_scheduled_change_takes_the_place_of_the_one_before(world):
    member, _ = world.join()
    first = change(world, member, "later")
    second = change(world, member, "pro", when="next")
    states = {c.change_id: c.revoked_ms for c in world.ledger.plan_changes(member.member_id)}
    assert states == {first.change_id: world.clock.now_ms(), second.change_id: None}
    renew(world, member)
    assert plan_of(world, member) == "pro"


def test_cancelling_lets_the_plan_end_with_its_period(world):
    member, identity = world.join("pia")
    world.ledger.cancel_plan(member.member_id, actor="pia")
    world.ledger.ensure_member(identity)  # the rules do not bring it back
    assert (plan_of(world, member), world.tokens(member)) == ("pro", 90)
    renew(world, member)
    assert (plan_of(world, member), world.tokens(member)) == ("basic", 30)
    with pytest.raises(LedgerError) as refused:
        world.ledger.cancel_plan(member.member_id, actor="pia")
    assert refused.value.code == "nothing_to_cancel"


def test_a_trial_lends_profiles_and_tokens_for_a_while_and_once(world):
    member, identity = world.join()
    world.ledger.start_trial(member.member_id, "pro", actor="lara")
    assert world.tokens(member) == 35
    key = world.hub.run(member, identity, "gpu")
    world.hub.end(key)
    world.clock.advance_ms(7 * DAY_MS)
    world.hub.tell()
    world.ledger.advance_due()
    assert world.tokens(member) == 30  # what the trial left has lapsed
    with pytest.raises(LedgerError) as refused:
        world.hub.start(member, identity, "gpu")
    assert refused.value.code == "plan"
    with pytest.raises(LedgerError) as refused:
        world.ledger.start_trial(member.member_id, "pro", actor="lara")
    assert refused.value.code == "tried_before"


@pytest.mark.parametrize(
    ("plan", "when", "code"),
    [
        ("gold", None, "unknown_plan"),
        ("basic", None, "same_plan"),
        ("keeps", "now", "not_an_upgrade"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(world, plan, when, code):
    member, _ = world.join()
    with pytest.raises(LedgerError) as refused:
        change(world, member, plan, when=when)
    assert refused.value.code == code
    assert world.ledger.plan_changes(member.member_id) == ()


def test_tokens_survive_as_many_renewals_as_the_plan_says(world):
    member, _ = world.join("karl")  # 10 a month; each token survives two renewals
    balances = []
    for _ in range(5):
        balances.append(world.tokens(member))
        renew(world, member)
    assert balances == [10, 20, 30, 30, 30]


def test_what_will_lapse_is_announced_once_and_renewal_said(world):
    member, _ = world.join()
    end_ms = world.ledger.periods(member.member_id)[0][1]
    world.clock.set_ms(end_ms - 4 * DAY_MS)
    world.hub.tell()
    world.clock.set_ms(world.ledger.advance_due().next_deadline_ms)
    assert world.clock.now_ms() == end_ms - 3 * DAY_MS
    for _ in range(2):
        world.hub.tell()
        world.ledger.advance_due()
        world.clock.advance_ms(HOUR_MS)
    (notice,) = world.ledger.notices(member.member_id)
    assert (notice.kind, notice.params["grains"]) == ("expiring", str(30 * GRAINS_PER_TOKEN))
    renew(world, member)
    assert world.kinds(member) == ["expiring", "renewed"]


def test_a_statement_begins_with_what_the_period_before_left(world):
    """The balance brought forward is right for every period, and between periods."""
    member, identity = world.join("karl")
    key = world.hub.run(member, identity)
    for _ in range(3):
        world.pass_time(31 * DAY_MS, step_ms=DAY_MS)
        world.give(member, 0.5)
    world.hub.end(key)
    periods = world.ledger.periods(member.member_id)
    assert len(periods) == 4
    closing = 0
    for start_ms, end_ms in reversed(periods):
        half_ms = (start_ms + end_ms) // 2
        for span in ((start_ms, half_ms), (half_ms, end_ms)):
            statement = world.ledger.statement(member.member_id, *span)
            assert statement.opening_grains == closing
            closing = statement.closing_grains
    assert closing == world.balance(member)
