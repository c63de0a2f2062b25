"""A clock that moves when told to, and a hub that tells what it sees."""

import uuid

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import open_ledger
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import EndSeen, Identity, ServerSeen, Snapshot

NOVEMBER_MS = 1_793_487_600_000  # 2026-11-01 00:00 in Berlin
HOUR_MS = 3_600_000

CATALOGUE = """
title: Test
zone: Europe/Berlin
default_plan: lapse
adopt_profile: cpu
policy:
  minimum_run: 5m
  grace: 2m
  stop_time: 30s
  warn_before: [30m, 10m, 5m, 4m]
  warn_used_percent: [50, 80]
  overrun: {overrun}
enforce: {enforce}
plans:
  lapse: {{title: Lapse, tokens: 100, profiles: [cpu, gpu, free], max_servers: 3}}
  roll: {{title: Roll, tokens: 100, rollover: 50, profiles: [cpu, gpu, free], max_servers: 3}}
  small: {{title: Small, tokens: 2, profiles: [cpu], max_servers: 1}}
profiles:
  cpu: {{title: CPU, rate: 1, cpu: 4, memory: 8G}}
  gpu: {{title: GPU, rate: 10, cpu: 8, memory: 32G, gpus: 1, gpu_models: [T4, A100]}}
  big: {{title: Big, rate: 30, cpu: 32, memory: 256G, gpus: 4}}
  free: {{title: Free, rate: 0, cpu: 1, memory: 1G}}
images:
  new: {{title: New, lifecycle: recommended, accelerator: any}}
  cpu-only: {{title: For CPU, lifecycle: maintained, accelerator: cpu}}
  leaving: {{title: Leaving, lifecycle: retiring, until: 2026-12-24, accelerator: any}}
  old: {{title: Old, lifecycle: retired, successor: new, accelerator: any}}
assign:
  - {{members: [rolf, rosa], plan: roll}}
  - {{members: [smith, jones], plan: small}}
"""


def catalogue(*, enforce=True, overrun="waive"):
    return parse_catalogue(
        CATALOGUE.format(enforce=str(enforce).lower(), overrun=overrun), "test.yaml"
    )


class Hub:
    """A hub as the agent tells of it: servers with true start, ready and end instants."""

    def __init__(self, ledger, clock):
        self.ledger = ledger
        self.clock = clock
        self.restart()
        self.servers = {}  # start key → [identity, server name, ready_ms or None]
        self.ended = {}  # start key → (ready_ms or None, ended_ms), until a receipt names it

    def restart(self):
        """As after kill -9: what was not told yet is forgotten."""
        self.name = "hub"
        self.epoch = uuid.uuid4().hex
        self.sequence = 0
        self.ended = {}

    def snapshot(self, **changes):
        now_ms = self.clock.now_ms()
        servers = [
            ServerSeen(
                member=identity,
                server_name=name,
                start_key=key,
                ready_age_ms=None if ready_ms is None else now_ms - ready_ms,
                alive_age_ms=None if ready_ms is None else 0,
            )
            for key, (identity, name, ready_ms) in self.servers.items()
        ]
        ended = [
            EndSeen(
                start_key=key,
                ready_age_ms=None if ready_ms is None else now_ms - ready_ms,
                ended_age_ms=now_ms - ended_ms,
            )
            for key, (ready_ms, ended_ms) in self.ended.items()
        ]
        self.sequence += 1
        facts = {"servers": servers, "ended": ended, **changes}
        return Snapshot(hub=self.name, epoch=self.epoch, sequence=self.sequence, **facts)

    def tell(self, **changes):
        report = self.ledger.observe(self.snapshot(**changes))
        for key in report.ended:
            self.ended.pop(key, None)
        return report

    def start(self, member, identity, profile="cpu", name="", **choice):
        """Admit a start and begin it; returns its start key."""
        key = f"start-{uuid.uuid4().hex}"
        self.ledger.admit(
            member.member_id,
            server_name=name,
            start_key=key,
            profile=profile,
            hub=self.name,
            **choice,
        )
        self.servers[key] = [identity, name, None]
        return key

    def ready(self, key):
        self.servers[key][2] = self.clock.now_ms()
        self.tell()

    def run(self, member, identity, profile="cpu", name=""):
        """Start a server and see it ready at once."""
        key = self.start(member, identity, profile, name)
        self.ready(key)
        return key

    def end(self, key, ended_ms=None):
        """The server ends, now or as is learned later, and the books are told."""
        self.stop(key, ended_ms)
        self.tell()

    def stop(self, key, ended_ms=None):
        """The server ends; the next snapshot tells."""
        _, _, ready_ms = self.servers.pop(key)
        self.ended[key] = (ready_ms, self.clock.now_ms() if ended_ms is None else ended_ms)

    def vanish(self, key):
        """The server is gone and nobody saw when."""
        del self.servers[key]


class World:
    """Books, clock and hub together."""

    def __init__(self, url, *, enforce=True, overrun="waive"):
        self.url = url
        self.clock = ManualClock(NOVEMBER_MS + 10 * HOUR_MS)
        self.catalogue = catalogue(enforce=enforce, overrun=overrun)
        self.ledger = self.open()
        self.hub = Hub(self.ledger, self.clock)
        self.numbers = 0

    def open(self):
        return open_ledger(self.url, self.clock, lambda: self.catalogue)

    def identity(self, name):
        self.numbers += 1
        return Identity(hub_user_id=self.numbers, created=f"2026-01-{self.numbers:02}", name=name)

    def join(self, name="lara"):
        identity = self.identity(name)
        return self.ledger.ensure_member(identity), identity

    def balance(self, member):
        return self.ledger.wallet_view(member.member_id).balance_grains

    def tokens(self, member):
        return self.balance(member) / GRAINS_PER_TOKEN

    def give(self, member, tokens, *, kind="topup", key=None, caller="test"):
        return self.ledger.grant(
            member.member_id,
            amount_grains=round(tokens * 1000) * (GRAINS_PER_TOKEN // 1000),
            kind=kind,
            actor="admin",
            reason="for the test",
            caller=caller,
            key=key or uuid.uuid4().hex,
        )

    def pass_time(self, duration_ms, *, step_ms=30_000):
        """Let time pass as it does: a snapshot and a pass of the warden every `step_ms`."""
        end_ms = self.clock.now_ms() + duration_ms
        while self.clock.now_ms() < end_ms:
            self.clock.advance_ms(min(step_ms, end_ms - self.clock.now_ms()))
            self.hub.tell()
            self.ledger.advance_due()

    def kinds(self, member):
        """The kinds of the member's notices, oldest first."""
        return [n.kind for n in reversed(self.ledger.notices(member.member_id, limit=1000))]


@pytest.fixture
def make_world(database_url):
    """Make worlds whose books are audited when the test is over."""
    made = []

    def make(**options):
        world = World(database_url, **options)
        made.append(world)
        return world

    yield make
    for world in made:
        findings = world.ledger.audit()
        world.ledger.close()
        assert findings == ()


@pytest.fixture
def world(make_world):
    return make_world()
