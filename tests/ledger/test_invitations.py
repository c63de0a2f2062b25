"""Invitations to a team: within its plan's size, beside the hub's groups, and gone when removed."""

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import LedgerError
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS
from .test_teams import TEAMS, join, orders, run

SMALL = TEAMS.replace("max_servers: 3}", "max_servers: 3, max_members: 3}")


@pytest.fixture
def world(make_world):
    world = make_world()
    world.catalogue = parse_catalogue(SMALL, "teams.yaml")
    return world


@pytest.fixture
def olga(world):
    return join(world, "olga", "phys")[0]


def invite(world, olga, name):
    return world.ledger.teams.invite("physics", name, olga.member_id)


def accept(world, member, invitation):
    return world.ledger.teams.answer(member.member_id, invitation.invitation_id, accept=True)


def code_of(act, *args, **options):
    with pytest.raises(LedgerError) as refusal:
        act(*args, **options)
    return refusal.value.code


def team_of(world, member):
    return [payer.team for payer in world.ledger.payers(member.member_id)]


def kinds(world, member):
    return [notice.kind for notice in world.ledger.notices(member.member_id)]


def test_whoever_accepts_is_in_the_team_whatever_their_groups_say(world, olga):
    mia, identity = join(world, "mia", "math")
    invitation = invite(world, olga, "mia")
    assert invite(world, olga, "mia") == invitation, "asked again, it waits still"
    assert [i.invitation_id for i in world.ledger.teams.waiting_for(mia.member_id)] == [
        invitation.invitation_id
    ]
    assert kinds(world, mia) == ["team_invited"] and team_of(world, mia) == []
    done = accept(world, mia, invitation)
    assert accept(world, mia, invitation) == done
    assert world.ledger.teams.waiting_for(mia.member_id) == ()
    assert "team_accepted" in kinds(world, olga)
    world.ledger.ensure_member(identity)  # signs in again: no group of hers is the team's
    assert team_of(world, mia) == ["physics"]
    run(world, mia, identity)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    view = world.ledger.teams.view("physics", olga.member_id)
    spent = {m.name: (m.spent_grains // GRAINS_PER_TOKEN, m.running, m.invited)
             for m in view.members}  # fmt: skip
    assert spent == {"mia": (10, 1, True), "olga": (0, 0, False)}


def test_whoever_declines_is_not_in_it_and_may_be_asked_again(world, olga):
    mia, _ = join(world, "mia")
    first = invite(world, olga, "mia")
    world.ledger.teams.answer(mia.member_id, first.invitation_id, accept=False)
    assert "team_declined" in kinds(world, olga)
    assert code_of(accept, world, mia, first) == "answered"
    assert invite(world, olga, "mia").invitation_id != first.invitation_id


def test_only_the_invited_answer_and_only_what_waits_is_taken_back(world, olga):
    mia, _ = join(world, "mia")
    sven, _ = join(world, "sven")
    invitation = invite(world, olga, "mia")
    assert code_of(accept, world, sven, invitation) == "unknown_invitation"
    taken = world.ledger.teams.withdraw("physics", invitation.invitation_id)
    assert world.ledger.teams.withdraw("physics", invitation.invitation_id) == taken
    assert code_of(accept, world, mia, invitation) == "answered"
    again = invite(world, olga, "mia")
    accept(world, mia, again)
    assert code_of(world.ledger.teams.withdraw, "physics", again.invitation_id) == "answered"


def test_the_plans_size_counts_those_who_are_invited(world, olga):
    people = [join(world, name)[0] for name in ("a", "b", "c")]
    invitations = [invite(world, olga, name) for name in ("a", "b")]
    assert code_of(invite, world, olga, "c") == "team_full"
    world.ledger.teams.answer(people[0].member_id, invitations[0].invitation_id, accept=False)
    invite(world, olga, "c")
    accept(world, people[1], invitations[1])
    world.catalogue = parse_catalogue(
        SMALL.replace("max_members: 3", "max_members: 2"), "teams.yaml"
    )
    (waiting,) = world.ledger.teams.waiting_for(people[2].member_id)
    assert code_of(accept, world, people[2], waiting) == "team_full", "the plan became smaller"


def test_who_cannot_be_invited(world, olga):
    assert code_of(invite, world, olga, "nobody") == "no_such_name"
    join(world, "mia", "phys")
    assert code_of(invite, world, olga, "mia") == "in_team"
    unknown = world.ledger.teams.invite
    assert code_of(unknown, "chess", "mia", olga.member_id) == "unknown_team"


def test_a_guest_who_is_removed_ends_soon_and_a_groups_member_stays(world, olga):
    mia, identity = join(world, "mia")
    accept(world, mia, invite(world, olga, "mia"))
    key = run(world, mia, identity)
    world.ledger.teams.remove("physics", mia.member_id)
    world.ledger.teams.remove("physics", mia.member_id)
    assert team_of(world, mia) == [] and "team_removed" in kinds(world, mia)
    world.clock.advance_ms(3 * 60_000)
    world.hub.tell()
    world.ledger.advance_due()
    assert orders(world) == [(key, "left_team")]
    world.ledger.ensure_member(identity)
    assert team_of(world, mia) == []
    assert code_of(world.ledger.teams.remove, "physics", olga.member_id) == "by_group"


def test_an_older_release_that_sees_groups_only_is_made_up_for(world, olga):
    mia, identity = join(world, "mia")
    accept(world, mia, invite(world, olga, "mia"))
    with world.ledger._store.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE team_members SET left_ms = 1 WHERE member_id = '{mia.member_id}'"
        )
    assert team_of(world, mia) == []
    world.ledger.ensure_member(identity)
    assert team_of(world, mia) == ["physics"]


def test_a_teams_statement_adds_up_and_says_whose_it_was(world, olga):
    lara, identity = join(world, "lara", "phys")
    key = run(world, lara, identity)
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    (start_ms, end_ms), *_ = world.ledger.teams.periods("physics")
    view, whose = world.ledger.teams.statement("physics", olga.member_id, start_ms, end_ms)
    moved = sum(entry.amount_grains for entry in view.entries)
    assert view.opening_grains + moved == view.closing_grains == 90 * GRAINS_PER_TOKEN
    assert list(whose.values()) == ["lara"]
