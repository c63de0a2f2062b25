"""The documents name every option with its default; the example manifests are accepted."""

from __future__ import annotations

import re
from pathlib import Path

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from jhub_spawner.kubernetes import TokenKubeSpawner
from jhub_tokens.catalogue import load_catalogue, shipped_catalogue

DOCS = Path(__file__).parents[2] / "docs"


def test_every_option_of_ours_is_explained() -> None:
    written = set(re.findall(r"`(\w+)`", (DOCS / "kubernetes.md").read_text(encoding="utf-8")))
    ours = {
        name
        for name, trait in TokenKubeSpawner.class_traits(config=True).items()
        if trait.this_class.__module__.startswith("jhub_spawner.kubernetes")
    }
    assert len(ours) > 10
    assert ours <= written


@pytest.mark.parametrize("name", ["kubernetes-policies.yaml"])
@pytest.mark.parametrize("version", ["1.28", "1.34"])
def test_example_manifests_are_accepted(name: str, version: str) -> None:
    manifests = list(YAML(typ="safe").load_all((DOCS / name).read_text(encoding="utf-8")))
    assert manifests
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_policies_have_the_priority_classes_of_the_example() -> None:
    text = (DOCS / "kubernetes-policies.yaml").read_text(encoding="utf-8")
    made = {
        manifest["metadata"]["name"]
        for manifest in YAML(typ="safe").load_all(text)
        if manifest["kind"] == "PriorityClass"
    }
    pools = load_catalogue(shipped_catalogue("kubernetes")).pools.values()
    assert {pool.priority_class for pool in pools} == made
