"""The catalogue's reference names every key there is, with the default that holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from jhub_tokens.catalogue.pool_schema import PoolEntry, TolerationEntry
from jhub_tokens.catalogue.schema import (
    AssignEntry,
    CatalogueFile,
    CostCentreEntry,
    ImageEntry,
    PlanEntry,
    PolicyEntry,
    ProfileEntry,
    TeamEntry,
)

REFERENCE = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, str]:
    section = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", REFERENCE, re.M | re.S)
    assert section is not None, heading
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section[1], re.M))


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Top level", CatalogueFile),
        ("`policy`", PolicyEntry),
        ("`plans`", PlanEntry),
        ("`profiles`", ProfileEntry),
        ("`images`", ImageEntry),
        ("`pools`", PoolEntry),
        ("Tolerations", TolerationEntry),
        ("`assign`", AssignEntry),
        ("`teams`", TeamEntry),
        ("`cost_centres`", CostCentreEntry),
    ],
)
def test_every_key_is_explained(heading: str, model: type[BaseModel]):
    written = rows(heading)
    assert list(written) == list(model.model_fields)
    for name, info in model.model_fields.items():
        assert (written[name] == "required") == info.is_required(), name
        if not info.is_required() and isinstance(info.default, (str, bool)) and info.default:
            value = str(info.default)
            assert written[name] == f"`{value.lower() if value in ('True', 'False') else value}`"
