"""Reports add up to the entries, closed months never change, and no writer slips into one."""

import shutil
import threading
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import LedgerError, schema
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.figures import digest_of
from jhub_tokens.ledger.finance_records import BY
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.payment_records import Disputed, Paid, PaymentEvent, Refunded
from jhub_tokens.ledger.rows import ENDS
from jhub_tokens.periods import month_of, month_span, months_between
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import CATALOGUE, HOUR_MS, NOVEMBER_MS, World
from .tampering import found

DAY_MS = 24 * HOUR_MS
ZONE = "Europe/Berlin"
DECEMBER_MS = month_span("2026-12", ZONE)[0]
JANUARY_MS = month_span("2027-01", ZONE)[0]
CENTRES = """
cost_centres:
  physics: {members: [lara]}
  chemistry: {groups: [chem]}
"""


def entries_of(world):
    """Every entry with its transaction, without the code under test."""
    t, e = schema.transactions, schema.entries
    query = select(t, e.c.account, e.c.amount_grains).join(
        e, e.c.transaction_id == t.c.transaction_id
    )
    with world.ledger._store.read() as connection:
        return connection.execute(query).mappings().all()


def month_by_entry(world):
    """What each account has in each month by the plain rule: no closed months."""
    sums = defaultdict(int)
    for row in entries_of(world):
        effective = row["at_ms"] - (row["kind"] in ENDS)
        sums[month_of(effective, ZONE), row["account"]] += row["amount_grains"]
    return dict(sums)


def by_account(figures):
    sums = defaultdict(int)
    for figure in figures:
        if figure.section == "entries":
            sums[figure.account] += figure.amount
    return sums


def close(world, month="2026-11"):
    return world.ledger.finance.close_month(month, actor="boss", reason="the month is over")


def to_december(world):
    world.clock.advance_ms(DECEMBER_MS + HOUR_MS - world.clock.now_ms())
    world.hub.tell()


def refused(code, call, *args, **options):
    with pytest.raises(LedgerError) as caught:
        call(*args, **options)
    assert caught.value.code == code
    return caught.value.message


def test_months_of_the_billing_zone():
    assert month_span("2026-11", ZONE)[0] == NOVEMBER_MS
    assert month_of(NOVEMBER_MS - 1, ZONE) == "2026-10"
    assert months_between(NOVEMBER_MS, JANUARY_MS, ZONE) == [DECEMBER_MS]
    assert months_between(DECEMBER_MS, DECEMBER_MS, ZONE) == []
    assert months_between(DECEMBER_MS - 1, DECEMBER_MS + 1, ZONE) == [DECEMBER_MS]


def test_a_run_over_the_end_of_a_month_is_booked_to_both(world):
    lara, identity = world.join()
    world.clock.advance_ms(DECEMBER_MS - HOUR_MS - world.clock.now_ms())
    key = world.hub.run(lara, identity)
    world.clock.advance_ms(3 * HOUR_MS)
    world.hub.end(key)
    november = world.ledger.finance.report("2026-11", "2026-11", ["profile"])
    december = world.ledger.finance.report("2026-12", "2026-12", ["profile"])
    consumed = [
        {row.profile: row.consumed for row in report.rows if row.consumed}
        for report in (november, december)
    ]
    assert consumed == [{"cpu": GRAINS_PER_TOKEN}, {"cpu": 2 * GRAINS_PER_TOKEN}]


@pytest.fixture
def closed(world):
    """A month with a run, a top-up and a refund in it, closed."""
    lara, identity = world.join()
    key = world.hub.run(lara, identity, "gpu")
    world.clock.advance_ms(2 * HOUR_MS)
    world.hub.end(key)
    world.give(lara, 30)
    to_december(world)
    world.lara, world.identity = lara, identity
    world.done = close(world)
    return world


def session_of(world):
    with world.ledger._store.read() as connection:
        return connection.execute(select(schema.sessions.c.session_id)).scalars().first()


def test_a_closed_month_stays_to_the_byte(closed):
    finance = closed.ledger.finance
    before = finance.figures("2026-11")
    report = finance.report("2026-11", "2026-11", BY)
    assert report.closed and report.digests == (("2026-11", digest_of(before)),)
    assert closed.done.digest == digest_of(before)
    closed.ledger.refund_session(
        session_of(closed), actor="boss", reason="it had failed", caller="boss", key="k" * 8
    )
    closed.give(closed.lara, 5)
    assert finance.figures("2026-11") == before
    assert finance.report("2026-11", "2026-11", BY) == report
    december = finance.report("2026-12", "2026-12", [])
    assert december.total.refunded == 20 * GRAINS_PER_TOKEN and not december.closed
    again = close(closed)
    assert again == closed.done  # idempotent, whoever asks and why


def test_what_is_about_a_closed_month_is_posted_to_the_open_one(world):
    """A replica whose clock is behind writes into the past."""
    world.clock.advance_ms(15 * DAY_MS)
    lara, _ = world.join()
    to_december(world)
    finance = world.ledger.finance
    close(world)
    before = finance.figures("2026-11")
    now_ms = world.clock.now_ms()
    world.clock.advance_ms(DECEMBER_MS - DAY_MS - now_ms)
    world.give(lara, 7)
    world.clock.advance_ms(now_ms - world.clock.now_ms())
    assert finance.figures("2026-11") == before
    december = finance.report("2026-12", "2026-12", ["source"])
    assert {row.source: row.granted for row in december.rows} == {"topup": 7 * GRAINS_PER_TOKEN}
    page = finance.export_page(DECEMBER_MS, JANUARY_MS)
    (late,) = [item for item in page.transactions if item.corrects == "month:2026-11"]
    assert (late.posted_ms, late.at_ms) == (DECEMBER_MS, DECEMBER_MS - DAY_MS)


def test_months_close_in_order_and_not_too_early(world):
    lara, identity = world.join()
    assert "not over yet" in refused("month_runs", close, world)
    to_december(world)
    refused("not_in_order", close, world, "2026-10")
    refused("bad_month", close, world, "2026-13")
    refused("no_reason", world.ledger.finance.close_month, "2026-11", actor="boss", reason=" ")
    assert close(world).month == "2026-11"
    assert "not over yet" in refused("month_runs", close, world, "2026-12")
    world.clock.advance_ms(70 * DAY_MS)
    world.hub.tell()
    assert "2026-12 is the next one" in refused("not_in_order", close, world, "2027-01")
    assert [close(world, month).month for month in ("2026-12", "2027-01")]
    assert [done.month for done in world.ledger.finance.closed_months()] == [
        "2027-01", "2026-12", "2026-11",
    ]  # fmt: skip


def test_a_month_with_a_server_not_heard_of_is_not_closed(world):
    lara, identity = world.join()
    world.hub.run(lara, identity)
    world.clock.advance_ms(DECEMBER_MS + HOUR_MS - world.clock.now_ms())
    message = refused("month_unsettled", close, world)
    assert "lara" in message and "let their hub report" in message
    assert world.ledger.finance.closed_months() == ()
    world.hub.tell()
    assert close(world).digest


def test_an_idle_hub_must_have_been_heard(world):
    world.clock.advance_ms(15 * DAY_MS)
    world.join()
    world.hub.tell()
    world.clock.advance_ms(JANUARY_MS + HOUR_MS - world.clock.now_ms())
    assert close(world)  # nothing was due within November
    message = refused("month_unsettled", close, world, "2026-12")
    assert "No hub has reported since" in message
    world.hub.tell()
    assert close(world, "2026-12").digest


def test_a_close_that_broke_off_is_finished(closed):
    lost = closed.ledger.finance.figures("2026-11")
    with closed.ledger._store.write() as connection:
        for table in ("closed_figures", "closed_reports"):
            connection.execute(
                text(f"DROP TRIGGER guard_{table}_delete")
                if closed.ledger._store.is_sqlite
                else text(f"ALTER TABLE {table} DISABLE TRIGGER guard_{table}_delete")
            )
            connection.execute(text(f"DELETE FROM {table}"))
    closed.give(closed.lara, 5)
    assert close(closed) == closed.done
    assert closed.ledger.finance.figures("2026-11") == lost


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "UPDATE closed_figures SET amount = '7' WHERE line = 0",
            "its figures were changed after they were written",
        ),
        (
            "DELETE FROM closed_figures WHERE line = 0",
            "its figures were changed after they were written",
        ),
        (
            "UPDATE transactions SET plan = 'other' WHERE kind = 'usage'",
            "the books give other figures than those that were written",
        ),
        (
            "UPDATE closed_months SET end_ms = end_ms - 3600000 WHERE month = '2026-11'",
            "does not begin where the month before it ends",
        ),
    ],
)
def test_an_audit_looks_at_closed_months(closed, statement, message):
    closed.clock.set_ms(JANUARY_MS + HOUR_MS)
    closed.hub.tell()
    close(closed, "2026-12")
    assert closed.ledger.audit() == ()
    findings = found(closed, statement)
    assert any(finding.startswith("closed month") and message in finding for finding in findings)


@pytest.mark.parametrize(
    "table", ["closed_months", "closed_figures", "closed_reports", "late_postings", "money_moves"]
)
def test_finance_is_append_only(closed, table):
    if table in ("late_postings", "money_moves"):
        with closed.ledger._store.write() as connection:
            _fill(connection, closed.lara.member_id)
    column = {"late_postings": "month", "money_moves": "kind"}.get(table, "month")
    for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}"):
        with (
            pytest.raises(DBAPIError, match="append-only"),
            closed.ledger._store.write() as connection,
        ):
            connection.execute(text(statement))


def _fill(connection, member_id):
    move = {
        "move_id": "m" * 8, "kind": "topup", "provider": "manual", "member_id": member_id,
        "amount_minor": 1, "currency": "EUR", "at_ms": NOVEMBER_MS, "booked_ms": NOVEMBER_MS,
    }  # fmt: skip
    connection.execute(insert(schema.money_moves), move)  # is posted late by the trigger


# --- writers and a close at once -----------------------------------------------------------------


@pytest.mark.postgresql
def test_a_close_waits_for_a_writer_within_its_transaction(closed_writer):
    """What was inserted before the close is in the month; the close cannot overtake it."""
    world, connection, transaction = closed_writer
    done = []
    closer = threading.Thread(target=lambda: done.append(close(world)))
    closer.start()
    closer.join(0.5)
    assert closer.is_alive() and not done
    transaction.commit()
    connection.close()
    closer.join(20)
    assert done and done[0].digest
    granted = by_account(world.ledger.finance.figures("2026-11"))["issued:topup"]
    assert granted == -3 * GRAINS_PER_TOKEN
    with world.ledger._store.read() as reading:
        assert not reading.execute(select(schema.late_postings)).all()


@pytest.fixture
def closed_writer(request, tmp_path):
    """A writer on PostgreSQL that has posted into November and not committed yet."""
    url = request.getfixturevalue("postgres_template")()
    world = World(url)
    # Nothing of this wallet is due at the month's end: a close does not wait for its row's lock.
    world.clock.advance_ms(15 * DAY_MS)
    lara, _ = world.join()
    to_december(world)
    store = world.ledger._store
    connection = store.engine.connect()
    transaction = connection.begin()
    opened = load_wallet(connection, world.catalogue, DECEMBER_MS - HOUR_MS, lara.member_id)
    opened.credit(
        "topup", 3 * GRAINS_PER_TOKEN, at_ms=DECEMBER_MS - HOUR_MS, starts_ms=DECEMBER_MS - HOUR_MS,
        actor="desk", reason="slow",
    )  # fmt: skip
    close_wallet(opened, world.catalogue)
    yield world, connection, transaction
    world.ledger.close()


def test_writers_and_a_close_race(world):
    """Many writers beside the close: the figures are what the entries say, once and for all."""
    members = [world.join(f"m{n}")[0] for n in range(4)]
    to_december(world)
    errors = []

    def write(member):
        try:
            for _ in range(6):
                world.give(member, 1)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(member,)) for member in members]
    for thread in threads:
        thread.start()
    done = close(world)
    for thread in threads:
        thread.join()
    assert not errors
    assert world.ledger.finance.figures("2026-11") == world.ledger.finance.figures("2026-11")
    sums = month_by_entry(world)
    assert by_account(world.ledger.finance.figures("2026-11")) == {
        account: amount for (month, account), amount in sums.items() if month == "2026-11"
    }
    assert done.digest == digest_of(world.ledger.finance.figures("2026-11"))


# --- cost centres --------------------------------------------------------------------------------


def test_a_cost_centre_is_as_it_was_at_the_time(world):
    world.catalogue = parse_catalogue(
        CATALOGUE.format(enforce="true", overrun="waive") + CENTRES, "test.yaml"
    )
    lara, identity = world.join()
    world.give(lara, 3)
    moved = CENTRES.replace("members: [lara]", "title: Physics, groups: [phys]").replace(
        "groups: [chem]", "members: [lara]"
    )
    world.catalogue = parse_catalogue(
        CATALOGUE.format(enforce="true", overrun="waive") + moved, "test.yaml"
    )
    world.ledger.ensure_member(identity)
    world.give(lara, 4)
    world.join("smith")
    rows = world.ledger.finance.report("2026-11", "2026-11", ["cost_centre"]).rows
    assert {row.cost_centre: row.granted // GRAINS_PER_TOKEN for row in rows} == {
        "physics": 103, "chemistry": 4, "": 2,
    }  # fmt: skip


# --- money ---------------------------------------------------------------------------------------


def test_revenue_follows_payments_refunds_and_disputes(world):
    lara, _ = world.join()
    payments = world.ledger.payments
    invoice = payments.order(
        lara.member_id,
        provider="stripe",
        amount_grains=10 * GRAINS_PER_TOKEN,
        price_minor=1000,
        currency="EUR",
        actor="lara",
    )

    def tell(number, *facts):
        event = PaymentEvent("stripe", f"e{number}", "test", world.clock.now_ms(), facts)
        payments.take(event)

    tell(1, Paid(invoice.invoice_id, "p1", 1000, "EUR"))
    tell(2, Refunded("p1", 200))
    tell(3, Refunded("p1", 300))
    tell(4, Refunded("p1", 200))  # late: no news
    tell(5, Disputed("p1", "d1", 100, won=False))
    report = world.ledger.finance.report("2026-11", "2026-11", ["plan"])
    (row,) = report.money
    assert (row.plan, row.currency, row.top_ups, row.refunds, row.disputes, row.net) == (
        "lapse", "EUR", 1000, -300, -100, 600,
    )  # fmt: skip
    assert report.prepaid.bought == 6 * GRAINS_PER_TOKEN
    assert report.prepaid.money == (("EUR", 600),)
    assert report.total.taken_back == 4 * GRAINS_PER_TOKEN
    to_december(world)
    tell(6, Disputed("p1", "d1", 100, won=True))
    (row,) = world.ledger.finance.report("2026-12", "2026-12", ["plan"]).money
    assert (row.disputes, row.net) == (100, 100)


def test_vouchers_are_prepaid_until_they_are_redeemed_or_lapse(world):
    lara, _ = world.join()
    vouchers = world.ledger.vouchers
    _, codes = vouchers.make(
        count=3,
        amount_grains=5 * GRAINS_PER_TOKEN,
        expires_ms=DECEMBER_MS + DAY_MS,
        actor="boss",
        caller="boss",
        key="k" * 8,
    )
    made_ms = world.clock.now_ms()
    world.clock.advance_ms(HOUR_MS)
    vouchers.redeem(lara.member_id, codes[0])
    later_ms = world.clock.now_ms() + 1
    worth = [
        (prepaid.vouchers // GRAINS_PER_TOKEN, prepaid.bought // GRAINS_PER_TOKEN)
        for prepaid in map(
            world.ledger.finance.prepaid, (made_ms, made_ms + 1, later_ms, DECEMBER_MS + 2 * DAY_MS)
        )
    ]
    assert worth == [(0, 0), (15, 0), (10, 5), (0, 5)]


# --- statements as of an instant -----------------------------------------------------------------


@pytest.mark.parametrize("booked", [False, True])
def test_what_is_true_of_an_instant_is_exact_to_the_millisecond(world, booked):
    """Also amid what was booked in one piece, or is not booked yet."""
    lara, identity = world.join()
    keys = [world.hub.run(lara, identity, p, name=p) for p in ("cpu", "gpu")]
    ready_ms = world.clock.now_ms()
    world.clock.advance_ms(HOUR_MS)
    if booked:
        for key in keys:
            world.hub.end(key)
    for lasted_ms in (0, 1, 1_234_567, HOUR_MS - 1, HOUR_MS):
        view = world.ledger.statement_as_of(lara.member_id, ready_ms + lasted_ms, "effective")
        assert view.closing_grains == 100 * GRAINS_PER_TOKEN - 11_000 * lasted_ms
        used = {e.profile: -e.amount_grains for e in view.entries if e.kind == "usage"}
        assert used == ({"cpu": 1000 * lasted_ms, "gpu": 10_000 * lasted_ms} if lasted_ms else {})


def test_a_statement_as_of_an_instant_by_what_is_true_and_by_what_was_known(world):
    lara, identity = world.join()
    key = world.hub.run(lara, identity, "gpu")
    world.pass_time(HOUR_MS)
    world.give(lara, 1)  # has everything booked that is proven
    world.clock.advance_ms(1)
    at_ms = world.clock.now_ms()
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key, at_ms - 1 - 30 * 60_000)  # it had ended before: learned an hour later

    def closing(basis, instant_ms=at_ms):
        view = world.ledger.statement_as_of(lara.member_id, instant_ms, basis)
        assert view.opening_grains + sum(e.amount_grains for e in view.entries) == (
            view.closing_grains
        )
        return view.closing_grains

    known = sum(
        row["amount_grains"]
        for row in entries_of(world)
        if row["account"] == "grant" and row["booked_ms"] < at_ms
    )
    assert closing("booked") == known == 91 * GRAINS_PER_TOKEN
    world.clock.advance_ms(1)
    later_ms = world.clock.now_ms()
    assert closing("effective", later_ms) == closing("booked", later_ms) == 96 * GRAINS_PER_TOKEN
    message = refused(
        "future_instant", world.ledger.statement_as_of, lara.member_id, later_ms + 9, "booked"
    )
    assert "yet to come" in message


# --- whatever happens ----------------------------------------------------------------------------


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["run", "end", "give", "take", "refund", "wait", "close", "warden"]),
        st.integers(0, 1),
        st.integers(1, 40),
    ),
    max_size=25,
)


@pytest.mark.slow_on_postgresql
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
def test_reports_equal_the_sum_of_the_entries(acts, request, database_url, tmp_path_factory):
    world = World(_fresh(request, database_url, tmp_path_factory))
    kept = _play(world, acts)
    finance = world.ledger.finance
    for month, (figures, report) in kept.items():
        assert finance.figures(month) == figures
        assert finance.report(month, month, BY) == report
    last = month_of(world.clock.now_ms() + 62 * DAY_MS, ZONE)
    direct = defaultdict(int)
    for row in entries_of(world):
        direct[row["account"]] += row["amount_grains"]
    for by in ((), ("plan",), ("profile", "month"), ("source",), BY[:-1]):
        report = finance.report("2026-11", last, by)
        rows = {name: sum(getattr(row, name) for row in report.rows) for name in ("change",)}
        assert rows["change"] == report.total.change == direct["grant"]
        if "source" not in by:
            for name in ("granted", "consumed", "refunded", "returned", "expired", "overrun"):
                assert sum(getattr(row, name) for row in report.rows) == getattr(report.total, name)
    total = report.total
    assert total.consumed - total.refunded - total.returned == direct["consumed"]
    assert total.expired == direct["expired"]
    assert total.overrun == -direct["issued:overrun"]
    broken = report.breakage_allotted + report.breakage_bought + report.breakage_other
    assert broken == direct["expired"]
    assert sum(amount for _, amount in report.prepaid.by_source) == direct["grant"]
    end_ms = world.clock.now_ms() + 1
    _instants_equal_a_replay(world, end_ms)
    assert world.ledger.audit() == ()
    world.ledger.close()


def _fresh(request, database_url, tmp_path_factory):
    """Return the URL of new books on the same kind of database."""
    if database_url.startswith("sqlite"):
        path = tmp_path_factory.mktemp("finance") / "books.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    return request.getfixturevalue("postgres_template")()


def _play(world, acts):
    members = [world.join("lara"), world.join("rolf")]
    running, kept, month = {}, {}, "2026-11"
    for act, who, number in acts:
        member, identity = members[who]
        world.clock.advance_ms(60_000)
        try:
            if act == "run" and who not in running:
                running[who] = world.hub.run(member, identity, "gpu" if number % 2 else "cpu")
            elif act == "end" and who in running:
                # Learned late: it had ended a while ago.
                world.hub.end(running.pop(who), world.clock.now_ms() - number * 1000)
            elif act == "give":
                world.give(member, number)
            elif act == "take":
                world.give(member, -number, kind="adjustment")
            elif act == "refund":
                world.ledger.refund_session(
                    session_of(world) or "none",
                    actor="boss", reason="luck", caller="boss", key=f"refund-{len(kept)}-{number}",
                )  # fmt: skip
            elif act == "warden":
                world.ledger.advance_due()
            elif act == "wait":
                world.clock.advance_ms(number * 6 * HOUR_MS)
                world.hub.tell()
            elif act == "close":
                end_ms = month_span(month, ZONE)[1]
                world.clock.advance_ms(max(0, end_ms + number - world.clock.now_ms()))
                world.hub.tell()
                close(world, month)
                finance = world.ledger.finance
                kept[month] = (finance.figures(month), finance.report(month, month, BY))
                month = month_of(month_span(month, ZONE)[1], ZONE)
        except LedgerError:
            pass
    return kept


def _instants_equal_a_replay(world, end_ms):
    finance = world.ledger.finance
    rows = entries_of(world)
    for at_ms in (NOVEMBER_MS, (NOVEMBER_MS + end_ms) // 2, end_ms):
        for basis in ("booked", "effective"):
            replayed = defaultdict(int)
            for row in rows:
                when = (
                    row["booked_ms"] if basis == "booked" else row["at_ms"] - (row["kind"] in ENDS)
                )
                if when < at_ms:
                    replayed[row["account"]] += row["amount_grains"]
            assert dict(finance.trial_balance(at_ms, basis).accounts) == dict(replayed)
    for member in (row.member for row in world.ledger.members()[0]):
        mine = [r for r in rows if r["wallet_id"] == member.wallet_id and r["account"] == "grant"]
        now_ms = world.clock.now_ms()
        for at_ms in ((NOVEMBER_MS + 10 * HOUR_MS + now_ms) // 2, now_ms):
            known = sum(r["amount_grains"] for r in mine if r["booked_ms"] < at_ms)
            view = world.ledger.statement_as_of(member.member_id, at_ms, "booked")
            assert view.closing_grains == known
