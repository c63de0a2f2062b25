"""What the locks tell about an image: its size before it is built, and a bill of materials."""

from __future__ import annotations

import uuid
from typing import Any

from images.tooling.families import Families
from images.tooling.locks import Pin, read_lock

__all__ = ["over_budget", "sbom", "size_mb"]

#: Debian packages of the final stage (git, OpenSSH, Perl for git, tmux, screen, rsync), compressed.
_DEBIAN_MB = 45.0


def _pins(image: str, families: Families) -> list[Pin]:
    """Return the pins that the image carries: those of each environment's first Python."""
    found = []
    for name in (families.images[image].environment, "server"):
        python = families.environments[name].pythons[0]
        found += [p for p in read_lock(name) if not p.marker or f"'{python}'" in p.marker]
    return found


def size_mb(image: str, families: Families) -> float:
    """Return what a node pulls for the image: base, wheels and Debian packages, compressed."""
    wheels = sum(pin.size_bytes for pin in _pins(image, families)) / 1e6
    return families.bases[families.images[image].base].size_mb + wheels + _DEBIAN_MB


def over_budget(image: str, families: Families) -> str | None:
    """Return what is wrong with the image's size, or None.

    The budget is for the images with CUDA in their base. The LLM family carries a framework of
    several GB in its own wheels and is told, not judged.
    """
    if families.images[image].base != "cuda11.2":
        return None
    most_gb, size = families.budget_gb[1], size_mb(image, families) / 1000
    if size <= most_gb:
        return None
    return f"{image}: {size:.2f} GB is over the budget of {most_gb:g} GB: leave something out"


def sbom(image: str, families: Families) -> dict[str, Any]:
    """Return the image's bill of materials, CycloneDX 1.5, from its locks alone."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{pin.name}@{pin.version}",
            "name": pin.name,
            "version": pin.version,
            "purl": f"pkg:pypi/{pin.name}@{pin.version}",
            "hashes": [
                {"alg": "SHA-256", "content": each.removeprefix("sha256:")} for each in pin.hashes
            ],
        }
        for pin in {(pin.name, pin.version): pin for pin in _pins(image, families)}.values()
    ]
    base = families.bases[families.images[image].base]
    content = repr((image, base, components))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # From the content, so that the same locks give the same file.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image, "bom-ref": image}},
        "components": [
            {
                "type": "container",
                "bom-ref": base.reference,
                "name": base.reference,
                "version": base.digest or "unpinned",
            },
            *components,
        ],
    }
