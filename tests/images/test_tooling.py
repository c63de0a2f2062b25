"""Locks, sizes, bills of materials, the build's arguments and the rule for versions."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

import pytest

from images.tooling import building
from images.tooling.building import BuildError, build_command, place_wheel, scan
from images.tooling.families import IMAGES, load_families
from images.tooling.locks import is_stale, lock_path, read_lock
from images.tooling.report import over_budget, sbom
from images.tooling.versions import NOTICE, change_problems, differences, load_versions, problems
from jhub_tokens.catalogue import load_catalogue, shipped_catalogue

FAMILIES = load_families()
TODAY = date(2026, 11, 25)
RETIRING = "tf2.8-cuda11.2-runtime-v1.0.0"
BEST = "tf2.9-cuda11.2-runtime-v1.0.0"


@pytest.mark.parametrize("name", FAMILIES.environments)
def test_locks_are_fresh_complete_and_name_no_host(name):
    assert not is_stale(name, FAMILIES)
    assert read_lock(name)
    assert not re.search(r"https?:|index-url|find-links", lock_path(name).read_text())


def test_other_requirements_make_a_lock_stale():
    assert is_stale("server", FAMILIES.model_copy(update={"as_of": datetime(2020, 1, 1)})) is True


def test_gpu_images_keep_their_budget_and_a_small_budget_is_missed():
    assert over_budget("tf2.9-cuda11.2-runtime", FAMILIES) is None
    small = FAMILIES.model_copy(update={"budget_gb": (0.1, 1.0)})
    assert "over the budget" in str(over_budget("tf2.9-cuda11.2-runtime", small))


def test_the_bill_of_materials_names_framework_server_and_base():
    bill = sbom("tf2.9-cpu-runtime", FAMILIES)
    found = {part["name"]: part for part in bill["components"]}
    assert found["tensorflow-cpu"]["version"] == "2.9.3"
    assert found["tensorflow-cpu"]["hashes"][0]["content"] in lock_path("tf2.9-cpu").read_text()
    assert {"jupyterlab", "nbgitpuller", "docker.io/library/ubuntu:20.04"} <= set(found)
    assert bill == sbom("tf2.9-cpu-runtime", FAMILIES)
    references = [part["bom-ref"] for part in bill["components"]]
    assert len(references) == len(set(references))


def test_a_base_without_digest_is_refused():
    with pytest.raises(BuildError, match="not named by digest"):
        build_command("tf2.9-cuda11.2-runtime", FAMILIES, "t")


def test_an_image_without_the_extension_is_refused(tmp_path):
    with pytest.raises(BuildError, match="make labextension"):
        place_wheel(tmp_path, tmp_path / "wheels")
    (tmp_path / "jhub_tokens_lab-1-py3-none-any.whl").touch()
    for _ in range(2):
        place_wheel(tmp_path, tmp_path / "wheels")
    assert len(list((tmp_path / "wheels").iterdir())) == 1


def test_images_differ_by_arguments_only():
    base = "registry.example/base@sha256:" + "0" * 64
    for image in FAMILIES.images:
        command = build_command(image, FAMILIES, "t", base)
        names = [word.partition("=")[0] for word in command if re.match(r"[A-Z_]+=", word)]
        for name in names:
            assert re.search(rf"^ARG {name}\b", (IMAGES / "Dockerfile").read_text(), re.M), name


def test_no_scanner_is_no_pass(monkeypatch, tmp_path):
    monkeypatch.setattr(building.shutil, "which", lambda name: None)
    with pytest.raises(BuildError, match="nothing was scanned"):
        scan(tmp_path / "bill.json")


def test_a_scanner_without_its_database_is_no_pass(monkeypatch, tmp_path):
    fake = tmp_path / "trivy"
    fake.write_text('#!/bin/sh\ncase "$*" in *download-db-only*) exit 1;; esac\nexit 0\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BuildError, match="database cannot be reached"):
        scan(tmp_path / "bill.json")


def test_the_versions_keep_the_rule_and_the_shipped_catalogues_agree():
    versions = load_versions()
    assert problems(versions, FAMILIES, TODAY) == []
    for name in ("default", "demo"):
        assert differences(versions, load_catalogue(shipped_catalogue(name))) == []


def changed(tag, **values):
    versions = load_versions()
    return {**versions, tag: versions[tag].model_copy(update=values)}


@pytest.mark.parametrize(
    ("tag", "values", "said"),
    [
        (RETIRING, {"successor": None}, "name a successor"),
        (RETIRING, {"successor": "tf2.9-cpu-runtime-v1.0.0"}, "other hardware"),
        (RETIRING, {"until": None}, "until: belongs to retiring"),
        (BEST, {"lifecycle": "maintained"}, "exactly one gpu image is recommended"),
    ],
)
def test_breaches_of_the_rule_are_named(tag, values, said):
    assert said in "\n".join(problems(changed(tag, **values), FAMILIES, TODAY))


@pytest.mark.parametrize(
    ("tag", "values", "said"),
    [
        (BEST, {"lifecycle": "retired"}, "retire it first"),
        (BEST, {"lifecycle": "retiring", "until": TODAY + timedelta(days=10)}, "at the earliest"),
        (RETIRING, {"until": date(2027, 6, 29)}, "2027-06-30 at the earliest"),
    ],
)
def test_members_who_pinned_a_version_keep_it_until_its_date(tag, values, said):
    before = load_versions()
    assert said in change_problems(before, changed(tag, **values), TODAY)[0]
    late = {"lifecycle": "retiring", "until": TODAY + NOTICE}
    assert change_problems(before, changed(BEST, **late), TODAY) == []


def test_a_tag_is_never_removed():
    before = load_versions()
    after = {tag: version for tag, version in before.items() if tag != BEST}
    assert "never removed" in change_problems(before, after, TODAY)[0]
