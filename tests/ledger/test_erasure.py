"""Erasing a member: nothing of them is left in any text, and the books are what they were."""

import pytest
from sqlalchemy import JSON, String, Text, insert, select, update

from jhub_tokens.ledger import LedgerError, schema
from jhub_tokens.ledger.acts import note_act
from jhub_tokens.ledger.finance_records import BY
from jhub_tokens.ledger.payment_records import FeeTold, Paid, PaymentEvent, Refunded
from jhub_tokens.ledger.personal import TEXT_COLUMNS
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import Identity

from .conftest import HOUR_MS
from .test_finance import DAY_MS, close, to_december

#: A word that stands wherever a member's data can.
CANARY = "canary-7f3a"


def test_every_column_of_text_is_classified():
    found = {
        table.name: {
            column.name for column in table.c if isinstance(column.type, (String, Text, JSON))
        }
        for table in schema.metadata.sorted_tables
    }
    assert {name: set(columns) for name, columns in TEXT_COLUMNS.items()} == found


def texts(world):
    """Yield every text in the database with its place."""
    with world.ledger._store.read() as connection:
        for table in schema.metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                for name, value in row.items():
                    if isinstance(value, (str, dict, list)):
                        yield f"{table.name}.{name}", str(value)


def erase(world, member, **options):
    return world.ledger.finance.erase_member(
        member.member_id, actor="boss", reason="they asked for it", **options
    )


def refused(world, member, code, **options):
    with pytest.raises(LedgerError) as caught:
        erase(world, member, **options)
    assert caught.value.code == code
    assert world.ledger.member(member.member_id).name == member.name
    return caught.value.message


@pytest.fixture
def traced(world):
    """A member whose traces are in every column that can hold any."""
    identity = Identity(hub_user_id=7, created=f"2026-01-01 {CANARY}", name=CANARY)
    member = world.ledger.ensure_member(identity)
    ledger = world.ledger
    world.give(member, 5, key=f"{CANARY}-topup")
    key = world.hub.run(member, identity, name=CANARY)
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    with ledger._store.write() as connection:
        note_act(
            connection, 1, "stopped", "boss", member_id=member.member_id,
            reason=f"{CANARY} asked for it",
        )  # fmt: skip
        session = connection.execute(select(schema.sessions)).mappings().one()
        order = {
            "order_id": "o1", "session_id": session["session_id"], "reason": "dry",
            "issued_ms": 1, "closed_ms": 2, "outcome": "ended", "detail": f"no {CANARY}",
        }  # fmt: skip
        connection.execute(insert(schema.stop_orders), order)
        connection.execute(update(schema.sessions).values(hub_started=CANARY))
        settings = {
            "member_id": member.member_id, "language": "en", "channels": [CANARY],
            "urgency": "info", "email": f"{CANARY}@example.org", "email_asked": f"{CANARY}@x.org",
        }  # fmt: skip
        connection.execute(insert(schema.member_settings), settings)
        facts = {"member_id": member.member_id, "facts": {"emails": [CANARY]}, "told_ms": 1}
        connection.execute(insert(schema.member_facts), facts)
        report = {"session_id": session["session_id"], "busy": [CANARY], "active_ms": 1}
        connection.execute(insert(schema.server_reports), report)
        held = {
            "key_id": "k1", "member_id": member.member_id, "name": CANARY, "key": CANARY,
            "kind": CANARY[:32], "fingerprint": CANARY, "added_ms": 1,
        }  # fmt: skip
        connection.execute(insert(schema.ssh_keys), held)
        tried = {"try_id": "t1", "member_id": member.member_id, "at_ms": 1}
        connection.execute(insert(schema.voucher_tries), tried)
        notice = connection.execute(select(schema.notices.c.notice_id)).scalars().first()
        sent = {
            "notice_id": notice, "channel": "email", "state": "failed", "next_try_ms": 1,
            "last_error": CANARY,
        }  # fmt: skip
        connection.execute(insert(schema.deliveries), sent)
    owner, _ = world.join("owner")
    with ledger._store.write() as connection:
        told = {
            "notice_id": "n1", "member_id": owner.member_id, "kind": "refunded",
            "params": {"server_name": CANARY, "servers": [CANARY]}, "created_ms": 1,
        }  # fmt: skip
        other = {**told, "notice_id": "n2", "params": {"plan": "pro"}}
        connection.execute(insert(schema.notices), [told, other])
    from_ms, to_ms = ledger.periods(member.member_id)[0]
    asked = ledger.questions.ask(
        member.member_id, session["session_id"], from_ms=from_ms, to_ms=to_ms, category="other",
        text=f"{CANARY} was ill",
    )  # fmt: skip
    ledger.questions.answer(asked.question_id, text=f"sorry, {CANARY}", actor="boss", caller="boss")
    ledger.refund_session(
        session["session_id"], actor="boss", reason=f"{CANARY} had asked", caller="boss",
        key=f"{CANARY}-refund",
    )  # fmt: skip
    ledger.grant(
        member.member_id, amount_grains=GRAINS_PER_TOKEN, kind="topup", actor=CANARY,
        reason="by themselves", caller="boss", key=f"{CANARY}-self",
    )  # fmt: skip
    ledger.change_plan(member.member_id, "roll", actor=CANARY, reason=f"{CANARY} wants it")
    invoice = ledger.payments.order(
        member.member_id, provider="stripe", amount_grains=GRAINS_PER_TOKEN, price_minor=100,
        currency="EUR", actor=CANARY,
    )  # fmt: skip
    ledger.payments.offer_checkout(invoice.invoice_id, f"https://pay.example.org/{CANARY}")
    world.invoice = invoice
    take_all(world, member)
    return world, member, identity


def take_all(world, member):
    """Take the whole balance back, what was bought included."""
    view = world.ledger.wallet_view(member.member_id)
    tokens = view.balance_grains // (GRAINS_PER_TOKEN // 1000) / 1000
    world.give(member, -tokens, kind="adjustment", key=f"{CANARY}-all")


def test_nothing_of_a_member_is_left(traced):
    world, member, _ = traced
    places = {place for place, value in texts(world) if CANARY in value}
    personal = {
        f"{table}.{name}"
        for table, columns in TEXT_COLUMNS.items()
        for name, kind in columns.items()
        if kind in ("erased", "deleted")
    }
    # The rest of them is not text that anybody could fill, or goes with its row.
    rows_go = {
        "deliveries", "notices", "member_facts", "member_settings", "server_reports",
        "ssh_keys", "voucher_tries",
    }  # fmt: skip
    assert {p for p in personal - places if p.split(".")[0] not in rows_go} == {
        "remarks.salt", "subscriptions.cost_centre",
    }  # fmt: skip
    assert places <= personal
    erase(world, member, write_off=True)
    assert [place for place, value in texts(world) if CANARY in value] == []
    with world.ledger._store.read() as connection:
        left = connection.execute(select(schema.notices.c.notice_id)).scalars().all()
        assert "n2" in left and "n1" not in left


def test_the_books_stay_whole_and_reports_the_same(traced):
    world, member, _ = traced
    finance = world.ledger.finance
    assert world.ledger.audit() == ()
    before = (finance.report("2026-11", "2026-11", BY), finance.figures("2026-11"))
    exported = finance.export_page(0, 1 << 50).transactions
    erase(world, member, write_off=True)
    assert world.ledger.audit() == ()
    assert (finance.report("2026-11", "2026-11", BY), finance.figures("2026-11")) == before
    assert finance.export_page(0, 1 << 50).transactions == exported


def test_a_closed_month_is_not_touched(traced):
    world, member, _ = traced
    to_december(world)
    done = close(world)
    figures = world.ledger.finance.figures("2026-11")
    erase(world, member, write_off=True)
    assert world.ledger.finance.figures("2026-11") == figures
    assert world.ledger.finance.closed_months() == (done,)


def test_the_act_is_recorded_and_done_once(traced):
    world, member, _ = traced
    done = erase(world, member, write_off=True)
    assert erase(world, member) == done
    assert world.ledger.finance.erasures() == (done,)
    assert (done.actor, done.reason) == ("boss", "they asked for it")
    assert world.ledger.members()[1] == 1  # the owner alone
    rows, _ = world.ledger.members(state="erased")
    assert [row.member.state for row in rows] == ["erased"]


def test_an_erased_member_gets_nothing_and_is_somebody_new_at_the_next_sign_in(traced):
    world, member, identity = traced
    erase(world, member, write_off=True)
    with pytest.raises(LedgerError, match="nothing is credited"):
        world.give(member, 1)
    with pytest.raises(LedgerError, match="void"):
        world.ledger.payments.take(
            PaymentEvent("stripe", "e1", "t", 1, (Paid(world.invoice.invoice_id, "p", 100, "EUR"),))
        )
    again = world.ledger.ensure_member(identity)
    assert again.member_id != member.member_id
    assert world.tokens(again) == 100
    for _ in range(3):
        world.clock.advance_ms(40 * DAY_MS)
        world.hub.tell()
        world.ledger.advance_due()
    assert world.balance(member) == 0  # its periods go on with nothing in them


def test_what_stands_against_it(world):
    lara, identity = world.join()
    key = world.hub.run(lara, identity)
    assert "Stop it" in refused(world, lara, "servers_run")
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    world.give(lara, 5)
    assert "5 tokens left that were bought" in refused(world, lara, "tokens_bought", write_off=True)
    world.give(lara, -104, kind="adjustment")
    payments = world.ledger.payments
    order = {"provider": "stripe", "amount_grains": 4 * GRAINS_PER_TOKEN, "price_minor": 400}
    invoice = payments.order(lara.member_id, **order, currency="EUR", actor="lara")
    assert "1 unpaid invoice." in refused(world, lara, "owes")
    now_ms = world.clock.now_ms()
    for number, fact in enumerate((Paid(invoice.invoice_id, "p", 400, "EUR"),)):
        payments.take(PaymentEvent("stripe", f"e{number}", "t", now_ms, (fact,)))
    world.give(lara, -4, kind="adjustment")
    payments.take(PaymentEvent("stripe", "e9", "t", now_ms, (Refunded("p", 400),)))
    assert "owes 4 tokens" in refused(world, lara, "owes")
    fee = {"subscription_ref": "s1", "member_id": lara.member_id, "plan": "roll"}
    payments.take(PaymentEvent("stripe", "e10", "t", now_ms, (FeeTold("begun", **fee),)))
    assert "End that subscription" in refused(world, lara, "fees_run", write_off=True)
    payments.take(PaymentEvent("stripe", "e11", "t", now_ms, (FeeTold("ended", **fee),)))
    with pytest.raises(LedgerError) as caught:
        world.ledger.finance.erase_member(lara.member_id, actor="boss", reason=" ")
    assert caught.value.code == "no_reason"
    assert erase(world, lara, write_off=True)
