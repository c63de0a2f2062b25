"""``python -m images``: lock, pin, check, list, build, describe and scan images."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

from images.tooling.bills import bill
from images.tooling.building import BuildError, build_command, place_wheel
from images.tooling.contents import read_contents
from images.tooling.families import Families, load_families
from images.tooling.history import HistoryError, changes
from images.tooling.locks import is_stale, lock, read_lock
from images.tooling.scanning import scan
from images.tooling.sizes import over_budget, size
from images.tooling.updating import pin, raise_as_of
from images.tooling.versions import (
    change_problems,
    differences,
    image_of,
    load_versions,
    problems,
)
from jhub_tokens.catalogue import load_catalogue, shipped_catalogue

__all__ = ["main", "parse"]

Command = Callable[[argparse.Namespace, Families], int]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 1 if something is wrong."""
    args = parse(arguments)
    run: Command = args.run
    try:
        return run(args, load_families())
    except (BuildError, HistoryError, ValueError, OSError) as error:
        print(f"images: {error}", file=sys.stderr)
        return 1


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse a command line; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(run: Command, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__.strip("_"), help=help)
        added.set_defaults(run=run)
        return added

    locking = command(_lock, "resolve locks anew")
    locking.add_argument("names", nargs="*", help="environments (all)")
    locking.add_argument(
        "--as-of", metavar="YYYY-MM-DD", type=date.fromisoformat,
        help="first let locks see what was published before this day",
    )  # fmt: skip
    pinning = command(_pin, "look up digests and sizes of the bases with skopeo")
    pinning.add_argument("names", nargs="*", help="bases (all)")
    checking = command(_check, "check locks, sizes, versions and what changed in them")
    checking.add_argument("catalogues", nargs="*", type=Path, help="service catalogues to compare")
    checking.add_argument(
        "--against", metavar="REVISION",
        help="the release to judge changes by (the last tag; without one, before the last change)",
    )  # fmt: skip
    command(_list, "print the versions that are built, as JSON")
    building = command(_build, "build a version with buildah; after --: more options for it")
    building.add_argument("tag", help="a version of images/catalogue.yaml")
    building.add_argument("--name", help="what it is called (localhost/jhub-tokens:TAG)")
    building.add_argument("--base", help="another base, by digest")
    describing = command(_sbom, "print a bill of materials (CycloneDX)")
    describing.add_argument("tag", help="a version of images/catalogue.yaml")
    describing.add_argument("--built", metavar="NAME", help="the built image: its Debian packages")
    scanning = command(_scan, "scan a bill of materials with Trivy")
    scanning.add_argument("bill", type=Path)
    scanning.add_argument(
        "--accept-end-of-life", action="store_true",
        help="bear a base that gets no security fixes any more",
    )  # fmt: skip
    words = list(sys.argv[1:] if arguments is None else arguments)
    at = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:at])
    args.options = words[at + 1 :]
    if args.options and args.command != "build":
        parser.error("only build takes options after --")
    return args


def _lock(args: argparse.Namespace, families: Families) -> int:
    if args.as_of:
        raise_as_of(args.as_of)
        families = load_families()
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    for name in args.names or families.environments:
        if name not in families.environments:
            raise BuildError(f"there is no environment {name}")
        try:
            lock(name, families, uv)
        except subprocess.CalledProcessError as error:
            raise BuildError(f"{name}: {error.stderr.strip()[-2000:]}") from None
    return 0


def _pin(args: argparse.Namespace, _families: Families) -> int:
    for line in pin(args.names) or ["nothing changed"]:
        print(line)
    return 0


def _check(args: argparse.Namespace, families: Families) -> int:
    today = datetime.now(UTC).date()
    found = _check_locks_and_sizes(families)
    versions = load_versions()
    found += problems(versions, families, today)
    found += _check_changes(today, args.against)
    for path in args.catalogues or [shipped_catalogue("default"), shipped_catalogue("demo")]:
        found += [f"{path.name}: {each}" for each in differences(versions, load_catalogue(path))]
    for name, base in families.bases.items():
        if base.end_of_life is not None and base.end_of_life <= today:
            print(f"note: base {name} gets no security fixes since {base.end_of_life}")
    for each in found:
        print(each, file=sys.stderr)
    return 1 if found else 0


def _check_locks_and_sizes(families: Families) -> list[str]:
    found = [
        f"locks/{name}.txt is stale: run make images-lock"
        for name in families.environments
        if is_stale(name, families)
    ]
    if found:
        return found
    for name in families.environments:
        read_lock(name)
    for image in families.images:
        computed = size(image, families)
        print(f"{image}: {computed.total_mb / 1000:.2f} GB to pull ({computed.estimates})")
        found += filter(None, [over_budget(image, families)])
    return found


def _check_changes(today: date, against: str | None) -> list[str]:
    changed = changes(today, against)
    if changed is None:
        print("images/catalogue.yaml: no git history here, changes were not judged")
        return []
    print(f"images/catalogue.yaml: changes since {changed.against}: {len(changed.steps)}")
    return change_problems(changed.base, changed.steps)


def _list(_args: argparse.Namespace, families: Families) -> int:
    today = datetime.now(UTC).date()
    print(json.dumps([tag for tag, each in load_versions().items() if not each.is_retired(today)]))
    return 0


def _build(args: argparse.Namespace, families: Families) -> int:
    command = build_command(
        args.tag, families, load_versions(), name=args.name, base=args.base, options=args.options
    )
    if shutil.which(command[0]) is None:
        raise BuildError(f"there is no {command[0]} on the path")
    place_wheel()
    return subprocess.run(command).returncode


def _sbom(args: argparse.Namespace, families: Families) -> int:
    image = image_of(args.tag)
    if args.tag not in load_versions() or image not in families.images:
        raise BuildError(f"there is no version {args.tag} to describe")
    print(bill(args.tag, image, families, read_contents(args.built) if args.built else None))
    return 0


def _scan(args: argparse.Namespace, _families: Families) -> int:
    count = scan(args.bill, accept_end_of_life=args.accept_end_of_life)
    print(f"{args.bill}: {count} parts were scanned, none has a fix that is missing")
    return 0
