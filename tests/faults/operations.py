"""Every writing operation of the ledger, in each form that writes something else.

An operation is prepared on a fresh world and returns what to do: a function of a ledger that
can be called again with the same meaning, as a caller does who got no answer.
"""

from dataclasses import dataclass
from typing import Any

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.facts import Facts
from jhub_tokens.ledger import LedgerError
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import EndSeen, Identity, ServerSeen
from tests.ledger.conftest import HOUR_MS
from tests.ledger.test_plans import PLANS
from tests.ledger.test_teams import TEAMS

MINUTE_MS = 60_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Operation:
    """One form of one method.

    `answers_again`: a repeat gives the same answer, too. `anew`: a repeat is another act.
    `goes_on`: having committed, it looks whether there is more to do.
    `in_steps`: it has several transactions, and one that broke off is finished by a repeat.
    """

    method: str
    form: str
    prepare: Any
    answers_again: bool = True
    anew: bool = False
    goes_on: bool = False
    in_steps: bool = False

    def __str__(self):
        return f"{self.method}-{self.form}"


OPERATIONS = []


def operation(method, form, **traits):
    def note(prepare):
        OPERATIONS.append(Operation(method, form, prepare, **traits))
        return prepare

    return note


def observing(form):
    """A repeated snapshot is no news: its receipt says less, the books say the same."""
    return operation("observe", form, answers_again=False)


def telling(world, **changes):
    snapshot = world.hub.snapshot(**changes)
    return lambda ledger: ledger.observe(snapshot)


def running(world, name="lara", profile="gpu"):
    member, identity = world.join(name)
    return member, identity, world.hub.run(member, identity, profile)


def near_dry(world, left_ms):
    """A member whose wallet runs dry in `left_ms`, with fresh proof of life."""
    member, identity, key = running(world, "smith", "cpu")
    world.clock.set_ms(world.ledger.wallet_view(member.member_id).dry_at_ms - left_ms)
    world.hub.tell()
    return member, identity, key


# --- members --------------------------------------------------------------------------------


@operation("ensure_member", "new")
def new_member(world):
    identity = world.identity("lara")
    return lambda ledger: ledger.ensure_member(identity)


@operation("ensure_member", "takes-over-a-name")
def recreated_member(world):
    world.join("ann")
    again = Identity(hub_user_id=1, created="2026-11-01T10", name="ann")
    return lambda ledger: ledger.ensure_member(again)


@operation("ensure_member", "renamed-into-another-plan")
def renamed_member(world):
    _, identity, _ = running(world)
    renamed = identity.model_copy(update={"name": "rolf"})
    return lambda ledger: ledger.ensure_member(renamed)


@operation("ensure_member", "whose-account-is-gone")
def gone_member(world):
    _, identity, _ = running(world)
    told = identity.model_copy(update={"facts": Facts(gone="the account is disabled")})
    return lambda ledger: ledger.ensure_member(told)


@operation("set_frozen", "freeze")
def freeze(world):
    member, *_ = running(world)
    world.clock.advance_ms(HOUR_MS)
    return lambda ledger: ledger.set_frozen(
        member.member_id, frozen=True, actor="admin", reason="because"
    )


@operation("set_frozen", "unfreeze")
def unfreeze(world):
    member, *_ = running(world)
    world.ledger.set_frozen(member.member_id, frozen=True, actor="admin", reason="because")
    return lambda ledger: ledger.set_frozen(
        member.member_id, frozen=False, actor="admin", reason="enough"
    )


# --- starts ---------------------------------------------------------------------------------


def starting(member, key):
    return lambda ledger: ledger.admit(
        member.member_id, server_name="", start_key=key, profile="gpu"
    )


@operation("admit", "first")
def first_start(world):
    member, _ = world.join()
    return starting(member, "start-key-1")


@operation("admit", "in-place-of-one-that-came-to-nothing")
def superseding_start(world):
    member, identity = world.join()
    world.hub.start(member, identity)
    return starting(member, "start-key-1")


@operation("admit", "on-a-team")
def team_start(world):
    member = in_team(world)[0]
    return lambda ledger: ledger.admit(
        member.member_id, server_name="", start_key="start-key-1", profile="gpu", payer="physics"
    )


# --- plans and teams ------------------------------------------------------------------------


def planned(world, name="lara"):
    world.catalogue = parse_catalogue(PLANS, "plans.yaml")
    return world.join(name)[0].member_id


def once(change):
    """Repeated, such a change is refused, since it has taken place."""

    def ask(ledger):
        try:
            return change(ledger)
        except LedgerError as refusal:
            return refusal.code

    return ask


@operation("change_plan", "now", answers_again=False)
def upgrade_now(world):
    member_id = planned(world)
    world.clock.advance_ms(DAY_MS)
    return once(lambda ledger: ledger.change_plan(member_id, "pro", actor="admin"))


@operation("change_plan", "next", answers_again=False)
def downgrade_later(world):
    member_id = planned(world, "pia")
    return once(lambda ledger: ledger.change_plan(member_id, "basic", actor="admin"))


@operation("start_trial", "with-tokens", answers_again=False)
def trial(world):
    member_id = planned(world)
    return once(lambda ledger: ledger.start_trial(member_id, "pro", actor="lara"))


@operation("cancel_plan", "paid", answers_again=False)
def cancelling(world):
    member_id = planned(world, "pia")
    return once(lambda ledger: ledger.cancel_plan(member_id, actor="pia"))


@operation("revoke_change", "waiting")
def kept_plan(world):
    member_id = planned(world, "pia")
    waiting = world.ledger.cancel_plan(member_id, actor="pia")
    return lambda ledger: ledger.revoke_change(member_id, waiting.change_id)


@operation("follow_rules", "chosen")
def back_to_rules(world):
    member_id = planned(world)
    world.ledger.change_plan(member_id, "pro", actor="admin")
    return lambda ledger: ledger.follow_rules(member_id)


def in_team(world):
    world.catalogue = parse_catalogue(TEAMS, "teams.yaml")
    identity = world.identity("lara").model_copy(update={"groups": ["phys"]})
    return world.ledger.ensure_member(identity), identity


@operation("set_team_cap", "running")
def capped(world):
    member, identity = in_team(world)
    key = world.hub.start(member, identity, "gpu", payer="physics")
    world.hub.ready(key)
    return lambda ledger: ledger.set_team_cap("physics", member.member_id, GRAINS_PER_TOKEN)


@operation("ensure_member", "joins-a-team")
def joins_team(world):
    in_team(world)
    other = world.identity("mia").model_copy(update={"groups": ["phys"]})
    return lambda ledger: ledger.ensure_member(other)


@operation("ensure_member", "leaves-a-team")
def leaves_team(world):
    member, identity = in_team(world)
    key = world.hub.start(member, identity, "gpu", payer="physics")
    world.hub.ready(key)
    return lambda ledger: ledger.ensure_member(identity.model_copy(update={"groups": []}))


# --- snapshots ------------------------------------------------------------------------------


@observing("members")
def members_listed(world):
    return telling(world, members=[world.identity(name) for name in ("lara", "rolf")])


@observing("ready")
def becomes_ready(world):
    member, identity = world.join()
    key = world.hub.start(member, identity, "gpu")
    world.clock.advance_ms(MINUTE_MS)
    world.hub.servers[key][2] = world.clock.now_ms()
    return telling(world)


@observing("proof-of-life")
def lives_on(world):
    running(world)
    world.clock.advance_ms(HOUR_MS)
    return telling(world)


@observing("end")
def ends(world):
    *_, key = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.stop(key)
    return telling(world)


@observing("ends-in-two-wallets")
def two_end(world):
    keys = [running(world, name)[2] for name in ("lara", "rolf")]
    world.clock.advance_ms(HOUR_MS)
    for key in keys:
        world.hub.stop(key)
    return telling(world)


@observing("end-learned-late-posts-a-return")
def ends_late(world):
    *_, key = running(world)
    started_ms = world.clock.now_ms()
    world.clock.advance_ms(2 * HOUR_MS)
    world.hub.tell()
    world.ledger.set_frozen(
        world.ledger.member_by_name("lara").member_id, frozen=True, actor="a", reason="books it"
    )
    world.hub.stop(key, started_ms + HOUR_MS)
    return telling(world)


@observing("ready-and-ended-between-two-snapshots")
def short_life(world):
    member, identity = world.join()
    key = world.hub.start(member, identity, "gpu")
    world.clock.advance_ms(10 * MINUTE_MS)
    end = EndSeen(start_key=key, ready_age_ms=9 * MINUTE_MS, ended_age_ms=MINUTE_MS)
    del world.hub.servers[key]
    return telling(world, ended=[end])


@observing("cancelled-start")
def cancelled(world):
    member, identity = world.join()
    key = world.hub.start(member, identity)
    del world.hub.servers[key]
    return telling(world, cancelled=[key])


@observing("cancelled-before-it-was-asked-for")
def cancelled_early(world):
    world.join()
    return telling(world, cancelled=["start-key-1"])


@observing("adopted")
def adopted(world):
    identity = world.identity("lara")
    server = ServerSeen(member=identity, started="2026-11-01", alive_age_ms=0, ready_age_ms=0)
    return telling(world, servers=[server])


@observing("lost")
def lost(world):
    *_, key = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    world.clock.advance_ms(HOUR_MS)
    world.hub.vanish(key)
    return telling(world)


# --- the warden -----------------------------------------------------------------------------


def warden(world):
    """A pass; a second one right after it finds nothing due and says so."""
    return lambda ledger: ledger.advance_due()


@operation("advance_due", "charge-and-percent-notice", answers_again=False)
def percent_used(world):
    running(world)
    world.clock.advance_ms(5 * HOUR_MS)
    world.hub.tell()
    return warden(world)


@operation("advance_due", "warning", answers_again=False)
def warned(world):
    near_dry(world, 9 * MINUTE_MS)
    return warden(world)


@operation("advance_due", "stop", answers_again=False)
def stopped(world):
    near_dry(world, 20_000)
    return warden(world)


@operation("advance_due", "overrun", answers_again=False)
def overran(world):
    near_dry(world, -HOUR_MS)
    return warden(world)


@operation("advance_due", "renewals-lapse-and-roll-over", answers_again=False)
def renewed(world):
    for name in ("lara", "rolf"):
        member, identity = world.join(name)
    world.hub.run(member, identity)
    world.clock.set_ms(world.ledger.wallet_view(member.member_id).period_end_ms + HOUR_MS)
    world.hub.tell()
    return warden(world)


# --- money and messages ---------------------------------------------------------------------


def giving(member, tokens, kind):
    return lambda ledger: ledger.grant(
        member.member_id,
        amount_grains=tokens * 3_600_000_000,
        kind=kind,
        actor="admin",
        reason="for the test",
        caller="test",
        key="grant-key-1",
    )


@operation("grant", "top-up")
def top_up(world):
    member, *_ = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    return giving(member, 5, "topup")


@operation("grant", "top-up-revokes-a-stop")
def top_up_in_time(world):
    member, *_ = near_dry(world, 20_000)
    world.ledger.advance_due()
    return giving(member, 5, "topup")


@operation("grant", "adjustment-takes-from-two-grants")
def adjustment(world):
    member, _ = world.join()
    giving(member, 5, "topup")(world.ledger)
    return lambda ledger: ledger.grant(
        member.member_id,
        amount_grains=-103 * 3_600_000_000,
        kind="adjustment",
        actor="admin",
        reason="a mistake",
        caller="test",
        key="grant-key-2",
    )


@operation("record_stop_failure", "standing-order")
def stop_failed(world):
    near_dry(world, 20_000)
    world.ledger.advance_due()
    (order,) = world.ledger.standing_stops()
    return lambda ledger: ledger.record_stop_failure(order.order_id, "the pod would not go")


@operation("mark_notices_seen", "all")
def seen(world):
    member, _ = world.join()
    giving(member, 5, "topup")(world.ledger)
    ids = [n.notice_id for n in world.ledger.notices(member.member_id)]
    return lambda ledger: ledger.mark_notices_seen(member.member_id, ids)
