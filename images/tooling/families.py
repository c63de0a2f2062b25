"""What is built: images, environments and bases, read from ``images/families.yaml``."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

__all__ = ["FAMILIES", "IMAGES", "Base", "Environment", "Families", "Image", "load_families"]

IMAGES = Path(__file__).parents[1]
FAMILIES = IMAGES / "families.yaml"


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Environment(_Value):
    """A Python environment with a lock of its own."""

    pythons: list[str]
    platform: str


class Base(_Value):
    """A base image; `digest` is required to build, `size_mb` is what a node pulls.

    Where there is no digest, nobody has looked at the base yet: its size is an estimate.
    """

    reference: str
    size_mb: float
    digest: str | None = None
    end_of_life: date | None = None

    @property
    def pinned(self) -> str | None:
        """The reference by digest, or None where no digest is known."""
        return f"{self.reference}@{self.digest}" if self.digest else None


class Image(_Value):
    """One image: an environment on a base, with Debian packages of its own."""

    environment: str
    base: str
    title: str
    packages: str = ""


class Families(_Value):
    """Everything in the file."""

    as_of: datetime
    budget_gb: float
    interpreters: dict[str, str]
    environments: dict[str, Environment]
    bases: dict[str, Base]
    images: dict[str, Image]

    def interpreter(self, environment: str) -> str:
        """Return the exact version of the Python that images carry for an environment."""
        return self.interpreters[self.environments[environment].pythons[0]]

    def base(self, image: str) -> Base:
        """Return the base of an image."""
        return self.bases[self.images[image].base]


def load_families(file: Path = FAMILIES) -> Families:
    """Read ``images/families.yaml``."""
    text = file.read_text(encoding="utf-8")
    return Families.model_validate(YAML(typ="safe", pure=True).load(text))
