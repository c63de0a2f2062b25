"""Idle servers: warned, then stopped, by what is known of their use; silence is no idleness."""

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import NotAdmitted
from jhub_tokens.wire import ServerSeen

from .conftest import HOUR_MS

MINUTE_MS = 60_000
IDLE = """
default_plan: basic
adopt_profile: cpu
policy: {minimum_run: 5m, grace: 2m, stop_time: 60s, warn_before: [30m], warn_used_percent: []}
enforce: true
plans:
  basic: {title: Basic, tokens: 100, profiles: [cpu, gpu, files], max_servers: 3}
profiles:
  cpu: {title: CPU, rate: 1, cpu: 1, memory: 1G}
  gpu:
    title: GPU
    rate: 10
    cpu: 1
    memory: 1G
    gpus: 1
    idle: {stop_after: 60m, warn_before: [10m, 2m]}
  files: {title: Files only, rate: 0, cpu: 0.5, memory: 512M, max_run: 1h, files: true}
teams:
  physics: {group: physics, plan: basic}
"""


@pytest.fixture
def world(make_world):
    world = make_world()
    world.catalogue = parse_catalogue(IDLE, "idle.yaml")
    return world


class Reports:
    """A server with the extension in it: reports every minute what it is told to."""

    def __init__(self, world, member, name=""):
        self.world, self.member, self.name = world, member, name
        self.active_ms = None

    def use(self):
        self.active_ms = self.world.clock.now_ms()
        self.say(["kernels"])

    def say(self, busy=()):
        self.world.ledger.servers.report(self.member.member_id, self.name, busy, self.active_ms)

    def pass_time(self, duration_ms, *, using=False, step_ms=MINUTE_MS):
        """Time passes, with a report, a snapshot and a pass of the warden each minute."""
        for _ in range(duration_ms // step_ms):
            self.world.clock.advance_ms(step_ms)
            self.world.hub.tell()
            self.use() if using else self.say()
            self.world.ledger.advance_due()


def orders(world):
    return [(o.session.start_key, o.reason) for o in world.ledger.standing_stops()]


def warnings(world, member):
    """The idle warnings as (kind, minutes before the end), oldest first."""
    return [
        (n.kind, n.params["threshold_ms"] // MINUTE_MS)
        for n in reversed(world.ledger.notices(member.member_id, limit=100))
        if n.params.get("reason") == "idle" and "threshold_ms" in n.params
    ]


@pytest.fixture
def gpu(world):
    """A GPU server that reports, used this very moment."""
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    server = Reports(world, member)
    server.use()
    return member, key, server


def test_a_server_that_nothing_uses_is_warned_and_stopped(world, gpu):
    member, key, server = gpu
    server.pass_time(50 * MINUTE_MS)
    assert warnings(world, member) == []
    server.pass_time(MINUTE_MS)  # stop time included, ten minutes are left
    assert warnings(world, member) == [("time_left", 10)]
    server.pass_time(8 * MINUTE_MS)
    assert warnings(world, member) == [("time_left", 10), ("last_warning", 2)]
    assert orders(world) == []
    server.pass_time(MINUTE_MS)  # an hour after it was last used
    assert orders(world) == [(key, "idle")]
    server.pass_time(10 * MINUTE_MS)
    assert orders(world) == [(key, "idle")], "silence of a server that stops takes nothing back"
    world.hub.end(key)
    entries = world.ledger.statement(member.member_id, 0, 1 << 42).entries
    assert [e.end_reason for e in entries if e.kind == "usage"][-1] == "idle"
    (told,) = [n for n in world.ledger.notices(member.member_id) if n.kind == "stopped"]
    assert told.params["reason"] == "idle"


def test_use_puts_the_stop_off_and_takes_a_warning_back(world, gpu):
    member, key, server = gpu
    server.pass_time(55 * MINUTE_MS)
    assert len(warnings(world, member)) == 1
    assert world.ledger.servers.state(member.member_id, "").cut.reason == "idle"
    assert len(world.ledger.notices(member.member_id, unseen_only=True)) == 1
    server.pass_time(MINUTE_MS, using=True)
    assert world.ledger.servers.state(member.member_id, "").cut.reason == "dry"
    assert world.ledger.notices(member.member_id, unseen_only=True) == ()
    server.pass_time(30 * MINUTE_MS)
    assert (orders(world), len(warnings(world, member))) == ([], 1)
    server.pass_time(31 * MINUTE_MS)
    assert orders(world) == [(key, "idle")]
    assert warnings(world, member) == [("time_left", 10)] * 2 + [("last_warning", 2)]


def test_a_busy_server_is_looked_at_about_once_an_hour(world, gpu):
    *_, server = gpu
    looked = 0
    for _ in range(240):
        world.clock.advance_ms(MINUTE_MS)
        world.hub.tell()
        server.use()
        looked += world.ledger.advance_due().wallets
    assert looked <= 6


def test_other_profiles_and_sessions_of_before_run_on(world):
    member, identity = world.join()
    world.hub.run(member, identity, "cpu")
    server = Reports(world, member)
    server.use()
    server.pass_time(5 * HOUR_MS, step_ms=10 * MINUTE_MS)
    assert (orders(world), warnings(world, member)) == ([], [])


def test_keep_running_holds_it_off_and_taking_that_back_counts_as_use(world, gpu):
    member, key, server = gpu
    until_ms = world.clock.now_ms() + 3 * HOUR_MS
    world.ledger.servers.keep_running(member.member_id, "", until_ms)
    server.pass_time(150 * MINUTE_MS)
    assert (orders(world), warnings(world, member)) == ([], [])
    world.ledger.servers.keep_running(member.member_id, "", None)
    server.pass_time(59 * MINUTE_MS)
    assert (orders(world), len(warnings(world, member))) == ([], 2)
    server.pass_time(MINUTE_MS)
    assert orders(world) == [(key, "idle")]


def test_keep_running_after_a_warning_takes_it_back(world, gpu):
    member, _, server = gpu
    server.pass_time(55 * MINUTE_MS)
    world.ledger.servers.keep_running(member.member_id, "", world.clock.now_ms() + HOUR_MS)
    assert world.ledger.servers.state(member.member_id, "").cut.reason == "dry"
    server.pass_time(109 * MINUTE_MS)
    assert orders(world) == []


# --- what is not known -------------------------------------------------------------------------


def test_who_has_spoken_is_not_idle_when_silent(world, gpu):
    member, key, server = gpu
    server.pass_time(30 * MINUTE_MS)
    world.pass_time(4 * HOUR_MS, step_ms=MINUTE_MS)  # no report, but alive
    assert (orders(world), warnings(world, member)) == ([], [])
    server.say()  # here it is again, and was idle all the time: it is warned first, in full
    world.ledger.advance_due()
    assert (orders(world), warnings(world, member)) == ([], [("time_left", 10)])
    server.pass_time(8 * MINUTE_MS)
    assert orders(world) == []
    server.pass_time(MINUTE_MS)  # with the time that stopping takes, these are ten minutes
    assert orders(world) == [(key, "idle")]
    assert warnings(world, member) == [("time_left", 10), ("last_warning", 2)]


def test_silence_between_warning_and_stop_stops_nobody(world, gpu):
    member, _, server = gpu
    server.pass_time(52 * MINUTE_MS)
    assert len(warnings(world, member)) == 1
    world.pass_time(HOUR_MS, step_ms=MINUTE_MS)
    assert orders(world) == []


def test_where_nothing_is_known_nothing_is_idle(world):
    member, identity = world.join()
    world.hub.run(member, identity, "gpu")
    world.pass_time(5 * HOUR_MS, step_ms=5 * MINUTE_MS)
    assert (orders(world), warnings(world, member)) == ([], [])


class Seen:
    """A server without the extension: the hub tells when it last saw it in use."""

    def __init__(self, world, identity, key):
        self.world, self.identity, self.key = world, identity, key
        self.ready_ms = self.used_ms = world.clock.now_ms()

    def tell(self, **known):
        now_ms = self.world.clock.now_ms()
        seen = ServerSeen(
            member=self.identity,
            start_key=self.key,
            ready_age_ms=now_ms - self.ready_ms,
            alive_age_ms=0,
            **known,
        )
        self.world.hub.tell(servers=[seen])

    def pass_time(self, duration_ms):
        for _ in range(duration_ms // MINUTE_MS):
            self.world.clock.advance_ms(MINUTE_MS)
            self.tell(active_age_ms=self.world.clock.now_ms() - self.used_ms)
            self.world.ledger.advance_due()


def test_a_server_that_never_reports_is_idle_by_the_hubs_word(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    server = Seen(world, identity, key)
    server.pass_time(30 * MINUTE_MS)
    server.used_ms = world.clock.now_ms()
    server.pass_time(64 * MINUTE_MS)  # what the hub knows may be five minutes old
    assert (orders(world), len(warnings(world, member))) == ([], 2)
    server.pass_time(MINUTE_MS)
    assert orders(world) == [(key, "idle")]


def test_the_hubs_silence_is_no_idleness_either(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "gpu")
    server = Seen(world, identity, key)
    server.pass_time(10 * MINUTE_MS)
    for _ in range(60):
        world.clock.advance_ms(5 * MINUTE_MS)
        world.ledger.advance_due()
    assert (orders(world), warnings(world, member)) == ([], [])
    server.pass_time(12 * MINUTE_MS)
    assert orders(world) == [(key, "idle")]
    assert warnings(world, member) == [("time_left", 10), ("last_warning", 2)]


def test_what_a_server_says_goes_before_the_hubs_word(world, gpu):
    """A forgotten tab's traffic keeps the hub's word fresh; the server itself knows better."""
    member, key, server = gpu
    seen = Seen(world, member_identity(world, member), key)
    for _ in range(61):
        world.clock.advance_ms(MINUTE_MS)
        seen.tell(active_age_ms=0)
        server.say()
        world.ledger.advance_due()
    assert orders(world) == [(key, "idle")]


def member_identity(world, member):
    return next(iter(world.hub.servers.values()))[0]


# --- beside other ends ---------------------------------------------------------------------------


def test_shadow_mode_says_it_once(world, gpu):
    member, _, server = gpu
    world.catalogue = world.catalogue.model_copy(update={"enforce": False})
    server.pass_time(3 * HOUR_MS)
    assert orders(world) == []
    assert world.kinds(member).count("would_stop") == 1


def test_no_warning_of_another_end_is_missed_for_it(world, gpu):
    member, key, server = gpu
    world.give(member, -100 + 10 * 1.25, kind="adjustment")  # 75 minutes on the GPU
    server.pass_time(44 * MINUTE_MS)
    assert world.kinds(member)[-1] == "credited"
    server.pass_time(2 * MINUTE_MS)
    assert world.ledger.notices(member.member_id)[0].params["reason"] == "dry"
    server.pass_time(14 * MINUTE_MS)
    assert orders(world) == [(key, "idle")]


def test_the_service_that_was_away_warns_before_it_stops(world, gpu):
    member, _, server = gpu
    world.clock.advance_ms(5 * HOUR_MS)
    server.say()
    world.hub.tell()
    world.ledger.advance_due()
    assert (orders(world), warnings(world, member)) == ([], [("time_left", 10)])


def test_the_fail_safe_knows_nothing_of_it(world, gpu):
    member, _, server = gpu
    server.pass_time(55 * MINUTE_MS)
    (stop_ms,) = world.hub.tell().stop_at_ms
    assert stop_ms - world.clock.now_ms() > 8 * HOUR_MS


# --- files only ----------------------------------------------------------------------------------


@pytest.fixture
def empty(world):
    """A member whose balance is used up."""
    member, identity = world.join()
    world.give(member, -100, kind="adjustment")
    with pytest.raises(NotAdmitted) as refused:
        world.hub.start(member, identity, "cpu")
    assert refused.value.code == "balance"
    return member, identity


def test_files_open_with_an_empty_balance_cost_nothing_and_end(world, empty):
    member, identity = empty
    key = world.hub.run(member, identity, "files")
    assert world.ledger.wallet_view(member.member_id).sessions[0].files
    world.pass_time(HOUR_MS - 2 * MINUTE_MS)
    assert orders(world) == []
    world.pass_time(MINUTE_MS)  # and one that stopping takes
    assert orders(world) == [(key, "max_run")]
    world.hub.end(key)
    assert world.balance(member) == 0
    kinds = {e.kind for e in world.ledger.statement(member.member_id, 0, 1 << 42).entries}
    assert "usage" not in kinds and "overrun" not in kinds


def test_files_open_once_at_a_time_and_block_nothing(world):
    member, identity = world.join()
    world.hub.run(member, identity, "files", name="files")
    with pytest.raises(NotAdmitted) as refused:
        world.hub.start(member, identity, "files", name="more")
    assert refused.value.code == "limit"
    for name in ("", "second", "third"):  # as many as the plan allows
        world.hub.run(member, identity, "cpu", name=name)
    with pytest.raises(NotAdmitted):
        world.hub.start(member, identity, "cpu", name="fourth")


def test_files_open_beside_as_many_servers_as_the_plan_allows(world):
    member, identity = world.join()
    for name in ("", "second", "third"):
        world.hub.run(member, identity, "cpu", name=name)
    world.hub.run(member, identity, "files", name="files")


def test_a_dry_wallet_stops_all_but_the_files(world):
    member, identity = world.join()
    gpu = world.hub.run(member, identity, "gpu")
    world.clock.advance_ms(9 * HOUR_MS + 50 * MINUTE_MS)
    world.hub.tell()
    world.hub.run(member, identity, "files", name="files")
    world.pass_time(10 * MINUTE_MS)
    assert orders(world) == [(gpu, "dry")]


def test_a_frozen_member_opens_no_files_and_those_open_are_closed(world):
    member, identity = world.join()
    key = world.hub.run(member, identity, "files")
    world.ledger.set_frozen(member.member_id, frozen=True, actor="admin", reason="because")
    assert orders(world) == [(key, "frozen")]
    world.hub.end(key)
    with pytest.raises(NotAdmitted) as refused:
        world.hub.start(member, identity, "files")
    assert refused.value.code == "frozen"


def test_no_team_pays_for_files(world):
    identity = world.identity("lara").model_copy(update={"groups": ["physics"]})
    member = world.ledger.ensure_member(identity)
    with pytest.raises(NotAdmitted) as refused:
        world.hub.start(member, identity, "files", payer="physics")
    assert (refused.value.code, refused.value.field) == ("bad_choice", "payer")
