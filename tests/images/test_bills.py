"""Bills of materials, and a scan of them that never passes without having looked."""

from __future__ import annotations

import json

import pytest
from ruamel.yaml import YAML

from images.tooling import scanning
from images.tooling.bills import bill, invalid
from images.tooling.building import BuildError
from images.tooling.cli import main
from images.tooling.contents import Contents, parse_dpkg_status, parse_fields
from images.tooling.families import load_families
from images.tooling.locks import lock_path
from images.tooling.scanning import scan

FAMILIES = load_families()
IMAGE = "tf2.9-cpu-runtime"
TAG = f"{IMAGE}-v1.0.0"
STATUS = """\
Package: libperl5.36
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: perl
Version: 5.36.0-7+deb12u2
Description: shared Perl library
 This package contains the shared library.

Package: login
Status: install ok installed
Architecture: amd64
Source: shadow (1:4.13+dfsg1-1)
Version: 1:4.13+dfsg1-1+b1

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""
BUILT = Contents(
    "debian", "12", parse_dpkg_status(STATUS), "3.9.2", "3.11.2", "1795600000", "sha256:" + "1" * 64
)


def parts(text):
    return {part["name"]: part for part in json.loads(text)["components"]}


@pytest.fixture(scope="module")
def from_locks():
    return bill(TAG, IMAGE, FAMILIES)


@pytest.fixture(scope="module")
def from_image():
    return bill(TAG, IMAGE, FAMILIES, BUILT)


@pytest.mark.parametrize("image", [IMAGE, "tf2.9-cuda11.2-runtime", "llm-runtime"])
def test_bills_are_valid_and_name_each_part_once(image):
    text = bill(f"{image}-v1.0.0", image, FAMILIES)
    assert invalid(text) is None
    references = [part["bom-ref"] for part in json.loads(text)["components"]]
    assert len(references) == len(set(references))


def test_the_same_input_gives_the_same_bill(from_locks, from_image):
    assert bill(TAG, IMAGE, FAMILIES) == from_locks
    assert bill(TAG, IMAGE, FAMILIES, BUILT) == from_image


def test_an_invalid_bill_is_told(from_locks):
    data = json.loads(from_locks)
    data["components"][0]["type"] = "thing"
    assert "thing" in str(invalid(json.dumps(data)))


def test_the_locks_alone_name_wheels_interpreters_and_base(from_locks):
    found = parts(from_locks)
    tensorflow = found["tensorflow-cpu"]
    assert tensorflow["version"] == "2.9.3"
    assert tensorflow["hashes"][0]["content"] in lock_path("tf2.9-cpu").read_text()
    assert [p["value"] for p in tensorflow["properties"]] == ["framework"]
    assert [p["value"] for p in found["jupyterlab"]["properties"]] == ["server"]
    assert FAMILIES.bases["plain"].reference in found
    listed = json.loads(from_locks)["components"]
    pythons = {part["version"] for part in listed if part["name"] == "python"}
    assert pythons == {"3.8.20", FAMILIES.interpreter("server")}


def test_a_built_image_adds_its_debian_packages_and_their_sources(from_image):
    found = parts(from_image)
    assert invalid(from_image) is None
    assert found["debian"]["type"] == "operating-system"
    assert found["libperl5.36"]["purl"].startswith("pkg:deb/debian/libperl5.36@5.36.0-7")
    sources = {p["name"].rpartition(":")[2]: p["value"] for p in found["login"]["properties"]}
    assert sources == {"SrcName": "shadow", "SrcVersion": "1:4.13+dfsg1-1"}
    assert "gone" not in found
    # The stand-in's interpreters, and so the wheels for those.
    assert found["python"]["version"] in ("3.9.2", "3.11.2")
    assert "numpy" in found


def test_fields_are_read_as_os_release_and_pyvenv_write_them():
    assert parse_fields('ID=debian\nVERSION_ID="12"\n\nversion_info = 3.8.20\n') == {
        "ID": "debian", "VERSION_ID": "12", "version_info": "3.8.20",
    }  # fmt: skip


# --- the scan --------------------------------------------------------------------------------


@pytest.fixture
def bill_file(tmp_path, from_image):
    path = tmp_path / "bill.json"
    path.write_text(from_image)
    return path


@pytest.fixture
def trivy(tmp_path, monkeypatch, bill_file):
    """Put a stub of Trivy on the path that answers with a report, and logs how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    report = tmp_path / "report.json"

    def put(told, code=0, database=0):
        report.write_text(told if isinstance(told, str) else json.dumps(told))
        script = f"""#!/bin/sh
echo "$*" >> {folder}/calls
case "$*" in *--download-db-only*) exit {database};; esac
while [ "$1" != --output ]; do shift; done
cp {report} "$2"
exit {code}
"""
        folder.joinpath("trivy").write_text(script)
        folder.joinpath("trivy").chmod(0o755)
        return lambda: folder.joinpath("calls").read_text().splitlines()

    return put


def report(bill_file, *, leave_out=(), vulnerabilities=(), release=None):
    packages = {"lang-pkgs": [], "os-pkgs": []}
    for part in json.loads(bill_file.read_text())["components"]:
        kind = {"pkg:py": "lang-pkgs", "pkg:de": "os-pkgs"}.get(part.get("purl", "")[:6])
        if kind and part["name"] not in leave_out:
            packages[kind].append({"Name": part["name"], "Version": part["version"]})
    results = [{"Class": kind, "Packages": found} for kind, found in packages.items()]
    results[0]["Vulnerabilities"] = list(vulnerabilities)
    return {
        "Metadata": {"OS": {"Family": "debian", "Name": "12"} | (release or {})},
        "Results": results,
    }


FOUND = {
    "VulnerabilityID": "CVE-2026-1", "PkgName": "tornado", "InstalledVersion": "6.4",
    "FixedVersion": "6.6", "Severity": "HIGH",
}  # fmt: skip


def test_a_scan_that_looked_at_everything_passes(trivy, bill_file):
    calls = trivy(report(bill_file))
    assert scan(bill_file) > 100
    assert [call.split()[0] for call in calls()] == ["image", "sbom"]
    assert "--skip-db-update" in calls()[1]


def test_no_scanner_is_no_pass(monkeypatch, bill_file, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="nothing was scanned"):
        scan(bill_file)


def test_a_scanner_without_its_database_is_no_pass(trivy, bill_file, capfd):
    calls = trivy(report(bill_file), database=1)
    with pytest.raises(BuildError, match="database cannot be reached"):
        scan(bill_file)
    assert len(calls()) == 1
    assert main(["scan", str(bill_file)]) == 1
    assert "database cannot be reached: nothing was scanned" in capfd.readouterr().err


@pytest.mark.parametrize("code", [1, 2, 139])
def test_a_scanner_that_fails_is_no_pass(trivy, bill_file, code):
    trivy(report(bill_file), code=code)
    with pytest.raises(BuildError, match=f"exit code {code}"):
        scan(bill_file)


@pytest.mark.parametrize("told", ["", "[]", "{}", '{"Results": null}'])
def test_an_empty_report_is_no_pass(trivy, bill_file, told):
    trivy(told)
    with pytest.raises(BuildError, match="no pass|no report"):
        scan(bill_file)


@pytest.mark.parametrize("name", ["tensorflow-cpu", "libperl5.36"])
def test_a_part_that_was_not_looked_at_is_no_pass(trivy, bill_file, name):
    trivy(report(bill_file, leave_out=[name]))
    with pytest.raises(BuildError, match=f"did not look at 1 of .*{name}"):
        scan(bill_file)


def test_what_has_a_fix_is_told_and_is_no_pass(trivy, bill_file, capfd):
    trivy(report(bill_file, vulnerabilities=[FOUND]), code=10)
    with pytest.raises(BuildError, match="found 1 vulnerabilities"):
        scan(bill_file)
    assert "HIGH CVE-2026-1 tornado 6.4: fixed in 6.6" in capfd.readouterr().err


def test_a_release_without_fixes_is_no_pass_unless_it_is_borne(trivy, bill_file):
    trivy(report(bill_file, release={"EOSL": True}))
    with pytest.raises(BuildError, match=r"debian 12 gets no security fixes any more"):
        scan(bill_file)
    assert scan(bill_file, accept_end_of_life=True)


@pytest.mark.parametrize("text", ["", "{}", '{"components": []}', "[1]"])
def test_what_is_no_bill_is_not_scanned(trivy, bill_file, text):
    trivy(report(bill_file))
    bill_file.write_text(text)
    with pytest.raises(BuildError, match="no bill of materials|lists no packages"):
        scan(bill_file)


def test_what_is_borne_has_a_reason_and_an_end():
    for entry in YAML(typ="safe").load(scanning.ACCEPTED.read_text())["vulnerabilities"]:
        assert entry["id"] and entry["statement"] and entry["expired_at"]
