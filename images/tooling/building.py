"""The command that builds an image, and the scan of a bill of materials."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from images.tooling.families import IMAGES, Families

__all__ = ["BuildError", "build_command", "place_wheel", "scan"]

DIST = IMAGES.parent / "dist"
WHEELS = IMAGES / "wheels"  # not kept in the repository


class BuildError(Exception):
    """The image cannot be built or scanned; the message says what to do."""


def build_command(image: str, families: Families, tag: str, base: str | None = None) -> list[str]:
    """Return buildah's command line; `base` replaces the family's base.

    Raises
    ------
    BuildError
        If there is no such image, or its base is not named by digest.
    """
    if image not in families.images:
        raise BuildError(f"there is no image {image}; there are {', '.join(families.images)}")
    definition = families.images[image]
    listed = families.bases[definition.base]
    base = base or (f"{listed.reference}@{listed.digest}" if listed.digest else listed.reference)
    if "@sha256:" not in base:
        raise BuildError(
            f"{base} is not named by digest: resolve it with `skopeo inspect` and write it as "
            f"bases.{definition.base}.digest in images/families.yaml, or give --base"
        )
    python = families.environments[definition.environment].pythons[0]
    arguments = {
        "BASE_IMAGE": base,
        "ENVIRONMENT": definition.environment,
        # The last release of 3.8; newer series take their newest.
        "FRAMEWORK_PYTHON": "3.8.20" if python == "3.8" else python,
        "SERVER_PYTHON": families.environments["server"].pythons[0],
        "TITLE": definition.title,
        "PACKAGES": definition.packages,
        "TAG": tag,
    }
    command = ["buildah", "bud", "--format", "oci", "--layers", "--tag", tag]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    return [*command, "--file", str(IMAGES / "Dockerfile"), str(IMAGES)]


def place_wheel(dist: Path = DIST, wheels: Path = WHEELS) -> None:
    """Put the JupyterLab extension where the Dockerfile expects it.

    Raises
    ------
    BuildError
        If it has not been built.
    """
    found = list(dist.glob("jhub_tokens_lab-*.whl"))
    if len(found) != 1:
        raise BuildError(
            f"the JupyterLab extension's one wheel is not in {dist}: run make labextension first"
        )
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir()
    shutil.copy2(found[0], wheels)


def scan(bill: Path) -> None:
    """Scan a bill of materials with Trivy; return only if it really found nothing.

    Raises
    ------
    BuildError
        If there is no scanner, its database cannot be had, or it found something to mend.
    """
    if shutil.which("trivy") is None:
        raise BuildError("there is no trivy on the path: nothing was scanned")
    # The database first and by itself: a scan without one must not look like a clean one.
    steps = (
        (["trivy", "image", "--download-db-only"], "the scanner's database cannot be reached"),
        (
            ["trivy", "sbom", "--skip-db-update", "--exit-code", "1", "--ignore-unfixed"]
            + ["--severity", "HIGH,CRITICAL", str(bill)],
            "the scan found vulnerabilities that have a fix, or failed",
        ),
    )
    for command, failure in steps:
        if subprocess.run(command).returncode:
            raise BuildError(f"{failure} ({' '.join(command[:2])})")
