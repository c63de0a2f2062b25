"""What the distribution promises by name can be imported."""

import importlib
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
NAMED = {
    name: target
    for group in (PROJECT["scripts"], *PROJECT["entry-points"].values())
    for name, target in group.items()
}


@pytest.mark.parametrize("name", NAMED)
def test_every_entry_point_leads_to_something(name):
    module, _, attribute = NAMED[name].partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))


def test_spawner_and_authenticator_are_named():
    assert {"jhub-tokens", "token-local", "token-demo"} <= set(NAMED)
