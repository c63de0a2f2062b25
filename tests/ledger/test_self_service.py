"""What members do with their plan themselves: only what is open, once, and as it was told."""

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import LedgerError
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS
from .test_payments import event, fee

PLANS = """
default_plan: basic
adopt_profile: cpu
self_service: [SELF]
plans:
  basic: {title: Basic, tokens: 10, profiles: [cpu]}
  pro: {title: Pro, tokens: 110, profiles: [cpu, gpu], trial: {tokens: 3, duration: 2d}}
  late: {title: Late, tokens: 60, upgrade: next, profiles: [cpu]}
  paid: {title: Paid, tokens: 200, price: 10.00 EUR, profiles: [cpu]}
  closed: {title: Closed, tokens: 300, self_service: false, profiles: [cpu]}
profiles:
  cpu: {title: CPU, rate: 1, cpu: 1, memory: 1G}
  gpu: {title: GPU, rate: 10, cpu: 1, memory: 1G, gpus: 1}
"""


@pytest.fixture
def member_of(make_world):
    """Make a world with these acts open, and a member in it."""

    def make(*acts):
        world = make_world()
        world.catalogue = parse_catalogue(PLANS.replace("SELF", ", ".join(acts)), "plans.yaml")
        return world, world.join("lara")[0]

    return make


ALL = ("upgrade", "downgrade", "pause", "trial")


def open_acts(world, member):
    return {(c.act, c.plan) for c in world.ledger.self_service.choices(member.member_id).open}


def choose(world, member, act, plan, key="key-of-form-1", actor="lara"):
    books = world.ledger.self_service
    return books.choose(member.member_id, act, plan, actor=actor, key=key)


def refused(world, member, act, plan, **options):
    with pytest.raises(LedgerError) as refusal:
        choose(world, member, act, plan, **options)
    return refusal.value.code


def next_period(world, member):
    world.clock.set_ms(world.ledger.wallet_view(member.member_id).period_end_ms + HOUR_MS)
    world.hub.tell()
    world.ledger.advance_due()


def test_nothing_is_open_unless_the_catalogue_says_so(member_of):
    world, member = member_of()
    assert open_acts(world, member) == set()
    assert refused(world, member, "upgrade", "pro") == "not_open"


def test_what_is_open_and_what_never_is(member_of):
    world, member = member_of(*ALL)
    assert open_acts(world, member) == {
        ("upgrade", "pro"), ("upgrade", "late"), ("trial", "pro"),
    }  # fmt: skip
    assert refused(world, member, "upgrade", "paid") == "not_open", "it is paid for"
    assert refused(world, member, "upgrade", "closed") == "not_open"
    assert refused(world, member, "downgrade", "pro") == "not_open", "another act than is open"
    assert refused(world, member, "upgrade", "gone") == "unknown_plan"
    world.ledger.set_frozen(member.member_id, frozen=True, actor="boss", reason="for a test")
    assert open_acts(world, member) == set()


def test_an_upgrade_comes_to_what_was_told_and_counts_once(member_of):
    world, member = member_of(*ALL)
    start = world.ledger.wallet_view(member.member_id)
    half_ms = (start.period_start_ms + start.period_end_ms) // 2
    world.clock.set_ms(half_ms)
    world.hub.tell()
    told = world.ledger.self_service.choices(member.member_id).find("upgrade", "pro")
    assert told.at_once and told.added_grains == 50 * GRAINS_PER_TOKEN
    done = choose(world, member, "upgrade", "pro")
    assert choose(world, member, "upgrade", "pro") == done, "a double click"
    assert world.tokens(member) == 60
    assert refused(world, member, "trial", "pro") == "idempotency_conflict"
    assert len(world.ledger.plan_changes(member.member_id)) == 1


def test_what_waits_can_be_taken_back_by_whoever_wanted_it(member_of):
    world, member = member_of(*ALL)
    told = world.ledger.self_service.choices(member.member_id).find("upgrade", "late")
    assert (told.at_once, told.added_grains) == (False, 0)
    change = choose(world, member, "upgrade", "late")
    choices = world.ledger.self_service.choices(member.member_id)
    assert (choices.waiting, choices.may_keep) == (change, True)
    assert choices.find("upgrade", "late") is None, "it is on its way"
    world.ledger.revoke_change(member.member_id, change.change_id)
    world.ledger.change_plan(member.member_id, "late", actor="boss")
    choices = world.ledger.self_service.choices(member.member_id)
    assert choices.waiting is not None and not choices.may_keep, "the administrator's"


@pytest.mark.parametrize("how", ["rule", "chosen"])
def test_a_pause_ends_with_a_resume(member_of, how):
    world, member = member_of("pause")
    if how == "chosen":
        world.ledger.change_plan(member.member_id, "pro", when="now", actor="boss")
    else:
        world.catalogue = parse_catalogue(
            PLANS.replace("SELF", "pause") + "assign: [{plan: pro, members: [rolf]}]", "plans.yaml"
        )
        member, _ = world.join("rolf")
    actor = member.name
    assert open_acts(world, member) == {("pause", "basic")}
    choose(world, member, "pause", "basic", actor=actor)
    assert open_acts(world, member) == set(), "it waits"
    next_period(world, member)
    assert world.ledger.wallet_view(member.member_id).plan.name == "basic"
    assert open_acts(world, member) == {("resume", "pro")}
    choose(world, member, "resume", "pro", key="key-of-form-2", actor=actor)
    assert world.ledger.wallet_view(member.member_id).plan.name == "pro"


def test_what_an_administrator_ended_is_not_resumed(member_of):
    world, member = member_of("pause")
    world.ledger.change_plan(member.member_id, "pro", when="now", actor="boss")
    world.ledger.cancel_plan(member.member_id, actor="boss")
    next_period(world, member)
    assert open_acts(world, member) == set()


def test_a_trial_is_had_once(member_of):
    world, member = member_of(*ALL)
    done = choose(world, member, "trial", "pro")
    assert done.kind == "trial" and world.tokens(member) == 13
    choices = world.ledger.self_service.choices(member.member_id)
    assert choices.trial == "pro" and choices.find("trial", "pro") is None
    next_period(world, member)
    choices = world.ledger.self_service.choices(member.member_id)
    assert choices.trial is None and choices.find("trial", "pro") is None


def test_while_a_fee_is_paid_nothing_changes_here(member_of):
    world, member = member_of(*ALL)
    fees = event(fee("begun", member=member, plan="paid"), fee("paid", "in_1"))
    world.ledger.payments.take(fees)
    choices = world.ledger.self_service.choices(member.member_id)
    assert (choices.paying, choices.open) == ("stripe", ())
