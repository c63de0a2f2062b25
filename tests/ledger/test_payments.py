"""Payments: credited once, taken back as far as it is there, and whatever the order of telling."""

import random
import shutil
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from jhub_tokens.ledger import LedgerError, schema
from jhub_tokens.ledger.payment_records import Disputed, FeeTold, Paid, PaymentEvent, Refunded
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS, NOVEMBER_MS, World
from .test_refunds import limited

DAY_MS = 24 * HOUR_MS


def order(world, member, provider="stripe", tokens=50):
    return world.ledger.payments.order(
        member.member_id,
        provider=provider,
        amount_grains=tokens * GRAINS_PER_TOKEN,
        price_minor=1_000,
        currency="EUR",
        actor="lara",
    )


def event(*facts, name=None, at_ms=NOVEMBER_MS):
    return PaymentEvent("stripe", name or uuid.uuid4().hex, "test", at_ms, facts)


def paid(invoice, **changes):
    facts = {"payment_ref": "pi_1", "paid_minor": 1_000, "currency": "EUR", **changes}
    return Paid(invoice.invoice_id, **facts)


def fee(state, bill="", member=None, plan="roll"):
    known = (None, None) if member is None else (member.member_id, plan)
    return FeeTold(state, "sub_1", bill, *known)


def account(world, member):
    (found,) = world.ledger.payments.fee_accounts(member.member_id)
    return found


# --- invoices ---------------------------------------------------------------------------------


def test_a_manual_invoice_is_credited_once_and_counts_for_the_administrator(world):
    member, _ = world.join()
    limited(world, 50)
    invoice = order(world, member, "manual")
    assert world.tokens(member) == 100
    for _ in range(2):
        done = world.ledger.payments.mark_paid(invoice.invoice_id, actor="ada", caller="user:ada")
        assert (done.paid_by, world.tokens(member)) == ("ada", 150)
    other = order(world, member, "manual", 1)
    with pytest.raises(LedgerError, match="of which 0 are left"):
        world.ledger.payments.mark_paid(other.invoice_id, actor="ada", caller="user:ada")
    assert world.tokens(member) == 150
    with pytest.raises(LedgerError, match="marked as paid by stripe alone"):
        world.ledger.payments.mark_paid(
            order(world, member).invoice_id, actor="ada", caller="user:ada"
        )
    with pytest.raises(LedgerError, match="no such invoice"):
        world.ledger.payments.mark_paid("none", actor="ada", caller="user:ada")


def test_what_was_paid_must_be_what_was_asked(world):
    member, _ = world.join()
    invoice = order(world, member)
    for change in ({"paid_minor": 999}, {"currency": "JPY"}):
        with pytest.raises(LedgerError, match="1000 EUR"):
            world.ledger.payments.take(event(paid(invoice, **change)))
    assert world.tokens(member) == 100
    assert world.ledger.payments.take(event(Paid("somebody else's", "pi_9", 1, "EUR")))


def test_a_refund_takes_back_what_is_left_and_notes_the_rest(world):
    member, identity = world.join()
    invoice = order(world, member)
    world.ledger.payments.take(event(paid(invoice)))
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(12 * HOUR_MS)  # 100 of the allotment and 20 that were paid for
    world.hub.end(key)
    world.ledger.payments.take(event(Refunded("pi_1", 500)))
    assert world.tokens(member) == 5
    world.ledger.payments.take(event(Refunded("pi_1", 1_000)))
    (seen,) = world.ledger.payments.invoices(member.member_id)
    assert (seen.taken_grains, seen.missing_grains) == (
        30 * GRAINS_PER_TOKEN,
        20 * GRAINS_PER_TOKEN,
    )
    assert world.tokens(member) == 0


def test_a_refund_leaves_what_a_running_server_has_burnt_but_not_proved(world):
    member, identity = world.join()
    invoice = order(world, member)
    world.ledger.payments.take(event(paid(invoice)))
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(12 * HOUR_MS)
    world.ledger.payments.take(event(Refunded("pi_1", 1_000)))
    (seen,) = world.ledger.payments.invoices(member.member_id)
    assert seen.taken_grains == 30 * GRAINS_PER_TOKEN
    world.hub.end(key)
    assert world.tokens(member) == 0
    period = world.ledger.periods(member.member_id)[0]
    kinds = [e.kind for e in world.ledger.statement(member.member_id, *period).entries]
    assert "overrun" not in kinds, "no time that had passed lost its tokens"


def test_a_dispute_that_is_won_gives_back_what_it_took(world):
    member, _ = world.join()
    world.ledger.payments.take(event(paid(order(world, member))))
    world.ledger.payments.take(event(Disputed("pi_1", "dp_1", 1_000, False)))
    assert world.tokens(member) == 100
    world.ledger.payments.take(event(Disputed("pi_1", "dp_1", 1_000, True)))
    assert world.tokens(member) == 150


def test_one_delivery_at_all_replicas_at_once_is_booked_once(world):
    member, _ = world.join()
    told = [event(paid(order(world, member)), name="evt_1"), event(Refunded("pi_1", 400))]
    books = [world.open() for _ in range(2)]
    barrier = threading.Barrier(4)

    def deliver(index):
        barrier.wait()
        return [books[index % 2].payments.take(e) for e in told[:: 1 if index < 2 else -1]]

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(deliver, range(4)))
    assert sum(map(sum, done)) == 2, "each event is new once"
    assert world.tokens(member) == 130
    for ledger in books:
        ledger.close()


# --- fees -------------------------------------------------------------------------------------


def test_a_fee_that_fails_is_past_due_then_frozen_and_payment_mends_it(world):
    member, _ = world.join()
    now_ms = world.clock.now_ms()
    payments = world.ledger.payments
    payments.take(event(fee("paid", "in_1", member)))
    assert world.ledger.member(member.member_id).plan == "lapse", "no bigger: with the next period"
    assert world.ledger.plan_changes(member.member_id)[0].plan == "roll"
    payments.take(event(fee("failed", "in_2"), at_ms=now_ms))
    assert account(world, member).state == "past_due"
    assert "past_due" in world.kinds(member)
    world.clock.advance_ms(7 * DAY_MS - 1)
    assert payments.freeze_overdue() == 0
    world.clock.advance_ms(1)
    assert payments.freeze_overdue() == 1
    assert world.ledger.member(member.member_id).state == "frozen"
    assert payments.freeze_overdue() == 0
    payments.take(event(fee("paid", "in_2"), at_ms=now_ms + 9))
    assert world.ledger.member(member.member_id).state == "active"
    assert account(world, member).state == "active"
    payments.take(event(fee("failed", "in_2"), at_ms=now_ms + 1))  # late
    assert account(world, member).state == "active"


def test_payment_does_not_undo_an_administrators_freeze(world):
    member, _ = world.join()
    world.ledger.payments.take(event(fee("failed", "in_1", member)))
    world.ledger.set_frozen(member.member_id, frozen=True, actor="ada", reason="abuse")
    world.clock.advance_ms(60 * DAY_MS)
    assert world.ledger.payments.freeze_overdue() == 0
    world.ledger.payments.take(event(fee("paid", "in_1")))
    assert world.ledger.member(member.member_id).state == "frozen"


def test_a_subscription_that_ends_lets_the_plan_end(world):
    member, _ = world.join("smith")
    world.ledger.payments.take(event(fee("paid", "in_1", member)))
    assert world.ledger.member(member.member_id).plan == "roll", "bigger: at once"
    world.ledger.payments.take(event(fee("ended")))
    assert world.ledger.plan_changes(member.member_id)[0].kind == "cancel"
    assert account(world, member).state == "ended"


# --- any order --------------------------------------------------------------------------------


def story(world, member):
    """What a provider tells of two invoices and a fee, each fact in an event of its own."""
    first, second = order(world, member), order(world, member, tokens=7)
    two = {"payment_ref": "pi_2"}
    return [
        event(paid(first), name="evt_a", at_ms=NOVEMBER_MS + 5),
        event(paid(first), name="evt_b", at_ms=NOVEMBER_MS + 1),
        event(Refunded("pi_1", 300), name="evt_c"),
        event(Refunded("pi_1", 450), name="evt_d"),
        event(paid(second, **two), name="evt_e"),
        event(Disputed("pi_2", "dp_1", 1_000, False), name="evt_f"),
        event(Disputed("pi_2", "dp_1", 1_000, True), name="evt_g"),
        event(Disputed("pi_1", "dp_2", 333, False), name="evt_h"),
        event(fee("begun", member=member), name="evt_i"),
        event(fee("failed", "in_1"), name="evt_j"),
        event(fee("paid", "in_1"), name="evt_k", at_ms=NOVEMBER_MS + 3),
        event(fee("failed", "in_2"), name="evt_l", at_ms=NOVEMBER_MS + 4),
        event(fee("ended"), name="evt_m", at_ms=NOVEMBER_MS + 6),
    ]


def books_of(world, member):
    """Everything that is true of a member, without ids that are random and lines in between."""
    view = world.ledger.wallet_view(member.member_id)
    grants = sorted((g.source, g.granted_grains, g.remaining_grains) for g in view.grants)
    invoices = sorted(
        (i.amount_grains, i.paid_ms, i.taken_grains, i.missing_grains)
        for i in world.ledger.payments.invoices(member.member_id)
    )
    with world.ledger._store.read() as connection:
        accounts = [tuple(r) for r in connection.execute(select(schema.payment_accounts))]
        bills = sorted(tuple(r) for r in connection.execute(select(schema.payment_bills)))
    changes = sorted((c.kind, c.plan) for c in world.ledger.plan_changes(member.member_id))
    accounts = [tuple(v for v in row if v != member.member_id) for row in accounts]
    now = world.ledger.member(member.member_id)
    return view.balance_grains, grants, invoices, accounts, bills, changes, now.plan, now.state


def naive(world, events):
    """The control: each delivery has its effect as it comes."""
    refunded = {}
    taken = {}
    for told in events:
        for fact in told.facts:
            if isinstance(fact, Paid):
                taken[fact.payment_ref] = 0
            elif isinstance(fact, Refunded) and fact.payment_ref in taken:
                refunded[fact.payment_ref] = fact.refunded_minor
    return refunded


@pytest.fixture
def fresh_world(sqlite_template, tmp_path):
    def make():
        path = tmp_path / f"{uuid.uuid4().hex}.sqlite"
        shutil.copy(sqlite_template, path)
        return World(f"sqlite:///{path}")

    return make


def outcome(world, deliveries):
    member, _ = world.join("smith")
    events = story(world, member)
    for index in deliveries:
        world.ledger.payments.take(events[index])
    world.clock.advance_ms(30 * DAY_MS)
    world.ledger.payments.freeze_overdue()
    world.clock.advance_ms(-30 * DAY_MS)
    assert world.ledger.audit() == ()
    result = books_of(world, member), naive(world, [events[i] for i in deliveries])
    world.ledger.close()
    return result


def test_any_order_and_any_repetition_leads_to_the_same_books(fresh_world):
    everything = range(13)
    expected, naively = outcome(fresh_world(), everything)
    balance, _, invoices, (row,), *_, state = expected
    # 50 tokens less 78.3 % and 7 tokens, besides the plan's own.
    assert [i[2] for i in invoices] == [0, 39_150 * GRAINS_PER_TOKEN // 1000]
    assert state == "frozen" and row is not None and balance > 0
    seen = []

    @given(st.permutations(list(everything)), st.lists(st.sampled_from(list(everything))))
    @settings(
        max_examples=40,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(order, again):
        deliveries = list(order)
        for index in again:  # twice, anywhere
            deliveries.insert(random.Random(index).randrange(len(deliveries) + 1), index)
        books, naive_books = outcome(fresh_world(), deliveries)
        assert books == expected
        seen.append(naive_books != naively)

    check()
    assert any(seen), "the control would have noticed the order"
