"""Members, credits, statements, the audit and databases that cannot be used."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from jhub_tokens.ledger import DatabaseProblem, LedgerError, open_ledger
from jhub_tokens.ledger.store import Store, open_engine
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import Identity

from .conftest import HOUR_MS

# --- members --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["ünïcødé 学生", "a@b.example", "x" * 200, "with space", "O'Neil; DROP TABLE", "ÄÖÜ"]
)
def test_any_name_is_a_member(world, name):
    member, identity = world.join(name)
    assert world.ledger.member_by_name(name) == member
    assert world.ledger.ensure_member(identity) == member
    found, total = world.ledger.members(search=name[:5].upper())
    assert (total, found[0].member.name) == (1, name)


def test_a_renamed_member_keeps_the_wallet(world):
    member, identity = world.join("ann")
    world.give(member, 5)
    renamed = world.ledger.ensure_member(identity.model_copy(update={"name": "anna"}))
    assert (renamed.member_id, renamed.name) == (member.member_id, "anna")
    assert world.tokens(renamed) == 105
    assert world.ledger.member_by_name("ann") is None


def test_a_recreated_member_starts_anew_and_the_old_books_remain(world):
    old, identity = world.join("ann")
    world.give(old, 5)
    # SQLite gives the id out again; the creation time tells the two apart.
    again = Identity(hub_user_id=identity.hub_user_id, created="2026-11-02", name="ann")
    new = world.ledger.ensure_member(again)
    assert new.member_id != old.member_id
    assert (world.tokens(new), world.tokens(old)) == (100, 105)
    assert world.ledger.member_by_name("ann") == new
    assert world.ledger.member_by_name("ann", identity.created).member_id == old.member_id


def test_everybody_signing_in_at_once_is_one_member(world):
    identity = world.identity("ann")
    books = [world.open() for _ in range(2)]
    barrier = threading.Barrier(4)

    def ensure(index):
        barrier.wait()
        return books[index % 2].ensure_member(identity).member_id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ensure, range(4)))) == 1
    for ledger in books:
        ledger.close()


# --- credits --------------------------------------------------------------------------------


def test_a_repeated_grant_is_booked_once(world):
    member, _ = world.join()
    first = world.give(member, 5, key="the-same-key")
    world.clock.advance_ms(HOUR_MS)
    assert world.give(member, 5, key="the-same-key") == first
    assert world.tokens(member) == 105
    with pytest.raises(LedgerError) as conflict:
        world.give(member, 6, key="the-same-key")
    assert conflict.value.code == "idempotency_conflict"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount_grains": 0}, "zero_amount"),
        ({"amount_grains": 1}, "fraction"),
        ({"amount_grains": -GRAINS_PER_TOKEN}, "negative_topup"),
        ({"amount_grains": -101 * GRAINS_PER_TOKEN, "kind": "adjustment"}, "insufficient"),
        ({"amount_grains": 3 * 10**9 * GRAINS_PER_TOKEN}, "too_much"),
        ({"amount_grains": 2_499_999_999 * GRAINS_PER_TOKEN}, "too_much"),
        ({"kind": "gift"}, "bad_kind"),
        ({"reason": "  "}, "no_reason"),
        ({"member_id": "nobody"}, "unknown_member"),
    ],
)
def test_bad_grants_are_refused_and_leave_nothing(world, change, code):
    member, _ = world.join()
    order = {
        "amount_grains": GRAINS_PER_TOKEN,
        "kind": "topup",
        "actor": "admin",
        "reason": "because",
        "caller": "test",
        "key": "key-12345",
        **change,
    }
    with pytest.raises(LedgerError) as refusal:
        world.ledger.grant(order.pop("member_id", member.member_id), **order)
    assert refusal.value.code == code
    assert world.tokens(member) == 100
    assert world.kinds(member) == []


def test_what_lapses_burns_before_what_was_paid_for(world):
    member, identity = world.join()
    world.give(member, 10)
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(4 * HOUR_MS)
    world.hub.end(key)
    grants = world.ledger.wallet_view(member.member_id).grants
    left = {g.source: g.remaining_grains // GRAINS_PER_TOKEN for g in grants}
    assert left == {"plan": 60, "topup": 10}


# --- statements -----------------------------------------------------------------------------


def test_the_statement_adds_up_to_the_balance_at_any_instant(world):
    member, identity = world.join("rolf")
    world.give(member, 3)
    world.hub.run(member, identity, "gpu")
    for step in range(12):
        world.clock.advance_ms(7_777_777)
        if step % 3 == 0:
            world.hub.tell()
        period = world.ledger.periods(member.member_id)[0]
        view = world.ledger.statement(member.member_id, *period)
        assert view.closing_grains == world.balance(member)
        assert view.opening_grains + sum(e.amount_grains for e in view.entries) == (
            view.closing_grains
        )


def test_the_actor_and_the_reason_stand_in_the_statement(world):
    member, _ = world.join()
    world.give(member, 3)
    period = world.ledger.periods(member.member_id)[0]
    topup = world.ledger.statement(member.member_id, *period).entries[-1]
    assert (topup.kind, topup.actor, topup.reason) == ("topup", "admin", "for the test")


@pytest.mark.parametrize("table", ["entries", "transactions"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET wallet_id = wallet_id", "DELETE FROM {}"])
def test_entries_and_transactions_are_append_only(world, table, statement):
    world.join()
    if table == "entries":
        statement = statement.replace("wallet_id", "account")
    store = Store(open_engine(world.url))
    with pytest.raises(DBAPIError, match="append-only"), store.write() as connection:
        connection.execute(text(statement.format(table)))
    store.close()


# --- databases that cannot be used ----------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "cannot be read"),
        ("what?", "cannot be read"),
        ("mysql://x/y", "not a database that the books"),
        ("sqlite://", "in memory"),
        ("sqlite:////nowhere/at/all.sqlite", "cannot be opened"),
        ("postgresql://nobody@127.0.0.1:1/none", "cannot be reached"),
    ],
)
def test_a_bad_url_says_so(url, message):
    with pytest.raises(DatabaseProblem) as problem:
        open_ledger(url)
    assert message in problem.value.message
    assert problem.value.remedy


def test_a_newer_schema_is_left_alone(world):
    store = Store(open_engine(world.url))
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseProblem, match="newer than this release"):
        world.open()
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    store.close()


def test_a_file_that_is_no_database_says_so(tmp_path):
    path = tmp_path / "books.sqlite"
    path.write_text("this is a letter, not a database, and it is long enough to be read " * 20)
    with pytest.raises(DatabaseProblem, match="not a sound SQLite database"):
        open_ledger(f"sqlite:///{path}")


def test_somebody_elses_database_is_left_alone(tmp_path):
    path = tmp_path / "bank.sqlite"
    bank = sqlite3.connect(path)
    bank.execute("CREATE TABLE transactions (x)")
    bank.close()
    with pytest.raises(DatabaseProblem, match="these books did not make"):
        open_ledger(f"sqlite:///{path}")


def test_the_migrations_make_the_schema_that_the_code_uses(world):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from jhub_tokens.ledger.schema import metadata

    store = Store(open_engine(world.url))
    with store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    store.close()


def test_totals_add_up(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    world.give(member, 2_400_000_000)
    world.give(world.join("b")[0], 2_400_000_000)  # the sum exceeds the database's int64
    totals = world.ledger.totals()
    assert totals["issued_grains"] == (4_800_000_200) * GRAINS_PER_TOKEN
    assert totals["consumed_grains"] == 10 * GRAINS_PER_TOKEN
    assert totals["issued_grains"] == totals["balance_grains"] + totals["consumed_grains"]
