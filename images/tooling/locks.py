"""Locks: pins, hashes and sizes of the wheels that one environment needs, and no more.

uv resolves; what is kept is a requirements file that pip and uv install with ``--require-hashes``.
Only the wheels that fit the platform are named, each with its size, so that the size of an image
can be computed without a download. No line names where a wheel comes from.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from images.tooling.families import IMAGES, Environment, Families

__all__ = ["Pin", "image_pins", "is_stale", "lock", "lock_path", "read_lock"]

_LINE = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; (?P<marker>.+?))?"
    r"(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)  # (?P<size>\d+) bytes"
)


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a lock; `size_bytes` is that of its largest wheel."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    size_bytes: int


def lock_path(name: str) -> Path:
    """Return the path of an environment's lock."""
    return IMAGES / "locks" / f"{name}.txt"


def _fingerprint(name: str, families: Families) -> str:
    environment = families.environments[name]
    wanted = (IMAGES / "requirements" / f"{name}.in").read_text(encoding="utf-8")
    parts = (wanted, families.as_of.isoformat(), environment.model_dump_json())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_stale(name: str, families: Families) -> bool:
    """Tell whether the lock was made from other requirements than there are now."""
    path = lock_path(name)
    head = path.read_text(encoding="utf-8").splitlines()[:2] if path.exists() else []
    return f"# inputs sha256:{_fingerprint(name, families)}" not in head


def read_lock(name: str) -> list[Pin]:
    """Read a lock.

    Raises
    ------
    ValueError
        If a line is not a pin with hashes and a size.
    """
    pins = []
    for number, line in enumerate(lock_path(name).read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{name}.txt:{number}: not a pin with hashes: run make images-lock")
        pins.append(
            Pin(
                match["name"],
                match["version"],
                match["marker"] or "",
                tuple(match["hashes"].replace(" --hash=", " ").split()),
                int(match["size"]),
            )
        )
    return pins


def image_pins(name: str, python: str) -> list[Pin]:
    """Return the pins that an image with this Python carries; `python` is a series such as 3.8."""
    return [pin for pin in read_lock(name) if not pin.marker or f"'{python}'" in pin.marker]


def lock(name: str, families: Families, uv: str) -> None:
    """Resolve an environment anew and write its lock.

    Raises
    ------
    subprocess.CalledProcessError
        If uv finds no versions that fit together; its reasons stand in ``stderr``.
    ValueError
        If a version has no wheel for one of the Python versions.
    """
    environment = families.environments[name]
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for python in environment.pythons:
        for package in _resolve(name, environment, families, python, uv):
            key = (package["name"], package["version"])
            found.setdefault(key, {})[python] = _wheel(package, python, environment.platform)
    lines = [
        "# Made by: make images-lock",
        f"# inputs sha256:{_fingerprint(name, families)}",
        *(_line(*key, found[key], environment.pythons) for key in sorted(found)),
    ]
    lock_path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _resolve(
    name: str, environment: Environment, families: Families, python: str, uv: str
) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "pylock.toml")
        command = [uv, "pip", "compile", "--quiet", "--no-config", "--only-binary", ":all:"]
        command += ["--python-version", python, "--python-platform", environment.platform]
        command += ["--exclude-newer", families.as_of.isoformat()]
        command += ["--format", "pylock.toml", "--output-file", str(output)]
        command += [str(IMAGES / "requirements" / f"{name}.in")]
        subprocess.run(command, check=True, capture_output=True, text=True)
        packages: list[dict[str, Any]] = tomllib.loads(output.read_text())["packages"]
    return packages


def _line(name: str, version: str, wheels: dict[str, dict[str, Any]], pythons: list[str]) -> str:
    hashes = dict.fromkeys(f"sha256:{wheel['hashes']['sha256']}" for wheel in wheels.values())
    size = max(int(wheel["size"]) for wheel in wheels.values())
    only = [f"python_version == '{python}'" for python in pythons if python in wheels]
    marker = f" ; {' or '.join(only)}" if len(only) < len(pythons) else ""
    return f"{name}=={version}{marker} {' '.join('--hash=' + h for h in hashes)}  # {size} bytes"


def _wheel(package: dict[str, Any], python: str, platform: str) -> dict[str, Any]:
    """Return the wheel that an installer would take, the most specific tag first."""
    order = {tag: rank for rank, tag in enumerate(_tags(python, platform))}
    best: tuple[int, dict[str, Any]] | None = None
    for wheel in package.get("wheels", ()):
        file = str(wheel.get("name") or wheel["url"].rsplit("/", 1)[-1]).replace("%2B", "+")
        ranks = [order[tag] for tag in parse_wheel_filename(file)[3] if tag in order]
        if ranks and (best is None or min(ranks) < best[0]):
            best = (min(ranks), wheel)
    if best is None:
        raise ValueError(f"{package['name']} {package['version']} has no wheel for {python}")
    return best[1]


def _tags(python: str, platform: str) -> Iterator[Tag]:
    major, minor = (int(part) for part in python.split("."))
    machine, _, newest = platform.partition("-manylinux_2_")
    legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    platforms = []
    for glibc in range(int(newest), 4, -1):
        platforms.append(f"manylinux_2_{glibc}_{machine}")
        if glibc in legacy:
            platforms.append(f"{legacy[glibc]}_{machine}")
    platforms.append(f"linux_{machine}")
    yield from cpython_tags((major, minor), platforms=platforms)
    yield from compatible_tags((major, minor), f"cp{major}{minor}", platforms)
