"""What is wrong in a catalogue file: where, what, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["CatalogueError", "Problem"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake (or, as a warning, one oddity) in a catalogue file.

    Parameters
    ----------
    source
        The file's name as the person wrote it.
    line
        Line in the file, from 1; None where the file as a whole is meant.
    field
        Path of the key, such as ``plans.basic.tokens``; empty for the file as a whole.
    message
        What is wrong, without the field's name.
    remedy
        What to write instead.
    severity
        An error prevents loading; a warning does not.
    """

    source: str
    line: int | None
    field: str
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        kind = "warning: " if self.severity == "warning" else ""
        field = f"{self.field}: " if self.field else ""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{place}: {kind}{field}{self.message}{remedy}"


class CatalogueError(Exception):
    """A catalogue that cannot be used; `problems` names every mistake found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(str(self))

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))
