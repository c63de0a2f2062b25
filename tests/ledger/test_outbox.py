"""The outbox: who is sent what, leases that two workers share, and notices told exactly once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select, text

from jhub_tokens.ledger import LedgerError, migrate, schema
from jhub_tokens.ledger.member_settings import ASKS_MAX
from jhub_tokens.ledger.outbox import Delivery, Outcome
from jhub_tokens.ledger.store import Store, open_engine

from .conftest import HOUR_MS, NOVEMBER_MS

LEASE_MS = 60_000
HOOK = "webhook:abc"


@pytest.fixture
def books(world):
    """A second way in, as a replica has it."""
    ledger = world.open()
    yield ledger
    ledger.close()


def confirmed(world, name="lara", **choices):
    """Join somebody with a confirmed address."""
    member, identity = world.join(name)
    settings = world.ledger.member_settings
    settings.ask_email(member.member_id, f"{name}@example.org")
    settings.confirm_email(member.member_id, f"{name}@example.org")
    if choices:
        chosen = {"language": "en", "zone": None, "channels": ["email"], "urgency": "info"}
        settings.change(member.member_id, **{**chosen, **choices})
    return member, identity


def route(world, email=True, webhooks=()):
    while world.ledger.outbox.route(email=email, webhooks=webhooks, limit=3):
        pass
    store = Store(open_engine(world.url))
    with store.read() as connection:
        rows = connection.execute(select(schema.deliveries)).mappings().all()
    store.close()
    return rows


def claimed(ledger):
    return ledger.outbox.claim(lease_ms=LEASE_MS)


# --- routing --------------------------------------------------------------------------------


def test_everybody_is_sent_what_they_chose(world):
    ada, _ = confirmed(world, "ada")
    calm, _ = confirmed(world, "calm", urgency="danger")
    silent, _ = confirmed(world, "silent", channels=[])
    shy, _ = world.join("shy")
    world.ledger.member_settings.ask_email(shy.member_id, "shy@example.org")
    for member in (ada, calm, silent, shy):
        world.give(member, 1)
        world.ledger.set_frozen(member.member_id, frozen=True, actor="a", reason="unpaid")
    rows = route(world)
    told = {n.notice_id for n in world.ledger.notices(ada.member_id)}
    assert {row["notice_id"] for row in rows} == told and len(told) == 2
    assert {row["channel"] for row in rows} == {"email"}
    assert not world.ledger.outbox.state().unrouted
    assert len(route(world)) == 2, "routed once"


def test_the_console_has_all_of_them(world):
    member, _ = confirmed(world, urgency="danger", channels=[])
    world.give(member, 1)
    assert world.kinds(member) == ["credited"]


def test_a_webhook_gets_every_notice_and_no_mail_goes_where_none_can_be_sent(world):
    member, _ = confirmed(world)
    world.give(member, 1)
    assert [row["channel"] for row in route(world, email=False, webhooks=[HOOK])] == [HOOK]


def test_a_new_channel_does_not_begin_with_what_is_old(world):
    member, _ = confirmed(world)
    world.give(member, 1)
    world.clock.advance_ms(25 * HOUR_MS)
    world.give(member, 2)
    assert len(route(world)) == 1
    assert not world.ledger.outbox.state().unrouted


def test_a_notice_that_was_not_kept_is_not_sent(world):
    member, _ = confirmed(world)
    with pytest.raises(LedgerError):
        world.give(member, -1)
    assert route(world) == []


# --- leases ---------------------------------------------------------------------------------


def test_a_claim_is_nobody_elses_until_its_lease_ends(world, books):
    member, _ = confirmed(world)
    world.give(member, 1)
    route(world)
    (first,) = claimed(world.ledger)
    assert (first.email, first.member_name, first.attempts) == ("lara@example.org", "lara", 1)
    world.clock.advance_ms(LEASE_MS - 1)
    assert claimed(books) == ()
    world.clock.advance_ms(1)
    (second,) = claimed(books)
    assert second.attempts == 2
    assert second.notice == first.notice, "the same id, so that receivers can tell"


def test_what_was_sent_stays_sent(world, books):
    member, _ = confirmed(world)
    world.give(member, 1)
    route(world)
    (slow,) = claimed(world.ledger)
    world.clock.advance_ms(LEASE_MS)
    (again,) = claimed(books)
    # The first one comes late: it did send, and its failure would not count any more.
    world.ledger.outbox.settle([Outcome(slow, "waiting", world.clock.now_ms(), "late")])
    assert claimed(world.ledger) == ()
    world.ledger.outbox.settle([Outcome(slow, "sent")])
    books.outbox.settle([Outcome(again, "failed", error="refused")])
    assert world.ledger.outbox.state().waiting == 0
    (row,) = route(world)
    assert (row["state"], row["last_error"]) == ("sent", None)


def test_a_failure_waits_and_the_last_one_is_kept(world):
    member, _ = confirmed(world)
    world.give(member, 1)
    route(world)
    (delivery,) = claimed(world.ledger)
    later_ms = world.clock.now_ms() + 5_000
    world.ledger.outbox.settle([Outcome(delivery, "waiting", later_ms, "no answer")])
    state = world.ledger.outbox.state()
    assert (state.waiting, state.next_try_ms) == (1, later_ms)
    world.clock.advance_ms(4_999)
    assert claimed(world.ledger) == ()
    world.clock.advance_ms(1)
    (delivery,) = claimed(world.ledger)
    world.ledger.outbox.settle([Outcome(delivery, "failed", error="refused for good")])
    world.clock.advance_ms(100 * HOUR_MS)
    assert claimed(world.ledger) == ()
    (row,) = route(world)
    assert (row["state"], row["attempts"], row["last_error"]) == ("failed", 2, "refused for good")


def test_an_address_that_is_gone_by_then_is_not_used(world):
    member, _ = confirmed(world)
    world.give(member, 1)
    route(world)
    world.ledger.member_settings.remove_email(member.member_id)
    (delivery,) = claimed(world.ledger)
    assert delivery.email is None


def naive_claim(ledger, barrier):
    """Look and take without a lock: what the outbox must not do."""
    store = ledger._store
    with store.read() as connection:
        rows = connection.execute(
            text("SELECT notice_id FROM deliveries WHERE state = 'waiting' ORDER BY notice_id")
        )
        found = list(rows.scalars())
    barrier.wait()  # as when the other one looks just then
    with store.write() as connection:
        for notice_id in found:
            connection.execute(
                text("UPDATE deliveries SET attempts = attempts + 1 WHERE notice_id = :id"),
                {"id": notice_id},
            )
    return found


def workers_share(world, books, take):
    """Let two workers take all there is at the same time; return what each got."""
    member, _ = confirmed(world)
    for _ in range(30):
        world.give(member, 1)
    route(world)
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda ledger: take(ledger, barrier), (world.ledger, books)))


def test_two_workers_never_hold_the_same(world, books):
    def take(ledger, barrier):
        barrier.wait()
        found: list[str] = []
        while some := ledger.outbox.claim(lease_ms=LEASE_MS, limit=4):
            found += [delivery.notice.notice_id for delivery in some]
        return found

    one, other = workers_share(world, books, take)
    # With SKIP LOCKED a worker may see nothing while the other one holds the rest.
    rest = [d.notice.notice_id for d in world.ledger.outbox.claim(lease_ms=LEASE_MS, limit=99)]
    assert len(one + other + rest) == len({*one, *other, *rest}) == 30


def test_control_a_naive_claim_is_held_twice(world, books):
    one, other = workers_share(world, books, naive_claim)
    assert set(one) & set(other), "the harness would show it"


def test_two_workers_route_each_notice_once(world, books):
    member, _ = confirmed(world)
    for _ in range(30):
        world.give(member, 1)
    barrier = threading.Barrier(2)

    def work(ledger):
        barrier.wait()
        while ledger.outbox.route(email=True, webhooks=[HOOK], limit=4):
            pass

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (world.ledger, books)))
    assert len(route(world, webhooks=[HOOK])) == 60


# --- exactly once in the console ------------------------------------------------------------


def test_two_replicas_say_each_thing_once(world, books):
    member, identity = world.join()
    world.hub.run(member, identity, "gpu")
    with ThreadPoolExecutor(2) as pool:
        for _ in range(21):
            world.clock.advance_ms(HOUR_MS // 2)
            barrier = threading.Barrier(2)

            def act(job, barrier=barrier):
                ledger, snapshot = job
                barrier.wait()
                ledger.observe(snapshot)
                ledger.advance_due()

            list(pool.map(act, [(each, world.hub.snapshot()) for each in (world.ledger, books)]))
    told = [(n.kind, n.params.get("percent")) for n in world.ledger.notices(member.member_id)]
    assert told[::-1] == [
        ("used_percent", 50),
        ("used_percent", 80),
        ("time_left", None),
        ("stopped_dry", None),
    ]


def test_a_notice_shows_until_it_is_seen_and_two_page_loads_do_not_matter(world, books):
    member, _ = world.join()
    world.give(member, 1)
    world.give(member, 2)
    ledgers = (world.ledger, books)

    def shown(ledger):
        return [n.notice_id for n in ledger.notices(member.member_id, unseen_only=True)]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(shown, ledgers)
        assert first == second and len(first) == 2, "looking takes nothing away"
        barrier = threading.Barrier(2)

        def see(ledger):
            barrier.wait()
            ledger.mark_notices_seen(member.member_id, first[:1])
            return shown(ledger)

        assert list(pool.map(see, ledgers)) == [first[1:], first[1:]]
    seen_ms = select(schema.notices.c.seen_ms).where(schema.notices.c.notice_id == first[0])
    at_ms = world.clock.now_ms()
    world.clock.advance_ms(1000)
    books.mark_notices_seen(member.member_id, first[:1])
    store = Store(open_engine(world.url))
    with store.read() as connection:
        assert connection.execute(seen_ms).scalar() == at_ms, "seen when it was first seen"
    store.close()


# --- settings -------------------------------------------------------------------------------


def test_whoever_has_chosen_nothing_has_the_defaults(world):
    member, _ = world.join()
    settings = world.ledger.member_settings.of(member.member_id)
    assert (settings.language, settings.zone, settings.email) == ("en", None, None)
    assert settings.channels == ("email",)


def test_language_and_zone_come_with_the_notices(world):
    member, _ = confirmed(world, language="zh", zone="Asia/Shanghai")
    world.give(member, 1)
    (notice,) = world.ledger.notices(member.member_id)
    assert (notice.language, notice.zone) == ("zh", "Asia/Shanghai")
    route(world)
    (delivery,) = claimed(world.ledger)
    assert isinstance(delivery, Delivery) and delivery.notice == notice


def test_an_address_holds_until_the_next_one_is_confirmed(world):
    member, _ = confirmed(world, "ann")
    settings, member_id = world.ledger.member_settings, member.member_id
    asked = settings.ask_email(member_id, "new@example.org")
    assert (asked.email, asked.email_asked) == ("ann@example.org", "new@example.org")
    with pytest.raises(LedgerError) as refusal:
        settings.confirm_email(member_id, "other@example.org")
    assert refusal.value.code == "not_asked"
    done = settings.confirm_email(member_id, "new@example.org")
    assert (done.email, done.email_asked) == ("new@example.org", None)
    assert settings.confirm_email(member_id, "new@example.org") == done
    assert settings.remove_email(member_id).email is None
    with pytest.raises(LedgerError):
        settings.confirm_email(member_id, "new@example.org")


def test_nobody_can_flood_an_address(world):
    member, _ = world.join()
    settings = world.ledger.member_settings
    for _ in range(ASKS_MAX):
        settings.ask_email(member.member_id, "victim@example.org")
    with pytest.raises(LedgerError) as refusal:
        settings.ask_email(member.member_id, "victim@example.org")
    assert refusal.value.code == "too_many_mails"
    settings.remove_email(member.member_id)
    with pytest.raises(LedgerError):
        settings.ask_email(member.member_id, "victim@example.org")
    world.clock.advance_ms(24 * HOUR_MS)
    settings.ask_email(member.member_id, "own@example.org")


def test_two_first_choices_at_once_are_one_row(world, books):
    member, _ = world.join()
    barrier = threading.Barrier(2)

    def choose(ledger):
        barrier.wait()
        return ledger.member_settings.change(
            member.member_id, language="zh", zone=None, channels=[], urgency="info"
        )

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(choose, (world.ledger, books))
    assert one == other


def test_settings_of_nobody_are_refused(world):
    with pytest.raises(LedgerError) as refusal:
        world.ledger.member_settings.ask_email("nobody", "a@example.org")
    assert refusal.value.code == "unknown_member"


# --- the migration --------------------------------------------------------------------------


def test_what_was_said_before_the_upgrade_is_not_sent(tmp_path, database_url):
    """Books of the earlier schema, with a member and a notice, are brought to this one."""
    if database_url.startswith("sqlite"):
        url = f"sqlite:///{tmp_path / 'earlier.sqlite'}"
    else:
        url = database_url
    store = Store(open_engine(url))
    with store.write() as connection:
        if not store.is_sqlite:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        config = Config()
        config.set_main_option("script_location", str(migrate._MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(
            text(
                "INSERT INTO members (member_id, hub_user_id, hub_created, name, created_ms)"
                f" VALUES ('m', 1, 'c', 'old', {NOVEMBER_MS})"
            )
        )
        connection.execute(
            text(
                "INSERT INTO notices (notice_id, member_id, kind, params, created_ms)"
                f" VALUES ('n', 'm', 'unfrozen', '{{}}', {NOVEMBER_MS})"
            )
        )
    migrate.upgrade(store)
    with store.read() as connection:
        rows = connection.execute(select(schema.notices.c.routed_ms)).scalars().all()
    store.close()
    assert rows == [NOVEMBER_MS]
