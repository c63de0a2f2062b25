"""What an audit finds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not agree; `where` names the row."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"
