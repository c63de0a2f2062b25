"""A catalogue file to a catalogue, or to the complete list of what is wrong with it."""

from __future__ import annotations

import importlib.resources
import os
import stat
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from jhub_tokens.catalogue.checks import check_consistency, check_references, find_warnings
from jhub_tokens.catalogue.models import Catalogue
from jhub_tokens.catalogue.pool_checks import check_pools
from jhub_tokens.catalogue.pool_schema import PoolEntry, TolerationEntry
from jhub_tokens.catalogue.problems import CatalogueError, Problem
from jhub_tokens.catalogue.schema import (
    AssignEntry,
    CatalogueFile,
    CostCentreEntry,
    IdleEntry,
    ImageEntry,
    PlanEntry,
    PolicyEntry,
    ProfileEntry,
    TeamEntry,
    TopUpEntry,
    TrialEntry,
)
from jhub_tokens.catalogue.tree import Path, Tree, read_tree
from jhub_tokens.catalogue.values import describe, nearest

__all__ = [
    "CheckReport",
    "check_catalogue",
    "load_catalogue",
    "parse_catalogue",
    "read_catalogue_text",
    "shipped_catalogue",
]

_SIZE_MAX_BYTES = 1_000_000
#: More would only bury the first ones, which often cause the rest.
_PROBLEMS_MAX = 100

_EXAMPLES = {
    "tokens": "tokens: 300",
    "rate": "rate: 10",
    "cpu": "cpu: 4",
    "memory": "memory: 8G",
    "profiles": "profiles: [cpu]",
    "price": "price: 10.00 EUR",
    "duration": "duration: 14d",
    "stop_after": "stop_after: 60m",
    "group": "group: biology",
    "selector": "selector: {example.org/pool: a100}",
    "default_plan": "default_plan: basic",
    "adopt_profile": "adopt_profile: cpu (for servers that run already)",
    "plan": "plan: pro",
}
_ENTRIES: dict[str, type[BaseModel]] = {
    "plans": PlanEntry,
    "profiles": ProfileEntry,
    "images": ImageEntry,
    "pools": PoolEntry,
    "assign": AssignEntry,
    "teams": TeamEntry,
    "cost_centres": CostCentreEntry,
    "top_ups": TopUpEntry,
}
#: Mappings within an entry.
_PARTS: dict[str, type[BaseModel]] = {"idle": IdleEntry, "trial": TrialEntry}


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found: the catalogue if there is one, errors and warnings."""

    catalogue: Catalogue | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load_catalogue(path: str | os.PathLike[str]) -> Catalogue:
    """Read the catalogue file at `path`.

    Raises
    ------
    CatalogueError
        If the file cannot be read or is no valid catalogue; it names every problem.
    """
    return parse_catalogue(read_catalogue_text(path), str(path))


def parse_catalogue(text: str, source: str = "catalogue") -> Catalogue:
    """Read a catalogue from YAML `text`; `source` is the name used in messages.

    Raises
    ------
    CatalogueError
        If the text is no valid catalogue; it names every problem.
    """
    report = check_catalogue(text, source)
    if report.catalogue is None:
        raise CatalogueError(report.errors)
    return report.catalogue


def check_catalogue(text: str, source: str = "catalogue") -> CheckReport:
    """Find everything wrong or odd in YAML `text`; raises nothing."""
    tree = read_tree(text, source)
    if tree.data is None:
        if not tree.problems:
            tree.report((), "the file holds nothing", "Start from the example in the docs")
        return _failed(tree)
    if not isinstance(tree.data, dict):
        tree.report(
            (),
            f"the file holds {describe(tree.data)}, not keys and values",
            "Write key: value lines",
        )
        return _failed(tree)
    check_references(tree)
    try:
        catalogue = CatalogueFile.model_validate(tree.data).to_catalogue()
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _report(detail, tree)
        return _failed(tree)
    if not tree.problems:
        check_consistency(catalogue, tree)
        check_pools(catalogue, tree)
    if tree.problems:
        return _failed(tree)
    return CheckReport(catalogue, (), tuple(_in_order(find_warnings(catalogue, tree))))


def shipped_catalogue(name: str) -> FilePath:
    """Return the path of a catalogue that comes with the package: ``default`` or ``demo``."""
    return FilePath(str(importlib.resources.files("jhub_tokens") / "catalogues" / f"{name}.yaml"))


def read_catalogue_text(path: str | os.PathLike[str]) -> str:
    """Read the text of a catalogue file.

    Raises
    ------
    CatalogueError
        If there is no such file, or it is no readable UTF-8 text of reasonable size.
    """
    source = str(path)

    def refuse(message: str, remedy: str, line: int | None = None) -> CatalogueError:
        return CatalogueError([Problem(source, line, "", message, remedy)])

    try:
        # Opened only if regular: a pipe would block for ever, and a device never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise refuse("this is not a regular file", "Give the path of a YAML file")
        with open(path, "rb") as file:
            raw = file.read(_SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        raise refuse("there is no such file", "Check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refuse(
            f"the file cannot be read: {reason}", "Check the path and its rights"
        ) from None
    if len(raw) > _SIZE_MAX_BYTES:
        raise refuse("the file is larger than 1 MB", "A catalogue has a few hundred lines")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise refuse("the file is not UTF-8 text", "Save it as UTF-8", line) from None


def _failed(tree: Tree) -> CheckReport:
    problems = _in_order(tree.problems)
    if len(problems) > _PROBLEMS_MAX:
        rest = Problem(
            tree.source,
            None,
            "",
            f"{len(problems) - _PROBLEMS_MAX} more problems",
            "Fix these first",
        )
        problems = [*problems[:_PROBLEMS_MAX], rest]
    return CheckReport(None, tuple(problems), ())


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line or 0, problem.field))


def _report(detail: ErrorDetails, tree: Tree) -> None:
    """Translate one of pydantic's findings into words for the operator."""
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx") or {}
    value = detail.get("input")
    if kind == "catalogue":
        message, remedy = str(context["message"]), str(context["remedy"])
    elif kind == "extra_forbidden":
        known = _known_keys(path)
        meant = nearest(path[-1], known)
        message = "this key is not known here"
        remedy = f"Did you mean '{meant}'?" if meant else f"The keys here are {', '.join(known)}"
    elif kind == "missing":
        key = str(path[-1])
        message = "this key is missing"
        at_top = len(path) == 1 and key in _ENTRIES
        remedy = f"Add {key}: with at least one entry" if at_top else f"Add {_EXAMPLES[key]}"
    elif kind in ("dict_type", "model_type"):
        message, remedy = f"{describe(value)} is not a mapping", "Write indented key: value lines"
    elif kind == "list_type":
        message, remedy = f"{describe(value)} is not a list", f"Write [{_as_item(value)}]"
    elif kind == "too_short":
        message, remedy = "there must be at least one entry", "Add one"
    elif kind == "too_long":
        message = f"there are {context.get('actual_length')} entries"
        remedy = f"Keep at most {context.get('max_length')}"
    else:
        message, remedy = str(detail["msg"]), ""
    tree.report(path, message, remedy)


def _known_keys(path: Path) -> list[str]:
    if len(path) == 1:
        return list(CatalogueFile.model_fields)
    if path[0] == "policy":
        return list(PolicyEntry.model_fields)
    if "tolerations" in path[:-1]:
        return list(TolerationEntry.model_fields)
    part = _PARTS.get(str(path[2])) if len(path) > 3 else None
    entry = part or _ENTRIES.get(str(path[0]))
    return list(entry.model_fields) if entry else []


def _as_item(value: Any) -> str:
    return value[:60] if isinstance(value, str) else "…"
