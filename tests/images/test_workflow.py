"""What only runs elsewhere, the weekly workflow and the guide's commands, says what is true."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from images.tooling.cli import parse

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "images.yaml"
GUIDE = ROOT / "docs" / "images.md"
HOSTS = r"docker\.io|ghcr\.io|quay\.io|gcr\.io|https?://|\.com/[^/]"


def steps():
    for job in YAML(typ="safe").load(WORKFLOW)["jobs"].values():
        yield from job["steps"]


def test_the_workflow_is_one_that_github_reads():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    command += ["vendor.github-workflows", str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_names_no_registry_and_pins_what_it_uses():
    assert not re.search(HOSTS, WORKFLOW.read_text())
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    for each in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each), each


def test_the_workflows_scripts_are_bash_and_quote_nothing_from_outside():
    for step in steps():
        script = step.get("run", "")
        assert "${{" not in script, script
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def commands(text):
    """Return the arguments of each ``python -m images …``, each with its line."""
    for line in text.replace("\\\n", " ").splitlines():
        for found in re.findall(r"python -m images ([^`|>)#]+)", line):
            yield shlex.split(found)


@pytest.mark.parametrize("path", [WORKFLOW, GUIDE], ids=lambda path: path.name)
def test_commands_are_those_that_there_are(path):
    found = list(commands(path.read_text()))
    assert {words[0] for words in found} >= {"build", "sbom", "scan"}
    for words in found:
        filled = [
            {"$day": "2026-12-01", "$ACCEPT": "--accept-end-of-life"}.get(w, w) for w in words
        ]
        assert parse(filled).command == words[0]


@pytest.mark.parametrize("path", [WORKFLOW, GUIDE], ids=lambda path: path.name)
def test_targets_of_make_are_those_that_there_are(path):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = set(re.findall(r"(?:`|run: )make ([\w-]+)", path.read_text()))
    assert named
    assert named <= set(targets)


# --- .ci/images where it cannot build --------------------------------------------------------


@pytest.fixture
def build(tmp_path):
    """Run .ci/images with a path that has the shell's tools and no others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname", "paste", "env"):
        folder.joinpath(name).symlink_to(f"/usr/bin/{name}")

    def run(uid="0", **environment):
        folder.joinpath("id").write_text(f"#!/bin/sh\necho {uid}\n")
        folder.joinpath("id").chmod(0o755)
        return subprocess.run(
            [str(ROOT / ".ci" / "images"), sys.executable],
            env={"PATH": str(folder), "HOME": str(tmp_path)} | environment,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize(("uid", "said"), [("1000", "takes root"), ("0", "there is no buildah")])
def test_without_tools_nothing_is_built_and_ci_fails(build, uid, said):
    outside = build(uid)
    assert (outside.returncode, outside.stdout) == (0, "")
    assert said in outside.stderr
    assert build(uid, CI="true").returncode == 1


def test_the_scripts_of_ci_are_executable_bash():
    for script in (ROOT / ".ci").iterdir():
        assert os.access(script, os.X_OK), script
        subprocess.run(["bash", "-n", str(script)], check=True)
