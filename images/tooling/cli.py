"""``python -m images``: lock, check, size, sbom, build and scan."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from images.tooling.building import BuildError, build_command, place_wheel, scan
from images.tooling.families import Families, load_families
from images.tooling.locks import is_stale, lock, read_lock
from images.tooling.report import over_budget, sbom, size_mb
from images.tooling.versions import differences, load_versions, problems
from jhub_tokens.catalogue import load_catalogue, shipped_catalogue

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lock", help="resolve locks anew").add_argument("names", nargs="*")
    commands.add_parser("check", help="check locks, sizes and versions").add_argument(
        "catalogues", nargs="*", type=Path, help="service catalogues to compare"
    )
    commands.add_parser("sbom", help="print a bill of materials").add_argument("image")
    building = commands.add_parser("build", help="build an image with buildah")
    building.add_argument("image")
    building.add_argument("--tag", required=True)
    building.add_argument("--base", help="another base, by digest")
    commands.add_parser("scan", help="scan a bill of materials").add_argument("bill", type=Path)
    args = parser.parse_args(arguments)
    families = load_families()
    try:
        if args.command == "lock":
            return _lock(families, args.names or list(families.environments))
        if args.command == "check":
            return _check(families, args.catalogues)
        if args.command == "sbom":
            if args.image not in families.images:
                raise BuildError(f"there is no image {args.image}")
            print(json.dumps(sbom(args.image, families), indent=1))
            return 0
        if args.command == "scan":
            scan(args.bill)
            return 0
        command = build_command(args.image, families, args.tag, args.base)
        place_wheel()
        return subprocess.run(command).returncode
    except (BuildError, ValueError, OSError) as error:
        print(f"images: {error}", file=sys.stderr)
        return 1


def _lock(families: Families, names: list[str]) -> int:
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    for name in names:
        if name not in families.environments:
            raise BuildError(f"there is no environment {name}")
        try:
            lock(name, families, uv)
        except subprocess.CalledProcessError as error:
            raise BuildError(f"{name}: {error.stderr.strip()[-2000:]}") from None
    return 0


def _check(families: Families, catalogues: list[Path]) -> int:
    found = [
        f"locks/{name}.txt is stale: run make images-lock"
        for name in families.environments
        if is_stale(name, families)
    ]
    if not found:
        for name in families.environments:
            read_lock(name)
        for image in families.images:
            print(f"{image}: {size_mb(image, families) / 1000:.2f} GB to pull")
            found += filter(None, [over_budget(image, families)])
    versions = load_versions()
    found += problems(versions, families, datetime.now(UTC).date())
    for path in catalogues or [shipped_catalogue("default"), shipped_catalogue("demo")]:
        found += [f"{path.name}: {each}" for each in differences(versions, load_catalogue(path))]
    for each in found:
        print(each, file=sys.stderr)
    return 1 if found else 0
