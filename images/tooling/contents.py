"""What is in an image that was built: its Debian packages and its interpreters."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import Parser

from images.tooling.building import BuildError

__all__ = ["Contents", "DebianPackage", "parse_dpkg_status", "parse_fields", "read_contents"]


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """One installed package, and the source that it was built from."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What an image has beside its wheels."""

    distribution: str
    release: str
    packages: tuple[DebianPackage, ...]
    framework_python: str
    server_python: str
    created: str
    digest: str


def parse_dpkg_status(text: str) -> tuple[DebianPackage, ...]:
    """Return the installed packages of dpkg's database."""
    packages = []
    for paragraph in text.strip().split("\n\n"):
        fields = Parser().parsestr(paragraph)
        if fields["Status"] != "install ok installed":
            continue
        name, version = fields["Package"], fields["Version"]
        # "Source: name" or "Source: name (version)", and only where they differ.
        source, _, source_version = (fields["Source"] or name).partition(" ")
        packages.append(
            DebianPackage(
                name,
                version,
                fields["Architecture"],
                source,
                source_version.strip("()") or version,
            )
        )
    return tuple(packages)


def parse_fields(text: str) -> dict[str, str]:
    """Return the ``name = value`` lines of an os-release or a pyvenv.cfg."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def read_contents(image: str) -> Contents:
    """Read a local image without running it.

    Raises
    ------
    BuildError
        If there is no podman, no such image, or it is not one of ours.
    """
    told = _podman("image", "inspect", "--format", "{{.Created.Unix}} {{.Digest}}", image)
    created, digest = told.decode().split()
    with _container(image) as container:
        release = parse_fields(_file(container, "/usr/lib/os-release"))
        return Contents(
            release["ID"],
            release["VERSION_ID"],
            parse_dpkg_status(_file(container, "/var/lib/dpkg/status")),
            _python(container, "framework"),
            _python(container, "server"),
            created,
            digest,
        )


def _python(container: str, environment: str) -> str:
    return parse_fields(_file(container, f"/opt/{environment}/pyvenv.cfg"))["version_info"]


@contextmanager
def _container(image: str) -> Iterator[str]:
    container = _podman("create", image).decode().strip()
    try:
        yield container
    finally:
        _podman("rm", "--force", container)


def _file(container: str, path: str) -> str:
    data = _podman("cp", f"{container}:{path}", "-")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.extractfile(archive.getmembers()[0])
        assert member is not None, path
        return member.read().decode()


def _podman(*words: str) -> bytes:
    try:
        done = subprocess.run(["podman", *words], capture_output=True)
    except FileNotFoundError:
        raise BuildError("there is no podman on the path: no built image can be read") from None
    if done.returncode:
        raise BuildError(f"podman {words[0]}: {done.stderr.decode().strip()}")
    return done.stdout
