"""The layers fit the chart that they are for, merged as Helm merges them."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import jsonschema
import pytest
import yaml

from jhub_tokens.catalogue import load_catalogue
from jhub_tokens.commands.helm_values import chart_values
from tests.helm.layers import DATA, EXAMPLE_CATALOGUE, LAYERS, VALUES, installation, merged, read

EXAMPLES = ("kind", "university", "company")


def schema(version: str) -> dict[str, Any]:
    present = read(DATA / "jupyterhub-4.4.0.schema.yaml")
    if version == "next":
        # What 5.0 changes, as far as its main branch has it.
        route = present["properties"]["httpRoute"]["properties"]
        del route["gateway"]
        route["parentRefs"] = {"type": "array"}
    return present


def problems(values: dict[str, Any], version: str) -> list[str]:
    defaults = read(DATA / "jupyterhub-4.4.0.values.yaml")
    if version == "next":
        defaults["httpRoute"] = {"enabled": False, "parentRefs": []}
    whole = merged([defaults, values])
    validator = jsonschema.Draft7Validator(schema(version))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(whole)]


@pytest.mark.parametrize("version", ["4.4", "next"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_fit_the_hub_s_chart(example: str, version: str) -> None:
    assert problems(installation(example)["jupyterhub"], version) == []


def test_a_misspelt_key_of_the_hub_s_chart_is_refused() -> None:
    values = copy.deepcopy(installation("university")["jupyterhub"])
    values["hub"]["consecutiveFailuresLimit"] = 3
    assert any("consecutiveFailuresLimit" in line for line in problems(values, "4.4"))


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_alone_fits(layer: str) -> None:
    assert problems(read(VALUES / f"{layer}.yaml").get("jupyterhub", {}), "4.4") == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_nothing_deletes_files_and_failed_starts_do_not_take_the_hub_down(example: str) -> None:
    hub = installation(example)["jupyterhub"]["hub"]
    assert hub["consecutiveFailureLimit"] == 0
    assert any("delete_pvc = False" in text for text in hub["extraConfig"].values())


def test_what_the_charts_must_know_of_a_catalogue_is_generated() -> None:
    values = chart_values(load_catalogue(EXAMPLE_CATALOGUE))
    assert values["jhub-tokens"]["priorityClasses"] == [
        {"name": "jhub-tokens-standard", "value": 10},
        {"name": "jhub-tokens-spot", "value": 5},
    ]
    puller = values["jupyterhub"]["prePuller"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in puller[
        "extraTolerations"
    ]
    assert problems(values["jupyterhub"], "4.4") == []


def test_the_command_writes_values_that_helm_reads(tmp_path: Any) -> None:
    catalogue = tmp_path / "catalogue.yaml"
    digest = "a" * 64
    text = EXAMPLE_CATALOGUE.read_text().partition("images:")[0]
    catalogue.write_text(
        f"{text}\nimages:\n"
        f"  tf2.9: {{title: A, lifecycle: recommended, reference: 'reg:5000/tf@sha256:{digest}'}}\n"
        "  tf2.8: {title: TF, lifecycle: retired, successor: tf2.9, reference: 'reg:5000/tf:2.8'}\n"
        "  tf2.10: {title: TF, lifecycle: maintained, reference: 'reg:5000/tf'}\n"
    )
    command = [sys.executable, "-m", "jhub_tokens", "helm-values", str(catalogue)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert yaml.safe_load(answer.stdout)["jupyterhub"]["prePuller"]["extraImages"] == {
        "tf2-9": {"name": "reg:5000/tf@sha256", "tag": digest},
        "tf2-10": {"name": "reg:5000/tf", "tag": "latest"},
    }


def test_the_command_tells_mistakes_in_one_line(tmp_path: Any) -> None:
    command = [sys.executable, "-m", "jhub_tokens", "helm-values", str(tmp_path / "none.yaml")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "none.yaml" in answer.stderr and "Traceback" not in answer.stderr
