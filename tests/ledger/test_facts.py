"""Facts: what a provider says decides the plan, and suspends a member whose account goes."""

import pytest

from jhub_tokens.catalogue import Account, parse_catalogue
from jhub_tokens.facts import Facts
from jhub_tokens.ledger import LedgerError, NotAdmitted

from .conftest import CATALOGUE

STAFF = Facts(provider_groups=("staff",))
GONE = Facts(gone="the account is disabled")
RULE = "assign:\n  - {plan: roll, provider_groups: [staff]}\n"


@pytest.fixture
def world(make_world):
    world = make_world()
    text = CATALOGUE.format(enforce="true", overrun="waive").partition("assign:")[0]
    world.catalogue = parse_catalogue(text + RULE, "facts.yaml")
    return world


@pytest.fixture
def ada(world):
    return world.identity("ada")


def told(world, identity, facts):
    return world.ledger.ensure_member(identity.model_copy(update={"facts": facts}))


def changes(world, member):
    found = world.ledger.plan_changes(member.member_id)
    return [(change.plan, change.revoked_ms is None) for change in found]


def test_facts_decide_at_the_first_sign_in_and_stay_for_what_follows(world, ada):
    member = told(world, ada, STAFF)
    assert member.plan == "roll"
    # The gate, the pages and running servers tell who it is, and nothing of the provider.
    assert told(world, ada, None).plan == "roll"
    assert changes(world, member) == []


def test_a_group_removed_and_added_again_between_two_sign_ins(world, ada):
    member = told(world, ada, STAFF)
    told(world, ada, Facts())
    assert changes(world, member) == [("lapse", True)]
    told(world, ada, Facts())
    assert changes(world, member) == [("lapse", True)], "told twice is told once"
    told(world, ada, STAFF)
    assert changes(world, member) == [("lapse", False)]


def test_a_snapshot_tells_facts_though_a_running_server_knows_none(world, ada):
    member = told(world, ada, Facts())
    world.hub.ready(world.hub.start(member, ada, "cpu"))
    world.hub.tell(members=[ada.model_copy(update={"facts": STAFF})])
    assert changes(world, member) == [("roll", True)]


def test_a_member_whose_account_is_gone_starts_nothing_and_what_runs_is_stopped(world, ada):
    member = told(world, ada, STAFF)
    world.hub.ready(world.hub.start(member, ada, "cpu"))
    assert told(world, ada, GONE).state == "frozen"
    world.clock.advance_ms(1000)
    world.hub.tell()
    world.ledger.advance_due()
    assert [order.reason for order in world.ledger.standing_stops()] == ["frozen"]
    with pytest.raises(NotAdmitted, match="frozen"):
        world.hub.start(member, ada, "cpu", "second")
    (told_of,) = (n for n in world.ledger.notices(member.member_id) if n.kind == "frozen")
    assert told_of.params["reason"] == "the account is disabled"
    assert changes(world, member) == [], "what was known of a gone account still holds"
    assert told(world, ada, STAFF).state == "active"
    assert world.ledger.audit() == ()


def test_an_administrators_freeze_outlives_the_accounts_return(world, ada):
    member = told(world, ada, STAFF)
    freeze = {"frozen": True, "actor": "admin", "reason": "for cause"}
    world.ledger.set_frozen(member.member_id, **freeze)
    told(world, ada, GONE)
    assert told(world, ada, STAFF).state == "frozen", "frozen before it went"
    world.ledger.set_frozen(member.member_id, **{**freeze, "frozen": False})
    told(world, ada, GONE)
    world.ledger.set_frozen(member.member_id, **freeze)
    assert told(world, ada, STAFF).state == "frozen", "frozen while it was gone"


def test_an_account_that_is_still_gone_is_suspended_again(world, ada):
    member = told(world, ada, GONE)
    world.ledger.set_frozen(member.member_id, frozen=False, actor="admin", reason="a mistake")
    assert told(world, ada, None).state == "frozen"


# --- directory sync ----------------------------------------------------------------------------


def listed(*names, **claims):
    return {name: Account(name, claims=claims) for name in names}


def states(world, *members):
    return [world.ledger.member(member.member_id).state for member in members]


def test_a_directory_suspends_who_is_gone_and_restores_who_is_back(world, ada):
    bob = world.identity("bob")
    members = [told(world, ada, STAFF), told(world, bob, Facts()), *world.join("local")[:1]]
    sync = world.ledger.directory.sync
    tried = sync(listed("ada"), {}, complete=True, dry_run=True)
    assert (tried.suspended, states(world, *members)) == (("bob",), ["active"] * 3)
    done = sync(listed("ada", "new"), {}, complete=True)
    assert (done.known, done.unknown, done.suspended) == (2, 1, ("bob",))
    # A member of whom no provider ever told is none of the directory's business.
    assert states(world, *members) == ["active", "frozen", "active"]
    assert sync(listed("ada"), {}, complete=True).suspended == ()
    assert sync({}, {"ada": "has left"}).suspended == ("ada",)
    assert sync(listed("ada", "bob"), {}).restored == ("ada", "bob")
    assert states(world, *members) == ["active"] * 3
    assert world.ledger.audit() == ()


def test_a_broken_list_does_not_stop_everybody(world):
    crowd = [world.identity(f"m{n}") for n in range(30)]
    members = [told(world, identity, Facts()) for identity in crowd]
    with pytest.raises(LedgerError, match="suspend 29 of 30") as refused:
        world.ledger.directory.sync(listed("m0"), {}, complete=True)
    assert refused.value.code == "too_many_gone"
    assert set(states(world, *members)) == {"active"}
    done = world.ledger.directory.sync(listed("m0"), {}, complete=True, force=True)
    assert len(done.suspended) == 29


def test_a_rule_that_refuses_suspends_by_the_directory(world, ada):
    text = CATALOGUE.format(enforce="true", overrun="waive").partition("assign:")[0]
    refuse = "assign:\n  - {refuse: true, claims: {enabled: [false]}}\n"
    world.catalogue = parse_catalogue(text + refuse, "facts.yaml")
    told(world, ada, Facts())
    assert world.ledger.directory.sync(listed("ada", enabled=False), {}).suspended == ("ada",)
    assert world.ledger.directory.sync(listed("ada", enabled=True), {}).restored == ("ada",)
