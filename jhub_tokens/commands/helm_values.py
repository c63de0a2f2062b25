"""``jhub-tokens helm-values CATALOGUE``: what a cluster's charts must know of a catalogue.

The catalogue is written once, for the service. The charts pull its images before they are needed,
tolerate its nodes' taints while they do, and make the priority classes that its pools name.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from typing import Any

from ruamel.yaml import YAML

from jhub_tokens.catalogue import Catalogue, CatalogueError, Toleration, load_catalogue
from jhub_tokens.commands import CommandError

__all__ = ["add_arguments", "chart_values", "run"]

#: Pods of pools that the provider may take away go first when a node runs short.
_PRIORITY = 10
_PRIORITY_SPOT = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens helm-values``."""
    parser.add_argument("catalogue", metavar="FILE", help="catalogue file (YAML)")


def run(args: argparse.Namespace) -> int:
    """Write the values to the standard output."""
    try:
        catalogue = load_catalogue(args.catalogue)
    except CatalogueError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{args.catalogue}: {error.strerror}") from None
    missing = [image.tag for image in catalogue.images.values() if not image.reference]
    if missing:
        print(
            f"jhub-tokens: {', '.join(missing)}: no `reference`, so nothing is pulled beforehand "
            "and servers start the hub's own image",
            file=sys.stderr,
        )
    out = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(chart_values(catalogue), out)
    print("# Written by `jhub-tokens helm-values`; write it anew when the catalogue changes.")
    print(out.getvalue(), end="")
    return 0


def chart_values(catalogue: Catalogue) -> dict[str, Any]:
    """Return the values for the charts ``jhub-tokens`` and ``jupyterhub``."""
    classes: dict[str, int] = {}
    for pool in catalogue.pools.values():
        if pool.priority_class:
            # A class that pools of both kinds name is for the better one.
            value = _PRIORITY_SPOT if pool.spot else _PRIORITY
            classes[pool.priority_class] = max(value, classes.get(pool.priority_class, 0))
    tolerations: list[dict[str, Any]] = []
    for pool in catalogue.pools.values():
        for toleration in map(_toleration, pool.tolerations):
            if toleration not in tolerations:
                tolerations.append(toleration)
    images = {
        _key(image.tag): _image(image.reference)
        for image in catalogue.images.values()
        if image.reference and image.lifecycle != "retired"
    }
    return {
        "jhub-tokens": {
            "priorityClasses": [{"name": name, "value": value} for name, value in classes.items()]
        },
        "jupyterhub": {"prePuller": {"extraImages": images, "extraTolerations": tolerations}},
    }


def _toleration(toleration: Toleration) -> dict[str, Any]:
    values = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value or None,
        "effect": toleration.effect,
    }
    return {name: value for name, value in values.items() if value is not None}


def _key(tag: str) -> str:
    """Return a name for a container: the chart calls the puller's so."""
    return re.sub(r"[^a-z0-9]+", "-", tag.lower()).strip("-")[:50].strip("-")


def _image(reference: str) -> dict[str, str]:
    """Return name and tag as the chart writes them with a colon between, digests included."""
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        return {"name": reference, "tag": "latest"}
    return {"name": name, "tag": tag}
