"""What is built: images, environments and bases, read from ``images/families.yaml``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

__all__ = ["IMAGES", "Base", "Environment", "Families", "Image", "load_families"]

IMAGES = Path(__file__).parents[1]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Environment(_Value):
    """A Python environment with a lock of its own."""

    pythons: list[str]
    platform: str


class Base(_Value):
    """A base image; `digest` is required to build, `size_mb` is what a node pulls."""

    reference: str
    size_mb: float
    digest: str | None = None


class Image(_Value):
    """One image: an environment on a base, with Debian packages of its own."""

    environment: str
    base: str
    title: str
    packages: str = ""


class Families(_Value):
    """Everything in the file."""

    as_of: datetime
    budget_gb: tuple[float, float]
    environments: dict[str, Environment]
    bases: dict[str, Base]
    images: dict[str, Image]


def load_families() -> Families:
    """Read ``images/families.yaml``."""
    text = (IMAGES / "families.yaml").read_text(encoding="utf-8")
    return Families.model_validate(YAML(typ="safe", pure=True).load(text))
