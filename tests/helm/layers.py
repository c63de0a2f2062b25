"""The layers of helm-values/ merged as Helm does, and our chart rendered by Helm's own engine."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "helm-values"
CHART = VALUES / "charts" / "jhub-tokens"
DATA = Path(__file__).with_name("data")
LAYERS = ("base", "pools", "storage", "identity", "network", "observability")
EXAMPLE_CATALOGUE = ROOT / "jhub_tokens" / "catalogues" / "kubernetes.yaml"


def read(path: Path) -> dict[str, Any]:
    value = yaml.safe_load(path.read_text())
    assert isinstance(value, dict), path
    return value


def merged(maps: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge as `helm -f a -f b`: maps deeply, lists replaced, null takes a key away."""
    result: dict[str, Any] = {}
    for each in maps:
        _into(result, each)
    return result


def _into(result: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), dict):
            _into(result[key], value)
        else:
            result[key] = copy.deepcopy(value)


def without_nulls(value: Any) -> Any:
    """Return what is left once nulls have taken the chart's defaults away."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


def installation(example: str) -> dict[str, Any]:
    """Return the values of an example with the layers that it builds on."""
    own = read(VALUES / "examples" / f"{example}.yaml")
    if example == "kind":
        # As the command at the top of the file gives it, with --set-file.
        files = own["jupyterhub"]["hub"]["extraFiles"]
        files["catalogue"]["stringData"] = EXAMPLE_CATALOGUE.read_text()
        return own
    return merged([*(read(VALUES / f"{layer}.yaml") for layer in LAYERS), own])


def rendered(values: Mapping[str, Any], namespace: str = "hub") -> list[dict[str, Any]]:
    """Return the objects of our chart; Helm's engine checks the values against the schema."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(dict(values))
        texts = chart.render(dict(values), name="hub", namespace=namespace, is_install=True)
    objects: list[dict[str, Any]] = []
    for name, text in texts.items():
        if name.endswith(".yaml"):
            objects += [each for each in yaml.safe_load_all(text) if each]
    return objects


def tokens_values(example: str) -> dict[str, Any]:
    """Return our chart's part of an installation, with a catalogue."""
    values = dict(installation(example)["jhub-tokens"])
    values["catalogue"] = EXAMPLE_CATALOGUE.read_text()
    return values


def of_kind(objects: Iterable[Mapping[str, Any]], kind: str, name: str = "") -> list[Any]:
    """Return the objects of a kind; of one name, if one is given."""
    return [
        each for each in objects if each["kind"] == kind and name in ("", each["metadata"]["name"])
    ]
