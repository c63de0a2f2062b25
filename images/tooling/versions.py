"""The rule by which image versions are promoted and retired, over the catalogue's own model.

``images/catalogue.yaml`` is the one source: its ``images`` mapping is what a service catalogue
holds. `problems` judges what it says today, `change_problems` what changed since the release
before, and `differences` compares a service catalogue with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from images.tooling.families import IMAGES, Families
from jhub_tokens.catalogue import Catalogue, ImageVersion
from jhub_tokens.catalogue.schema import ImageEntry

__all__ = [
    "CATALOGUE",
    "NOTICE",
    "Versions",
    "change_problems",
    "differences",
    "image_of",
    "load_versions",
    "parse_versions",
    "problems",
]

CATALOGUE = IMAGES / "catalogue.yaml"
#: Between the announcement that an image retires and its last day.
NOTICE = timedelta(days=90)
_TAG = re.compile(r"(?P<image>.+-runtime)-v\d+\.\d+\.\d+")
_ENTRIES = TypeAdapter(dict[str, ImageEntry])

Versions = Mapping[str, ImageVersion]


def parse_versions(text: str) -> dict[str, ImageVersion]:
    """Return the image versions by tag.

    Raises
    ------
    ValueError
        If the text is not a mapping with ``images``, or an entry is wrong.
    """
    data = YAML(typ="safe", pure=True).load(text)
    if not isinstance(data, dict) or "images" not in data:
        raise ValueError("images/catalogue.yaml: write versions under images:")
    return {
        tag: entry.to_image(tag) for tag, entry in _ENTRIES.validate_python(data["images"]).items()
    }


def load_versions(path: Path = CATALOGUE) -> dict[str, ImageVersion]:
    """Read the image versions by tag."""
    return parse_versions(path.read_text(encoding="utf-8"))


def image_of(tag: str) -> str | None:
    """Return the image whose version a tag is, or None if it is no tag of ours."""
    match = _TAG.fullmatch(tag)
    return match["image"] if match else None


def problems(versions: Versions, families: Families, today: date) -> list[str]:
    """Return what breaks the rule, each with its remedy."""
    found = []
    for tag, version in versions.items():
        image = image_of(tag)
        if image is None:
            found.append(f"{tag}: write IMAGE-runtime-vX.Y.Z")
        elif image not in families.images and not version.is_retired(today):
            found.append(f"{tag}: families.yaml has no image {image}: add or retire it")
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
    for kind in ("cpu", "gpu"):
        best = [
            v.tag
            for v in versions.values()
            if v.accelerator == kind and v.lifecycle == "recommended"
        ]
        if len(best) != 1:
            found.append(f"exactly one {kind} image is recommended, not {best or 'none'}")
    return found


def change_problems(base: Versions, steps: Iterable[tuple[date, Versions]]) -> list[str]:
    """Return what changes do to members who pinned a version, against the rule.

    A tag is never removed, only retired; a version retires with at least `NOTICE`, and a date that
    was announced is not brought forward. Each change is judged by its own day, since that is when
    members were told. A breach that a later change mends is none.

    Parameters
    ----------
    base
        The versions that were released.
    steps
        Each change since, oldest first: its day and what the versions were after it.
    """
    walked = list(steps)
    if not walked:
        return []
    before, final = base, walked[-1][1]
    found: dict[str, None] = {}
    for day, versions in walked:
        for tag, old in before.items():
            if final.get(tag) != base.get(tag) and _breach(old, versions.get(tag), day):
                said = _breach(old, final.get(tag), day)
                if said:
                    found[f"{tag}: {said}"] = None
        before = versions
    return list(found)


def _breach(old: ImageVersion, new: ImageVersion | None, day: date) -> str | None:
    if new is None:
        return "a tag is never removed: write lifecycle: retired"
    if old.is_retired(day):
        if new.is_retired(day):
            return None
        return "a retired version does not come back: release a new one"
    if new.is_retired(day):
        return "retire it first with lifecycle: retiring and a date"
    if new.until is not None:
        earliest = old.until or day + NOTICE
        if new.until < earliest:
            return f"until: is {earliest} at the earliest"
    return None


def differences(versions: Versions, catalogue: Catalogue) -> list[str]:
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
