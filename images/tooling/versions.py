"""The rule by which image versions are promoted and retired, over the catalogue's own model.

``images/catalogue.yaml`` is the one source: its ``images`` mapping is what a service catalogue
holds. `problems` compares a service catalogue with it and judges the lifecycles.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from images.tooling.families import IMAGES, Families
from jhub_tokens.catalogue import Catalogue, ImageVersion
from jhub_tokens.catalogue.schema import ImageEntry

__all__ = ["NOTICE", "change_problems", "differences", "load_versions", "problems"]

#: Between the announcement that an image retires and its last day.
NOTICE = timedelta(days=90)
_TAG = re.compile(r"(?P<image>.+-runtime)-v\d+\.\d+\.\d+")


def load_versions(path: Path = IMAGES / "catalogue.yaml") -> dict[str, ImageVersion]:
    """Read the image versions by tag."""
    data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    entries = TypeAdapter(dict[str, ImageEntry]).validate_python(data["images"])
    return {tag: entry.to_image(tag) for tag, entry in entries.items()}


def problems(versions: dict[str, ImageVersion], families: Families, today: date) -> list[str]:
    """Return what breaks the rule, each with its remedy."""
    found = []
    for tag, version in versions.items():
        match = _TAG.fullmatch(tag)
        if match is None or (match["image"] not in families.images and version.is_retired(today)):
            if match is None:
                found.append(f"{tag}: write IMAGE-runtime-vX.Y.Z")
        elif match["image"] not in families.images:
            found.append(f"{tag}: families.yaml has no image {match['image']}: add or retire it")
        if version.lifecycle in ("retiring", "retired"):
            successor = versions.get(version.successor or "")
            if successor is None:
                found.append(f"{tag}: name a successor that is in this file")
            elif successor.accelerator != version.accelerator:
                found.append(f"{tag}: its successor is made for other hardware")
            elif successor.lifecycle not in ("recommended", "maintained"):
                found.append(
                    f"{tag}: its successor {successor.tag} is {successor.lifecycle} itself"
                )
        if (version.lifecycle == "retiring") != (version.until is not None):
            found.append(f"{tag}: until: belongs to retiring images, and each of them has one")
    kinds = {"gpu", "cpu"}
    for kind in sorted(kinds):
        best = [
            v.tag
            for v in versions.values()
            if v.accelerator == kind and v.lifecycle == "recommended"
        ]
        if len(best) != 1:
            found.append(f"exactly one {kind} image is recommended, not {best or 'none'}")
    return found


def change_problems(
    before: dict[str, ImageVersion], after: dict[str, ImageVersion], today: date
) -> list[str]:
    """Return what a change does to members who pinned a version, against the rule.

    A tag is never removed, only retired; a version retires with at least `NOTICE`, and a date that
    was announced is not brought forward.
    """
    found = []
    for tag, old in before.items():
        new = after.get(tag)
        if new is None:
            found.append(f"{tag}: a tag is never removed: write lifecycle: retired")
        elif old.is_retired(today):
            if not new.is_retired(today):
                found.append(f"{tag}: a retired version does not come back: release a new one")
        elif new.is_retired(today):
            found.append(f"{tag}: retire it first with lifecycle: retiring and a date")
        elif new.until is not None:
            earliest = old.until or today + NOTICE
            if new.until < earliest:
                found.append(f"{tag}: until: is {earliest} at the earliest")
    return found


def differences(versions: dict[str, ImageVersion], catalogue: Catalogue) -> list[str]:
    """Return where a service catalogue tells another story than the source."""
    found = []
    for tag, image in catalogue.images.items():
        source = versions.get(tag)
        if source is None:
            found.append(f"images.{tag}: images/catalogue.yaml has no such version")
            continue
        for key in ("accelerator", "lifecycle", "until", "successor"):
            if getattr(image, key) != getattr(source, key):
                found.append(f"images.{tag}.{key}: {getattr(source, key)} in images/catalogue.yaml")
    return found
