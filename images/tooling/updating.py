"""What `images/families.yaml` pins: digests and sizes of the bases, and the age of the locks."""

from __future__ import annotations

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
    # The digest is that of the list of platforms where there is one, which is what a build names.
    command = ["skopeo", "--override-os", "linux", "--override-arch", "amd64", "inspect"]
    command.append(f"docker://{reference}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise BuildError("there is no skopeo on the path: no base can be looked up") from None
    except subprocess.TimeoutExpired:
        raise BuildError(f"{reference}: the registry does not answer") from None
    if done.returncode:
        raise BuildError(f"{reference}: {done.stderr.strip()}")
    told: dict[str, Any] = json.loads(done.stdout)
    if not told.get("LayersData"):
        raise BuildError("this skopeo does not tell the sizes of layers: install a newer one")
    return told["Digest"], round(sum(layer["Size"] for layer in told["LayersData"]) / 1e6)
