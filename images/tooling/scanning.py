"""The scan of a bill of materials with Trivy: passes only if everything was looked at."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from images.tooling.building import BuildError
from images.tooling.families import IMAGES

__all__ = ["scan"]

#: What is known and borne, each with a reason and a day on which it ends; read by Trivy.
ACCEPTED = IMAGES / "trivyignore.yaml"
#: Trivy's exit code for "found something", which it must not share with "failed".
_FOUND = 10


def scan(bill: Path, *, accept_end_of_life: bool = False) -> int:
    """Scan a bill and return how many parts were looked at; there was nothing to mend in them.

    Raises
    ------
    BuildError
        If there is no scanner, its database cannot be had, it did not look at every wheel and
        Debian package of the bill, the base's release gets no fixes any more (unless that is
        accepted), or something has a fix that the image lacks.
    """
    if shutil.which("trivy") is None:
        raise BuildError("there is no trivy on the path: nothing was scanned")
    expected = _expected(bill)
    # The database first and by itself: a scan without one must not look like a clean one.
    if subprocess.run(["trivy", "image", "--download-db-only"], stdout=sys.stderr).returncode:
        raise BuildError("the scanner's database cannot be reached: nothing was scanned")
    report, code = _run(bill)
    results = report.get("Results") or []
    seen = {
        (_kind(result), package["Name"].lower())
        for result in results
        for package in result.get("Packages") or ()
    }
    missed = sorted(name for kind, name in expected if (kind, name) not in seen)
    if missed:
        raise BuildError(
            f"trivy did not look at {len(missed)} of {len(expected)} parts, such as "
            f"{', '.join(missed[:5])}: this is no pass"
        )
    release = (report.get("Metadata") or {}).get("OS") or {}
    if release.get("EOSL"):
        said = f"{release.get('Family')} {release.get('Name')} gets no security fixes any more"
        if not accept_end_of_life:
            raise BuildError(f"{said}, so that none can be missing: --accept-end-of-life bears it")
        print(f"images: {said}: its packages were not judged", file=sys.stderr)
    findings = [
        f"{found['Severity']} {found['VulnerabilityID']} {found['PkgName']} "
        f"{found['InstalledVersion']}: fixed in {found.get('FixedVersion', '?')}"
        for result in results
        for found in result.get("Vulnerabilities") or ()
    ]
    if findings or code == _FOUND:
        for line in findings:
            print(line, file=sys.stderr)
        raise BuildError(f"the scan found {len(findings)} vulnerabilities that have a fix")
    return len(expected)


def _expected(bill: Path) -> set[tuple[str, str]]:
    try:
        components = json.loads(bill.read_text(encoding="utf-8"))["components"]
        purls = [(part["name"].lower(), part.get("purl", "")) for part in components]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuildError(f"{bill} is no bill of materials: {error!r}") from None
    kinds = {"pkg:pypi/": "lang-pkgs", "pkg:deb/": "os-pkgs"}
    found = {
        (kind, name)
        for name, purl in purls
        for start, kind in kinds.items()
        if purl.startswith(start)
    }
    if not found:
        raise BuildError(f"{bill} lists no packages: there is nothing to scan")
    return found


def _kind(result: dict[str, Any]) -> str:
    return str(result.get("Class", ""))


def _run(bill: Path) -> tuple[dict[str, Any], int]:
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "report.json")
        command = ["trivy", "sbom", "--skip-db-update", "--format", "json", "--list-all-pkgs"]
        command += ["--severity", "HIGH,CRITICAL", "--ignore-unfixed", "--exit-code", str(_FOUND)]
        command += ["--ignorefile", str(ACCEPTED), "--output", str(output), str(bill)]
        code = subprocess.run(command, stdout=sys.stderr).returncode
        if code not in (0, _FOUND):
            raise BuildError(f"trivy failed with exit code {code}: this is no pass")
        try:
            report = json.loads(output.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BuildError(f"trivy left no report: {error}") from None
    if not isinstance(report, dict):
        raise BuildError("trivy's report is no object: this is no pass")
    return report, code
