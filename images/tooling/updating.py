"""What `images/families.yaml` pins: digests and sizes of the bases, and the age of the locks."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from images.tooling.building import BuildError
from images.tooling.families import FAMILIES, load_families

__all__ = ["pin", "raise_as_of"]


def pin(names: list[str], file: Path = FAMILIES) -> list[str]:
    """Look up bases, all of them where none is named, and return what changed, in words.

    Raises
    ------
    BuildError
        If there is no such base, no skopeo, or its registry does not answer.
    """
    bases = load_families(file).bases
    unknown = sorted(set(names) - set(bases))
    if unknown:
        raise BuildError(f"there is no base {', '.join(unknown)}; there are {', '.join(bases)}")
    # All are looked up before any is written.
    found = {name: _inspect(bases[name].reference) for name in names or bases}
    told = []
    with _edited(file) as document:
        for name, (digest, size_mb) in found.items():
            entry = document["bases"][name]
            if entry.get("digest") != digest:
                told.append(f"{name}: {digest}, {size_mb} MB")
            entry["digest"], entry["size_mb"] = digest, size_mb
    return told


def raise_as_of(day: date, file: Path = FAMILIES) -> None:
    """Let locks see what was published before `day` (UTC).

    Raises
    ------
    BuildError
        If locks see newer packages already.
    """
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC)
    before = load_families(file).as_of
    if instant < before:
        raise BuildError(f"as_of is {before:%Y-%m-%d} already: {day} would take fixes back")
    with _edited(file) as document:
        document["as_of"] = instant


@contextmanager
def _edited(file: Path) -> Iterator[Any]:
    """Change a file whose comments and layout stay."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    document = yaml.load(file.read_text(encoding="utf-8"))
    yield document
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)


def _inspect(reference: str) -> tuple[str, int]:
    """Return a base's digest, and what its layers add up to in MB."""
    raw = _manifest(reference)
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    manifest: dict[str, Any] = json.loads(raw)
    if "manifests" in manifest:  # A list of platforms: builds name the list, and pull one of them.
        name = reference.rpartition(":")[0]
        manifest = json.loads(_manifest(f"{name}@{_amd64(reference, manifest['manifests'])}"))
    return digest, round(sum(layer["size"] for layer in manifest["layers"]) / 1e6)


def _amd64(reference: str, manifests: list[dict[str, Any]]) -> str:
    for each in manifests:
        platform = each.get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            return str(each["digest"])
    raise BuildError(f"{reference}: there is none for linux/amd64")


def _manifest(reference: str) -> bytes:
    command = ["skopeo", "inspect", "--raw", f"docker://{reference}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=120)
    except FileNotFoundError:
        raise BuildError("there is no skopeo on the path: no base can be looked up") from None
    except subprocess.TimeoutExpired:
        raise BuildError(f"{reference}: the registry does not answer") from None
    if done.returncode:
        raise BuildError(f"{reference}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
