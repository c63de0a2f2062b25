"""What is printed and written: a table for people, JSON for comparisons, the machine's facts."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Report", "Row", "machine_facts", "render"]

_PACKAGES = ("jhub-tokens", "jupyterhub", "jupyterlab", "tornado", "SQLAlchemy", "pydantic")


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of the plain hub and of ours."""

    measure: str
    plain: str
    ours: str
    comparison: str = ""
    aim: str = ""


@dataclass(slots=True)
class Report:
    """What one benchmark found."""

    name: str
    title: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def machine_facts() -> dict[str, Any]:
    """Return what someone needs to know to compare these figures with others."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": packages,
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def render(facts: dict[str, Any], reports: list[Report]) -> str:
    """Return everything as text."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    lines = [
        f"{facts['cores']} cores ({facts['cpu']}), {facts['memory_gib']} GiB, {facts['system']}",
        f"Python {facts['python']}, {packages}; revision {facts['revision']}",
        f"load before {facts['load_before'][0]}, after {facts.get('load_after', ['?'])[0]}"
        " (1 minute; what else runs here makes all figures larger)",
    ]
    for report in reports:
        lines += ["", report.title, *_table(report.rows)]
        lines += [f"  · {note}" for note in report.notes]
    return "\n".join(lines)


def _table(rows: list[Row]) -> list[str]:
    cells = [("", "plain hub", "with jhub-tokens", "ours against plain", "aim")]
    cells += [(row.measure, row.plain, row.ours, row.comparison, row.aim) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    lines = []
    for line in cells:
        first, *others = (
            cell.ljust(width) if column in (0, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  " + "   ".join([first, *others]).rstrip())
    lines.insert(1, "  " + "─" * (sum(widths) + 3 * 4))
    return lines


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _revision() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
