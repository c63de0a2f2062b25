"""A month of invented members in virtual time, through the real ledger.

`archetypes` says how members work and `scenario` who they are; `play` runs them from event to
event with the hubs of `hub`; `figures` adds up what came of it, `conservation` checks that no
token is missing, and `text` writes the report for people.
"""

from __future__ import annotations

from collections.abc import Callable

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger
from jhub_tokens.simulation.archetypes import ARCHETYPES
from jhub_tokens.simulation.figures import make_report
from jhub_tokens.simulation.play import Play
from jhub_tokens.simulation.report import Report
from jhub_tokens.simulation.scenario import (
    DEFAULT_MIX,
    Conditions,
    Scenario,
    ScenarioError,
    make_scenario,
)

__all__ = [
    "ARCHETYPES",
    "DEFAULT_MIX",
    "Conditions",
    "Report",
    "Scenario",
    "ScenarioError",
    "make_scenario",
    "simulate",
]


def simulate(
    ledger: Ledger,
    clock: ManualClock,
    scenario: Scenario,
    progress: Callable[[float], None] = lambda share: None,
) -> Report:
    """Play `scenario` on empty books that go by `clock`, and return the report.

    `Report.conservation` says whether every token is accounted for.
    """
    play = Play(ledger, clock, scenario, progress)
    play.run()
    return make_report(play)
