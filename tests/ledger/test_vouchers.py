"""Vouchers: unguessable, redeemed once, expiring, withdrawn, and not to be tried out."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from jhub_tokens.ledger import LedgerError
from jhub_tokens.ledger.store import Store, open_engine
from jhub_tokens.ledger.voucher_codes import new_code, read_code
from jhub_tokens.ledger.vouchers import TRIES_IN_AN_HOUR
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS
from .test_refunds import limited

DAY_MS = 24 * HOUR_MS
SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def make(world, count=1, tokens=5, **changes):
    order = {
        "count": count,
        "amount_grains": round(tokens * GRAINS_PER_TOKEN),
        "note": "workshop",
        "actor": "admin",
        "caller": "test",
        "key": uuid.uuid4().hex,
        **changes,
    }
    return world.ledger.vouchers.make(**order)


def refused(world, member, code):
    with pytest.raises(LedgerError) as refusal:
        world.ledger.vouchers.redeem(member.member_id, code)
    return refusal.value.code


# --- codes ------------------------------------------------------------------------------------


@given(st.integers(0, 19), st.sampled_from(SYMBOLS))
def test_one_wrong_symbol_is_a_typing_error(position, symbol):
    plain = new_code().replace("-", "")
    assert read_code(plain) == plain
    wrong = plain[:position] + symbol + plain[position + 1 :]
    assert (read_code(wrong) is None) == (wrong != plain)


def test_case_blanks_and_confusable_letters_do_not_matter():
    code = new_code()
    plain = code.replace("-", "")
    assert read_code(f"  {code.lower().replace('-', ' ')} ") == plain
    assert read_code(plain.replace("0", "o").replace("1", "l")) == plain
    assert read_code("") is read_code(plain[:-1]) is read_code("U" * 20) is None
    assert len({new_code() for _ in range(1000)}) == 1000


# --- redeeming --------------------------------------------------------------------------------


def test_a_voucher_is_redeemed_once_and_told_twice_is_the_same(world):
    (lara, _), (rolf, _) = world.join("lara"), world.join("rolf")
    batch, (code, other) = make(world, 2)
    booked = world.ledger.vouchers.redeem(lara.member_id, code)
    assert booked.balance_grains == world.balance(lara) == 105 * GRAINS_PER_TOKEN
    world.clock.advance_ms(HOUR_MS)
    assert world.ledger.vouchers.redeem(lara.member_id, code.lower()) == booked
    assert refused(world, rolf, code) == "voucher_used"
    world.ledger.vouchers.redeem(rolf.member_id, other)
    ((listed,), total) = world.ledger.vouchers.batches()
    assert (total, listed.batch_id, listed.redeemed) == (1, batch.batch_id, 2)
    assert world.kinds(lara) == ["credited"]


def test_everybody_at_once_with_one_code_redeems_it_once(world):
    members = [world.join(name)[0] for name in "abcd"]
    _, (code,) = make(world)
    books = [world.open() for _ in range(2)]
    barrier = threading.Barrier(4)

    def redeem(index):
        barrier.wait()
        try:
            books[index % 2].vouchers.redeem(members[index].member_id, code)
            return 1
        except LedgerError as refusal:
            assert refusal.code == "voucher_used"
            return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(redeem, range(4))) == 1
    assert sum(world.balance(member) for member in members) == 405 * GRAINS_PER_TOKEN
    for ledger in books:
        ledger.close()


def test_vouchers_expire_and_can_be_withdrawn(world):
    lara, _ = world.join()
    _, (late,) = make(world, expires_ms=world.clock.now_ms() + DAY_MS)
    batch, (first, second) = make(world, 2)
    world.ledger.vouchers.redeem(lara.member_id, first)
    assert world.ledger.vouchers.revoke(batch.batch_id, actor="ada").revoked_by == "ada"
    assert world.ledger.vouchers.revoke(batch.batch_id, actor="eve").revoked_by == "ada"
    assert refused(world, lara, second) == "voucher_revoked"
    world.clock.advance_ms(DAY_MS)
    assert refused(world, lara, late) == "voucher_expired"
    assert world.ledger.vouchers.redeem(lara.member_id, first).amount_grains, "it was redeemed"
    with pytest.raises(LedgerError, match="no such batch"):
        world.ledger.vouchers.revoke("none", actor="ada")


def test_the_tokens_of_a_voucher_may_lapse(world):
    lara, _ = world.join()
    _, (code,) = make(world, tokens_last_ms=3 * DAY_MS)
    assert world.ledger.vouchers.redeem(lara.member_id, code).expires_ms == (
        world.clock.now_ms() + 3 * DAY_MS
    )
    assert world.tokens(lara) == 105
    world.clock.advance_ms(3 * DAY_MS)
    world.hub.tell()
    assert world.tokens(lara) == 100


def test_wrong_codes_are_limited_within_an_hour(world):
    (lara, _), (rolf, _) = world.join("lara"), world.join("rolf")
    _, (code, used) = make(world, 2)
    world.ledger.vouchers.redeem(lara.member_id, used)
    for _ in range(TRIES_IN_AN_HOUR):
        assert refused(world, lara, new_code()) == "unknown_voucher"
        assert refused(world, lara, "a typing error") == "mistyped_code"
        world.clock.advance_ms(60_000)
    with pytest.raises(LedgerError, match="again in 50 min") as refusal:
        world.ledger.vouchers.redeem(lara.member_id, code)
    assert refusal.value.code == "too_many_tries"
    assert world.ledger.vouchers.redeem(lara.member_id, used).amount_grains, "a repeat is no guess"
    assert world.tokens(lara) == 105
    assert refused(world, rolf, new_code()) == "unknown_voucher", "others have their own limit"
    world.clock.advance_ms(50 * 60_000)
    world.ledger.vouchers.redeem(lara.member_id, code)


def test_the_database_does_not_know_the_codes(world):
    _, codes = make(world, 3)
    store = Store(open_engine(world.url))
    with store.read() as connection:
        rows = [str(tuple(row)) for row in connection.execute(text("SELECT * FROM vouchers"))]
        rows += [str(tuple(row)) for row in connection.execute(text("SELECT * FROM idempotency"))]
    store.close()
    assert len(rows) == 4
    for code in codes:
        assert not any(code in row or code.replace("-", "") in row for row in rows)


# --- making -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"count": 0}, "bad_count"),
        ({"count": 10_001}, "bad_count"),
        ({"tokens": 0}, "bad_amount"),
        ({"amount_grains": 1}, "bad_amount"),
        ({"expires_ms": 1}, "bad_expiry"),
        ({"tokens_last_ms": 0}, "bad_expiry"),
    ],
)
def test_bad_batches_are_refused(world, change, code):
    with pytest.raises(LedgerError) as refusal:
        make(world, **change)
    assert refusal.value.code == code
    assert world.ledger.vouchers.batches() == ((), 0)


def test_a_batch_is_made_once_and_counts_towards_the_administrators_limit(world):
    limited(world, 100)
    make(world, 10, 5, key="the-same-key")
    with pytest.raises(LedgerError, match="kept nowhere") as refusal:
        make(world, 10, 5, key="the-same-key")
    assert refusal.value.code == "batch_made"
    with pytest.raises(LedgerError, match="of which 50 are left"):
        make(world, 11, 5)
    assert world.ledger.vouchers.batches()[1] == 1
