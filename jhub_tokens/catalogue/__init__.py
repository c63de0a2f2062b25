"""Plans, profiles and image versions: one YAML file, validated with clear messages.

`models` says what a catalogue is, `schema` what its file looks like, `tree` reads YAML with
line numbers, `checks` looks at what one key alone cannot tell, and `reading` puts them together.
"""

from __future__ import annotations

from jhub_tokens.catalogue.accounts import Account, facts_of
from jhub_tokens.catalogue.models import (
    AssignRule,
    Catalogue,
    CostCentre,
    Decision,
    Idle,
    ImageVersion,
    Plan,
    Policy,
    Pool,
    Price,
    Profile,
    Team,
    Toleration,
    TopUp,
    Trial,
)
from jhub_tokens.catalogue.problems import CatalogueError, Problem
from jhub_tokens.catalogue.reading import (
    CheckReport,
    check_catalogue,
    load_catalogue,
    parse_catalogue,
    shipped_catalogue,
)

__all__ = [
    "Account",
    "AssignRule",
    "Catalogue",
    "CatalogueError",
    "CheckReport",
    "CostCentre",
    "Decision",
    "Idle",
    "ImageVersion",
    "Plan",
    "Policy",
    "Pool",
    "Price",
    "Problem",
    "Profile",
    "Team",
    "Toleration",
    "TopUp",
    "Trial",
    "check_catalogue",
    "facts_of",
    "load_catalogue",
    "parse_catalogue",
    "shipped_catalogue",
]
