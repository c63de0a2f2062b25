"""Short simulations on both databases."""

from datetime import date

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import open_ledger
from jhub_tokens.simulation import make_scenario, simulate

CATALOGUE = """
zone: Europe/Berlin
default_plan: basic
adopt_profile: cpu
enforce: {enforce}
policy: {{warn_before: [2h, 30m, 10m], warn_used_percent: [50, 80], overrun: {overrun}}}
profiles:
  cpu: {{rate: 1, cpu: 4, memory: 8G}}
  gpu: {{rate: 10, cpu: 8, memory: 32G, gpus: 1}}
  gpu4: {{rate: 30, cpu: 32, memory: 128G, gpus: 4}}
plans:
  basic: {{tokens: {basic}, profiles: [cpu, gpu], max_servers: 2, rollover: 20}}
  pro: {{tokens: {pro}, profiles: [cpu, gpu, gpu4], max_servers: 3, period: calendar}}
"""

#: Every archetype and both plans among six members.
CROWD = {
    "members": 6,
    "mix": "student:2,researcher:2,trainer:1,idle:1",
    "plan_mix": "basic:4,pro:2",
    "start": date(2026, 3, 1),  # the clocks change on the 29th
}


def catalogue(*, enforce=True, overrun="waive", basic=30, pro=200):
    text = CATALOGUE.format(enforce=str(enforce).lower(), overrun=overrun, basic=basic, pro=pro)
    return parse_catalogue(text, "test.yaml")


def scenario(given=None, **options):
    return make_scenario(given or catalogue(), **{**CROWD, **options})


def play(url, planned, wrap=lambda ledger: ledger):
    """Simulate on the books at `url`, with whatever `wrap` puts around the ledger."""
    clock = ManualClock(planned.start_ms)
    ledger = open_ledger(url, clock, lambda: planned.catalogue)
    try:
        return simulate(wrap(ledger), clock, planned)
    finally:
        ledger.close()


@pytest.fixture(scope="session")
def usual(tmp_path_factory):
    """The report of the usual crowd's month on SQLite, to compare others with."""
    path = tmp_path_factory.mktemp("usual") / "books.sqlite"
    return play(f"sqlite:///{path}", scenario())
