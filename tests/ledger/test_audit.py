"""The audit: every projection is derived again, and what does not agree is named."""

import pytest
from sqlalchemy import text

from jhub_tokens.ledger.payment_records import Paid, PaymentEvent, Refunded
from jhub_tokens.ledger.store import Store, open_engine
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS, NOVEMBER_MS
from .tampering import found, rehash

DAY_MS = 24 * HOUR_MS


@pytest.fixture
def lived_in(make_world):
    """Books in which everything has happened that leaves a projection."""
    world = make_world(overrun="deduct")
    (rolf, identity), (lara, other) = world.join("rolf"), world.join("lara")
    rolf_id = rolf.member_id
    world.give(rolf, 5, key="a-key")
    batch, (code, _) = world.ledger.vouchers.make(
        count=2, amount_grains=GRAINS_PER_TOKEN, actor="admin", caller="test", key="vouchers"
    )
    world.ledger.vouchers.redeem(rolf_id, code)
    key = world.hub.run(rolf, identity, "gpu")
    world.pass_time(HOUR_MS, step_ms=HOUR_MS)
    world.hub.end(key)
    session = world.ledger.statement(rolf_id, NOVEMBER_MS, NOVEMBER_MS + 30 * DAY_MS).entries
    session_id = next(line.session_id for line in session if line.session_id)
    world.ledger.refund_session(
        session_id,
        amount_grains=GRAINS_PER_TOKEN,
        actor="admin",
        reason="it was slow",
        caller="test",
        key="refund",
    )
    facts = {"provider": "stripe", "price_minor": 1000, "currency": "EUR", "actor": "rolf"}
    invoice = world.ledger.payments.order(rolf_id, amount_grains=10 * GRAINS_PER_TOKEN, **facts)
    for name, fact in (
        ("paid", Paid(invoice.invoice_id, "pi_1", 1000, "EUR")),
        ("back", Refunded("pi_1", 500)),
    ):
        world.ledger.payments.take(PaymentEvent("stripe", name, name, NOVEMBER_MS, (fact,)))
    # An overrun: nobody heard of the hub while the balance ran out.
    key = world.hub.run(lara, other, "gpu")
    world.clock.advance_ms(11 * HOUR_MS)
    world.hub.tell()
    world.hub.end(key)
    world.clock.set_ms(world.ledger.periods(rolf_id)[0][1] + HOUR_MS)
    world.hub.tell()
    world.ledger.advance_due()
    world.give(rolf, 3, key="in december")
    world.ledger.change_plan(lara.member_id, "small", when="next", actor="admin", reason="asked")
    world.run_on = world.hub.run(rolf, identity, "cpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    assert world.ledger.audit() == ()
    world.wallets = {"rolf": rolf.wallet_id, "lara": lara.wallet_id}
    return world


NUMBER_3 = "transaction_id IN (SELECT transaction_id FROM transactions WHERE number = 3)"


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("statement", "where", "message"),
    [
        ("UPDATE entries SET amount_grains = amount_grains + 1 WHERE line = 0 AND " + NUMBER_3,
         "transaction 3", "sum to zero"),
        (f"UPDATE entries SET amount_grains = amount_grains * 2 WHERE {NUMBER_3}",
         "transaction 3", "hash does not fit"),
        (f"UPDATE transactions SET at_ms = at_ms + 1 WHERE {NUMBER_3}",
         "transaction 3", "hash does not fit"),
        (f"UPDATE transactions SET actor = 'hub:other' WHERE {NUMBER_3}",
         "transaction 3", "hash does not fit"),
        (f"UPDATE transactions SET version = 1 WHERE {NUMBER_3}",
         "transaction 3", "hash does not fit"),
        (f"UPDATE transactions SET change_grains = change_grains + 1 WHERE {NUMBER_3}",
         "transaction 3", "says it changed"),
        ("UPDATE remarks SET actor = 'somebody else'", "transaction 2", "remark was changed"),
        ("UPDATE remarks SET reason = 'another'", "transaction 2", "remark was changed"),
        ("DELETE FROM remarks", "transaction 2", "remark is missing"),
        ("UPDATE grants SET remaining_grains = remaining_grains + 1 WHERE source = 'topup'",
         "grant", "its entries say"),
        ("UPDATE grants SET granted_grains = granted_grains + 1 WHERE source = 'rollover'",
         "grant", "was granted"),
        ("UPDATE grants SET spent = (1 = 1) WHERE remaining_grains > 0",
         "grant", "counts as spent"),
        ("UPDATE grants SET source = 'voucher' WHERE source = 'topup'", "grant", "has source"),
        ("UPDATE grants SET expires_ms = expires_ms + 1 WHERE source = 'plan'",
         "grant", "has expires_ms"),
        ("UPDATE grants SET starts_ms = starts_ms - 1 WHERE source = 'rollover'",
         "grant", "has starts_ms"),
        ("UPDATE grants SET expires_ms = 99999999999999 WHERE source = 'topup'",
         "grant", "has expires_ms"),
        ("UPDATE grants SET priority = 5 WHERE source = 'topup'", "grant", "has priority"),
        ("UPDATE grants SET age = 77 WHERE source = 'topup'", "grant", "has age"),
        ("UPDATE grants SET rolls_left = 7, rolls = (1 = 1) WHERE source = 'rollover'",
         "grant", "has rolls_left"),
        ("UPDATE grants SET rolls = (1 = 1) WHERE source = 'topup'", "grant", "has rolls"),
        ("UPDATE sessions SET charged_grains = charged_grains + 1", "session", "its entries say"),
        ("UPDATE sessions SET refunded_grains = refunded_grains + 1",
         "session", "rate × time is"),
        ("UPDATE sessions SET ended_ms = ended_ms - 1", "session", "rate × time is"),
        ("UPDATE sessions SET settled = (1 = 0) WHERE settled", "session", "count as settled"),
        ("UPDATE sessions SET settled = (1 = 1) WHERE NOT settled", "session", "counts as settled"),
        ("UPDATE wallets SET open_sessions = 4", "wallet", "open sessions"),
        ("UPDATE wallets SET head_hash = 'x'", "wallet", "tail was cut"),
        ("UPDATE wallets SET transactions_count = 99", "wallet", "tail was cut"),
        ("UPDATE wallets SET period_n = period_n + 1", "wallet", "has period_start_ms"),
        ("UPDATE wallets SET period_start_ms = period_start_ms - 1",
         "wallet", "has period_start_ms"),
        ("UPDATE wallets SET period_end_ms = period_end_ms + 1", "wallet", "has period_end_ms"),
        ("UPDATE wallets SET allotment_grains = allotment_grains + 1",
         "wallet", "has allotment_grains"),
        ("UPDATE wallets SET debt_grains = debt_grains + 1", "wallet", "owes 1"),
        ("UPDATE wallets SET settled_to_ms = settled_to_ms - 99999999", "wallet",
         "has settled_to_ms"),
        ("UPDATE wallets SET settled_to_ms = settled_to_ms + 1 WHERE open_sessions > 0",
         "session", "rate × time is"),
        ("UPDATE wallets SET next_deadline_ms = 99999999999999", "wallet", "is looked at again"),
        ("UPDATE wallet_periods SET opening_grains = opening_grains + 1 WHERE n = 1",
         "period 1", "has opening_grains"),
        ("UPDATE wallet_periods SET allotment_grains = 1 WHERE n = 0",
         "period 0", "has allotment_grains"),
        ("UPDATE wallet_periods SET end_ms = end_ms + 1 WHERE n = 0", "period 0", "has end_ms"),
        ("DELETE FROM subscriptions", "wallet", "has no subscription"),
        ("UPDATE vouchers SET transaction_id = 'none' WHERE redeemed_ms IS NOT NULL",
         "voucher", "counts as redeemed"),
        ("UPDATE vouchers SET member_id = NULL, redeemed_ms = NULL, transaction_id = NULL"
         " WHERE redeemed_ms IS NOT NULL", "transaction", "but 0 name it"),
        ("UPDATE voucher_batches SET amount_grains = amount_grains + 1",
         "voucher", "counts as redeemed"),
        ("DELETE FROM vouchers WHERE redeemed_ms IS NULL", "batch", "has 2 vouchers, there are 1"),
        ("UPDATE invoices SET amount_grains = amount_grains + 1", "invoice", "counts as paid"),
        ("UPDATE invoices SET taken_grains = taken_grains + 1", "invoice", "taken back"),
        ("UPDATE invoices SET missing_grains = missing_grains + 1", "invoice", "misses"),
        ("UPDATE invoices SET grant_id = 'none'", "invoice", "names grant none"),
        ("UPDATE invoices SET paid_ms = NULL", "invoice", "is not paid, but"),
        ("UPDATE payment_refunds SET refunded_minor = 1000", "invoice", "misses"),
        ("UPDATE admin_months SET moved_mtok = moved_mtok + 1", "month 2026-11 of test", "counts"),
        ("UPDATE admin_months SET moved_mtok = moved_mtok - 1 WHERE month = '2026-12'",
         "month 2026-12 of test", "counts"),
        ("DELETE FROM admin_months WHERE month = '2026-12'", "month 2026-12 of test", "counts 0"),
        ("UPDATE plan_changes SET plan = 'roll'", "plan change", "waits for plan roll"),
        ("UPDATE plan_changes SET applied_ms = 1, revoked_ms = 1", "plan change", "both"),
        ("UPDATE plan_changes SET at_ms = 1", "plan change", "is due"),
        ("UPDATE subscriptions SET next_plan = NULL", "plan change", "waits for plan small"),
        ("DELETE FROM wallets WHERE open_sessions = 0", "transaction", "belongs to no wallet"),
        ("DELETE FROM entries WHERE line = 0", "transaction 1", "hash does not fit"),
        ("DELETE FROM grants WHERE source = 'topup'", "grant", "has entries but no row"),
        ("DELETE FROM sessions", "session", "was charged but has no row"),
    ],
)  # fmt: skip
def test_what_was_changed_is_found_and_named(lived_in, statement, where, message):
    findings = found(lived_in, statement)
    assert any(where in finding and message in finding for finding in findings), findings


def test_a_gap_and_a_cut_tail(lived_in):
    tables = ("entries", "remarks", "transactions")
    of = "transaction_id IN (SELECT transaction_id FROM transactions WHERE number {})"
    entries, remarks = (f"DELETE FROM {table} WHERE {of}" for table in tables[:2])
    delete = "DELETE FROM transactions WHERE number {}"
    gap = found(lived_in, *(s.format("= 2") for s in (entries, remarks, delete)))
    assert any("transaction 3" in f and "number 2 is missing before it" in f for f in gap)
    cut = found(lived_in, *(s.format("> 2") for s in (entries, remarks, delete)))
    assert any("the chain holds 2" in finding for finding in cut)


def test_a_request_whose_transaction_is_gone(lived_in):
    forged = "UPDATE idempotency SET answer = '{\"transaction_id\": \"none\"}' WHERE key = 'a-key'"
    assert any("request a-key of test" in f and "none" in f for f in found(lived_in, forged))


def test_nothing_is_found_in_an_untouched_book(lived_in):
    """The control: taking the guards away is no finding by itself."""
    assert found(lived_in) == []


def test_every_transaction_names_who_and_why(lived_in):
    store = Store(open_engine(lived_in.url))
    with store.read() as connection:
        rows = connection.execute(text("SELECT kind, actor, reason FROM transactions")).all()
    store.close()
    named = {(row.kind, row.actor) for row in rows}
    assert {
        ("usage", "hub:hub"),
        ("allotment", "system:allotment"),
        ("rollover", "system:rollover"),
        ("expiry", "system:expiry"),
        ("overrun", "system:overrun"),
        ("topup", "person"),
    } <= named
    assert all(row.actor and row.reason for row in rows)


def test_a_transaction_of_nobody_is_found(lived_in):
    findings = found(lived_in, "UPDATE transactions SET actor = '', reason = ' ', version = 1")
    assert any("names no actor" in finding for finding in findings)
    assert any("names no reason" in finding for finding in findings)


def test_erasing_what_people_said_leaves_the_chain_whole(lived_in):
    erase = "UPDATE remarks SET actor = '', reason = '', salt = '', erased_ms = 1"
    assert found(lived_in, erase) == []
    assert found(lived_in, erase.replace(", erased_ms = 1", "")) != []


def test_what_the_previous_release_writes_is_clean(lived_in):
    """It knows nothing of versions: its hashes cover neither actor nor reason."""

    def older(connection):
        connection.execute(
            text(
                "UPDATE transactions SET version = 1, actor = 'system', reason = 'see its kind',"
                " remark_hash = ''"
            )
        )
        connection.execute(text("UPDATE remarks SET salt = ''"))
        for wallet_id in lived_in.wallets.values():
            rehash(connection, wallet_id)

    assert found(lived_in, older) == []
