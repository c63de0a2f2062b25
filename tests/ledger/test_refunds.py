"""Refunds of sessions, and what one administrator may move in a month."""

import shutil
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from jhub_tokens.ledger import LedgerError, schema
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS, World

DAY_MS = 24 * HOUR_MS


def session_of(world, key):
    with world.ledger._store.read() as connection:
        found = select(schema.sessions).where(schema.sessions.c.start_key == key)
        return dict(connection.execute(found).mappings().one())


def refund(world, start_key, tokens=None, **changes):
    order = {
        "amount_grains": None if tokens is None else round(tokens * GRAINS_PER_TOKEN),
        "actor": "admin",
        "reason": "the disk had failed",
        "caller": "test",
        "key": uuid.uuid4().hex,
        **changes,
    }
    return world.ledger.refund_session(session_of(world, start_key)["session_id"], **order)


def left(world, member):
    grants = world.ledger.wallet_view(member.member_id).grants
    return {g.source: g.remaining_grains / GRAINS_PER_TOKEN for g in grants if g.remaining_grains}


def lines(world, member, kind):
    period = world.ledger.periods(member.member_id)[0]
    entries = world.ledger.statement(member.member_id, *period).entries
    return [entry for entry in entries if entry.kind == kind]


def test_a_refund_goes_back_to_the_grants_that_paid(world):
    member, identity = world.join()
    world.give(member, 30)
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(11 * HOUR_MS)  # 100 of the allotment and 10 of the top-up
    world.hub.end(key)
    assert left(world, member) == {"topup": 20}
    assert refund(world, key, 15).balance_grains == 35 * GRAINS_PER_TOKEN
    assert left(world, member) == {"topup": 30, "plan": 5}, "the latest payment comes back first"
    assert refund(world, key).amount_grains == 95 * GRAINS_PER_TOKEN
    assert left(world, member) == {"topup": 30, "plan": 100}
    assert session_of(world, key)["charged_grains"] == 0
    (first, _) = lines(world, member, "refund")
    assert (first.amount_grains, first.actor) == (15 * GRAINS_PER_TOKEN, "admin")
    assert (first.profile, first.reason) == ("gpu", "the disk had failed")
    assert world.kinds(member)[-1] == "refunded"


def test_what_has_expired_since_becomes_tokens_to_the_end_of_the_period(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(2 * HOUR_MS)
    world.hub.end(key)
    world.clock.advance_ms(32 * DAY_MS)
    world.hub.tell()
    world.ledger.advance_due()
    for tokens in (12, None):  # the second part finds what the first has left
        refund(world, key, tokens)
    assert left(world, member)["plan"] == 100
    assert world.tokens(member) == 120
    world.clock.advance_ms(31 * DAY_MS)
    world.hub.tell()
    world.ledger.advance_due()
    assert left(world, member) == {"plan": 100}, "it does not roll over"


def test_parts_from_an_expired_and_a_living_grant_find_their_own_way(world):
    member, identity = world.join()
    world.give(member, 5)
    key = world.hub.start(member, identity, "gpu")
    world.hub.ready(key)
    world.clock.advance_ms(int(10.3 * HOUR_MS))  # 100 of the allotment, 3 of the top-up
    world.hub.end(key)
    world.clock.advance_ms(32 * DAY_MS)
    world.hub.tell()
    world.ledger.advance_due()
    refund(world, key, 10)
    assert left(world, member) == {"plan": 100, "topup": 5, "refund": 7}
    refund(world, key, 93)
    view = world.ledger.wallet_view(member.member_id)
    sources = [(g.source, g.granted_grains // GRAINS_PER_TOKEN) for g in view.grants]
    assert sorted(sources) == [("plan", 100), ("refund", 7), ("refund", 93), ("topup", 5)]


def test_a_running_session_is_refunded_and_goes_on(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    refund(world, key, 4)
    assert world.tokens(member) == 94
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    assert world.tokens(member) == 84
    assert session_of(world, key)["refunded_grains"] == 4 * GRAINS_PER_TOKEN
    assert world.ledger.audit() == ()


def test_an_end_learned_late_gives_back_only_what_the_refund_has_not(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    refund(world, key)
    ended_ms = world.clock.now_ms() - HOUR_MS // 2
    world.hub.end(key, ended_ms)
    session = session_of(world, key)
    assert session["charged_grains"] == 0
    assert session["refunded_grains"] == 5 * GRAINS_PER_TOKEN, "the other half was never due"
    assert world.tokens(member) == 100


def test_overrun_is_not_refunded(world):
    member, identity = world.join("smith")  # 2 tokens
    key = world.hub.run(member, identity)
    world.clock.advance_ms(3 * HOUR_MS)
    world.hub.end(key)
    assert refund(world, key).amount_grains == 2 * GRAINS_PER_TOKEN
    assert world.tokens(member) == 2
    with pytest.raises(LedgerError) as refusal:
        refund(world, key)
    assert refusal.value.code == "nothing_to_refund"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tokens": 10.001}, "more_than_charged"),
        ({"tokens": 0}, "zero_amount"),
        ({"tokens": -1}, "zero_amount"),
        ({"reason": " "}, "no_reason"),
    ],
)
def test_bad_refunds_are_refused_and_leave_nothing(world, change, code):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    with pytest.raises(LedgerError) as refusal:
        refund(world, key, **change)
    assert refusal.value.code == code
    assert world.tokens(member) == 90
    with pytest.raises(LedgerError, match="no such session"):
        world.ledger.refund_session("none", actor="a", reason="why", caller="c", key="k" * 8)


def test_a_repeated_refund_is_booked_once_and_many_at_once_never_exceed_the_charge(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    first = refund(world, key, 2, key="the-same-key")
    assert refund(world, key, 2, key="the-same-key") == first
    with pytest.raises(LedgerError, match="another request"):
        refund(world, key, 3, key="the-same-key")
    barrier = threading.Barrier(4)

    def at_once(_):
        barrier.wait()
        try:
            return refund(world, key, 3).amount_grains
        except LedgerError as refusal:
            assert refusal.code in ("more_than_charged", "nothing_to_refund")
            return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(at_once, range(4))) == 6 * GRAINS_PER_TOKEN
    assert world.tokens(member) == 98


@pytest.mark.parametrize("database", ["sqlite"])
def test_any_run_of_refunds_keeps_the_books(database, sqlite_template, tmp_path):

    steps = st.lists(
        st.tuples(
            st.sampled_from(["run", "refund", "topup", "late_end", "month"]),
            st.integers(1, 20_000),
        ),
        max_size=12,
    )

    @given(steps)
    @settings(
        max_examples=25,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(steps):
        path = tmp_path / f"{uuid.uuid4().hex}.sqlite"
        shutil.copy(sqlite_template, path)
        world = World(f"sqlite:///{path}")
        member, identity = world.join("rolf")
        key = world.hub.run(member, identity, "gpu")
        given_back = 0
        for step, size in steps:
            if step == "run":
                world.clock.advance_ms(size * 1_000)
                world.hub.tell()
            elif step == "topup":
                world.give(member, size / 1000)
            elif step == "refund":
                before = world.balance(member)
                try:
                    booked = refund(world, key, size / 1000)
                except LedgerError as refusal:
                    assert refusal.code in ("more_than_charged", "nothing_to_refund", "wait")
                    continue
                assert world.balance(member) == before + booked.amount_grains
                given_back += booked.amount_grains
            elif step == "late_end" and key in world.hub.servers:
                world.clock.advance_ms(size)
                world.hub.tell()
                ready_ms = world.hub.servers[key][2]
                world.hub.end(key, max(ready_ms, world.clock.now_ms() - size * 500))
            elif step == "month" and key not in world.hub.servers:
                world.clock.advance_ms(31 * DAY_MS)
                world.hub.tell()
                world.ledger.advance_due()
        session = session_of(world, key)
        assert 0 <= session["refunded_grains"] <= given_back
        assert world.ledger.audit() == ()
        world.ledger.close()

    check()


# --- the limit of an administrator ------------------------------------------------------------


def limited(world, tokens, **by_name):
    policy = world.catalogue.policy.model_copy(
        update={
            "admin_limit_mtok": tokens * 1000,
            "admin_limits": {name: mtok * 1000 for name, mtok in by_name.items()},
        }
    )
    world.catalogue = world.catalogue.model_copy(update={"policy": policy})


def test_what_an_administrator_moves_in_a_month_is_limited(world):
    member, identity = world.join()
    limited(world, 10)
    key = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    world.give(member, 4, key="the-same-key")
    world.give(member, -3, kind="adjustment")
    world.give(member, 4, key="the-same-key")  # told twice, counted once
    refund(world, key, 2)
    for move in (
        lambda: world.give(member, 1.001),
        lambda: world.give(member, -2, kind="adjustment"),
        lambda: refund(world, key, 2),
    ):
        with pytest.raises(LedgerError, match="10 tokens a month, of which 1 are left") as refusal:
            move()
        assert refusal.value.code == "admin_limit"
    world.give(member, 1)
    world.clock.advance_ms(31 * DAY_MS)  # another month
    world.give(member, 10)


def test_an_administrator_may_have_a_limit_of_their_own(world):
    member, _ = world.join()
    limited(world, 0, admin=7)
    world.give(member, 7)
    with pytest.raises(LedgerError, match="0 are left"):
        world.give(member, 1)


def test_the_limit_holds_for_replicas_at_once(world):
    members = [world.join(name)[0] for name in "abcd"]
    limited(world, 10)
    books = [world.open() for _ in range(2)]
    barrier = threading.Barrier(4)

    def give(index):
        barrier.wait()
        done = 0
        for _ in range(4):
            try:
                books[index % 2].grant(
                    members[index].member_id,
                    amount_grains=GRAINS_PER_TOKEN,
                    kind="topup",
                    actor="admin",
                    reason="because",
                    caller="test",
                    key=uuid.uuid4().hex,
                )
                done += 1
            except LedgerError as refusal:
                assert refusal.code == "admin_limit"
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(give, range(4))) == 10
    for ledger in books:
        ledger.close()
