"""The command that builds an image."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from images.tooling.families import IMAGES, Families
from images.tooling.versions import image_of
from jhub_tokens.catalogue import ImageVersion

__all__ = ["BuildError", "build_command", "place_wheel"]

DIST = IMAGES.parent / "dist"
WHEELS = IMAGES / "wheels"  # not kept in the repository


class BuildError(Exception):
    """The image cannot be built, described or scanned; the message says what to do."""


def build_command(
    tag: str,
    families: Families,
    versions: dict[str, ImageVersion],
    *,
    name: str | None = None,
    base: str | None = None,
    options: Sequence[str] = (),
) -> list[str]:
    """Return buildah's command line for a version of ``images/catalogue.yaml``.

    Parameters
    ----------
    name
        What the built image is called; ``localhost/jhub-tokens:TAG`` without it.
    base
        Another base than the family's, by digest.
    options
        More options for ``buildah bud``.

    Raises
    ------
    BuildError
        If there is no such version, it is retired, or its base is not named by digest.
    """
    if tag not in versions:
        raise BuildError(f"images/catalogue.yaml has no version {tag}: {', '.join(versions)}")
    if versions[tag].lifecycle == "retired":
        raise BuildError(f"{tag} is retired: build {versions[tag].successor}")
    image = image_of(tag)
    if image not in families.images:
        raise BuildError(f"images/families.yaml has no image {image}")
    definition, listed = families.images[image], families.base(image)
    base = base or listed.pinned or listed.reference
    if "@sha256:" not in base:
        raise BuildError(
            f"{base} is not named by digest. With skopeo and a registry in reach, "
            f"`python -m images pin {definition.base}` looks it up and writes it to "
            "images/families.yaml; or give --base NAME@sha256:…"
        )
    arguments = {
        "BASE_IMAGE": base,
        "ENVIRONMENT": definition.environment,
        "FRAMEWORK_PYTHON": families.interpreter(definition.environment),
        "SERVER_PYTHON": families.interpreter("server"),
        "TITLE": definition.title,
        "PACKAGES": definition.packages,
        "TAG": tag,
    }
    command = ["buildah", "bud", "--format", "oci", "--tag", name or f"localhost/jhub-tokens:{tag}"]
    for argument, value in arguments.items():
        command += ["--build-arg", f"{argument}={value}"]
    return [*command, *options, "--file", str(IMAGES / "Dockerfile"), str(IMAGES)]


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
