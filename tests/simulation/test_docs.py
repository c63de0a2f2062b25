"""What the documentation says of the archetypes is what they are."""

from pathlib import Path

import pytest

from jhub_tokens.simulation import ARCHETYPES, DEFAULT_MIX

DOCS = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("archetype", ARCHETYPES.values(), ids=lambda a: a.name)
def test_the_table_of_archetypes(archetype):
    row = next(line for line in DOCS.splitlines() if line.startswith(f"| `{archetype.name}` "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == f"`{archetype.name}` {archetype.summary}"
    assert cells[2] == f"{archetype.stays_h:g} h"
    assert cells[3] == " / ".join(f"{100 * taste:g}" for taste in archetype.tastes) + " %"
    assert cells[4] == f"{100 * archetype.forgets:g} %"


def test_the_default_mix():
    assert f"| `--mix MIX` | `{DEFAULT_MIX}` |" in DOCS
