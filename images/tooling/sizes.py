"""What a node pulls for an image, computed before the image is built.

Exact are the wheels, from the locks, and a base whose digest is known. The rest is estimated from
one image that was built and compressed; `Size.estimates` says how much that is.
"""

from __future__ import annotations

from dataclasses import dataclass

from images.tooling.families import Families
from images.tooling.locks import image_pins

__all__ = ["Size", "over_budget", "size"]

#: Debian packages of the final stage (git, OpenSSH, Perl for git, tmux, screen, rsync), compressed.
_DEBIAN_MB = 45.0
#: One interpreter, compressed.
_INTERPRETER_MB = 30.0
#: Compressed bytecode of the wheels, as a part of the wheels.
_BYTECODE = 0.1


@dataclass(frozen=True, slots=True)
class Size:
    """The parts of an image in MB, compressed, and whether the base's was looked up."""

    base_mb: float
    base_measured: bool
    wheels_mb: float
    rest_mb: float

    @property
    def total_mb(self) -> float:
        """All parts together."""
        return self.base_mb + self.wheels_mb + self.rest_mb

    @property
    def estimates(self) -> str:
        """Which parts are estimates, in words."""
        parts = [f"interpreters, bytecode and Debian packages {self.rest_mb:.0f} MB"]
        if not self.base_measured:
            parts.insert(0, f"base {self.base_mb:.0f} MB")
        return "estimated: " + ", ".join(parts)


def size(image: str, families: Families) -> Size:
    """Return what a node pulls for the image."""
    base = families.base(image)
    environments = (families.images[image].environment, "server")
    wheels_mb = (
        sum(
            pin.size_bytes
            for name in environments
            for pin in image_pins(name, families.environments[name].pythons[0])
        )
        / 1e6
    )
    rest_mb = wheels_mb * _BYTECODE + 2 * _INTERPRETER_MB + _DEBIAN_MB
    return Size(base.size_mb, base.digest is not None, wheels_mb, rest_mb)


def over_budget(image: str, families: Families) -> str | None:
    """Return what is wrong with the image's size, or None.

    The budget is for the images with CUDA in their base. The LLM family carries a framework of
    several GB in its own wheels and is told, not judged.
    """
    total_gb = size(image, families).total_mb / 1000
    if families.images[image].base != "cuda11.2" or total_gb <= families.budget_gb:
        return None
    return (
        f"{image}: {total_gb:.2f} GB is over the budget of {families.budget_gb:g} GB: "
        "leave something out"
    )
