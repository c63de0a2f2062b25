"""Tables of the ledger's benchmarks: each part has columns of its own, the aim always last."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Part", "milliseconds", "per_second", "spread"]


@dataclass(slots=True)
class Part:
    """What one part found."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    def render(self) -> str:
        """Return it as text."""
        cells = [list(self.columns), *(list(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(self.columns))]
        lines = [self.title]
        for line in cells:
            first, *others = line
            padded = [first.ljust(widths[0])]
            padded += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            lines.append("  " + "   ".join(padded).rstrip())
        lines.insert(2, "  " + "─" * (sum(widths) + 3 * (len(widths) - 1)))
        return "\n".join([*lines, *(f"  · {note}" for note in self.notes)])


def spread(values: Sequence[float], form: str = "{:,.0f}") -> str:
    """Return the median with the smallest and the largest value."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{form.format(middle)} [{form.format(low)}, {form.format(high)}]"


def per_second(durations_s: Sequence[float], operations: int) -> str:
    """Return the rate of rounds that each took so long for so many operations."""
    return f"{spread([operations / duration_s for duration_s in durations_s])}/s"


def milliseconds(durations_s: Sequence[float]) -> str:
    """Return the median duration with its spread."""
    return spread([duration_s * 1000 for duration_s in durations_s], "{:.2f}") + " ms"
