"""Locks, sizes, the build's arguments, and what is looked up for families.yaml."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date, datetime

import pytest

from images.tooling.building import BuildError, build_command, place_wheel
from images.tooling.cli import main
from images.tooling.families import FAMILIES as FILE
from images.tooling.families import IMAGES, load_families
from images.tooling.locks import image_pins, is_stale, lock_path, read_lock
from images.tooling.sizes import over_budget, size
from images.tooling.updating import pin, raise_as_of
from images.tooling.versions import image_of, load_versions

FAMILIES = load_families()
VERSIONS = load_versions()
UNPINNED = FAMILIES.model_copy(
    update={
        "bases": {name: b.model_copy(update={"digest": None}) for name, b in FAMILIES.bases.items()}
    }
)
GPU = "tf2.9-cuda11.2-runtime"
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize("name", FAMILIES.environments)
def test_locks_are_fresh_complete_and_name_no_host(name):
    assert not is_stale(name, FAMILIES)
    assert read_lock(name)
    assert not re.search(r"https?:|index-url|find-links", lock_path(name).read_text())


def test_other_requirements_make_a_lock_stale():
    assert is_stale("server", FAMILIES.model_copy(update={"as_of": datetime(2020, 1, 1)})) is True


def test_an_image_carries_the_pins_of_its_python_only():
    for_38, for_39 = (
        {pin.name: pin.version for pin in image_pins("tf2.9-cpu", python)}
        for python in ("3.8", "3.9")
    )
    assert for_38["cffi"] != for_39["cffi"]
    assert for_38["tensorflow-cpu"] == for_39["tensorflow-cpu"] == "2.9.3"


def test_gpu_images_keep_their_budget_and_a_small_budget_is_missed():
    assert over_budget(GPU, FAMILIES) is None
    small = FAMILIES.model_copy(update={"budget_gb": 1.0})
    assert "over the budget of 1 GB" in str(over_budget(GPU, small))


def test_what_is_estimated_about_a_size_is_said():
    computed = size(GPU, UNPINNED)
    assert computed.total_mb == computed.base_mb + computed.wheels_mb + computed.rest_mb
    assert f"base {computed.base_mb:.0f} MB" in computed.estimates
    base = FAMILIES.bases["cuda11.2"].model_copy(update={"digest": DIGEST})
    measured = FAMILIES.model_copy(update={"bases": {"cuda11.2": base}})
    assert "base" not in size(GPU, measured).estimates


def test_a_base_without_digest_is_refused_with_the_way_to_get_one():
    with pytest.raises(BuildError, match=r"not named by digest.*python -m images pin"):
        build_command(f"{GPU}-v1.0.0", UNPINNED, VERSIONS)
    with pytest.raises(BuildError, match="not named by digest"):
        build_command(f"{GPU}-v1.0.0", FAMILIES, VERSIONS, base="nvidia/cuda:11.2.2")


def test_versions_that_are_unknown_or_retired_are_not_built():
    with pytest.raises(BuildError, match=r"has no version tf3-runtime-v1\.0\.0"):
        build_command("tf3-runtime-v1.0.0", FAMILIES, VERSIONS)
    tag = "tf2.8-cpu-runtime-v1.0.0"
    retired = VERSIONS[tag].model_copy(update={"lifecycle": "retired", "until": None})
    with pytest.raises(BuildError, match=r"is retired: build tf2\.9-cpu"):
        build_command(tag, FAMILIES, {**VERSIONS, tag: retired})


def test_an_image_without_the_extension_is_refused(tmp_path):
    with pytest.raises(BuildError, match="make labextension"):
        place_wheel(tmp_path, tmp_path / "wheels")
    (tmp_path / "jhub_tokens_lab-1-py3-none-any.whl").touch()
    for _ in range(2):
        place_wheel(tmp_path, tmp_path / "wheels")
    assert len(list((tmp_path / "wheels").iterdir())) == 1


@pytest.mark.parametrize("tag", VERSIONS)
def test_images_differ_by_arguments_that_the_dockerfile_has(tag):
    base = f"registry.example/base@{DIGEST}"
    command = build_command(tag, FAMILIES, VERSIONS, name="n", base=base, options=["--no-cache"])
    arguments = dict(word.split("=", 1) for word in command if re.match(r"[A-Z_]+=", word))
    assert arguments["BASE_IMAGE"] == base
    assert arguments["TAG"] == tag
    assert (IMAGES / "locks" / f"{arguments['ENVIRONMENT']}.txt").exists()
    dockerfile = (IMAGES / "Dockerfile").read_text()
    for name in arguments:
        assert re.search(rf"^ARG {name}\b", dockerfile, re.M), name
    assert "--no-cache" in command


def test_every_image_has_a_version():
    assert {image_of(tag) for tag in VERSIONS} == set(FAMILIES.images)


@pytest.fixture
def file(tmp_path):
    """A families.yaml of which no base is pinned."""
    path = tmp_path / "families.yaml"
    path.write_text(re.sub(r"\n *digest: .*", "", FILE.read_text()))
    return path


@pytest.fixture
def on_path(monkeypatch, tmp_path):
    """Put a stub of a program before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def put(name, script):
        folder.joinpath(name).write_text(f"#!/bin/sh\n{script}\n")
        folder.joinpath(name).chmod(0o755)

    return put


ONE = {"layers": [{"size": 1_200_000_000}, {"size": 34_000_000}]}
LIST = {
    "manifests": [
        {"digest": "sha256:arm", "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": "sha256:amd", "platform": {"os": "linux", "architecture": "amd64"}},
    ]
}
# NVIDIA's answers with a list of platforms, the other one with the manifest itself.
SKOPEO = f"""
case "$*" in
    *nvidia/cuda@sha256:amd|*ubuntu:24.04) printf %s '{json.dumps(ONE)}';;
    *nvidia/cuda:*) printf %s '{json.dumps(LIST)}';;
    *) echo "no route to $*" >&2; exit 1;;
esac
"""


def sha256(told):
    return "sha256:" + hashlib.sha256(json.dumps(told).encode()).hexdigest()


def test_bases_are_looked_up_and_the_file_keeps_its_comments(file, on_path):
    on_path("skopeo", SKOPEO)
    before = file.read_text()
    told = [f"cuda11.2: {sha256(LIST)}, 1234 MB", f"plain: {sha256(ONE)}, 1234 MB"]
    assert pin([], file) == told
    families = load_families(file)
    assert families.bases["cuda11.2"].pinned.endswith(f"ubuntu20.04@{sha256(LIST)}")
    assert families.bases["cuda11.2"].size_mb == 1234
    changed = set(file.read_text().splitlines()) ^ set(before.splitlines())
    assert {line.split(":")[0].strip() for line in changed} == {"size_mb", "digest"}
    assert pin(["plain"], file) == []


def test_a_registry_that_does_not_answer_changes_nothing(file, on_path):
    before = file.read_text()
    for script, said in (
        (SKOPEO.replace("ubuntu:", "other:"), "no route to"),
        (SKOPEO.replace("amd64", "s390x"), "none for linux/amd64"),
    ):
        on_path("skopeo", script)
        with pytest.raises(BuildError, match=said):
            pin([], file)
    with pytest.raises(BuildError, match="no base x"):
        pin(["x"], file)
    assert file.read_text() == before


def test_locks_may_see_newer_packages_and_never_only_older_ones(file):
    raise_as_of(date(2026, 12, 1), file)
    assert load_families(file).as_of == datetime.fromisoformat("2026-12-01T00:00:00Z")
    assert is_stale("server", load_families(file))
    with pytest.raises(BuildError, match="would take fixes back"):
        raise_as_of(date(2026, 11, 30), file)


def test_what_cannot_be_done_is_one_line(capsys):
    assert main(["build", "tf3-runtime-v1.0.0"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("images: ")
    assert said.count("\n") == 1


def test_the_list_has_what_may_be_started(capsys):
    assert main(["list"]) == 0
    assert f"{GPU}-v1.0.0" in json.loads(capsys.readouterr().out)
