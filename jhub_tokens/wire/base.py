"""What all bodies share: strictness, amounts and who somebody is."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from jhub_tokens.facts import Facts
from jhub_tokens.units import format_tokens, grains_to_tokens

__all__ = [
    "AgeMs",
    "Amount",
    "DAY_PATTERN",
    "Day",
    "INT64_MAX",
    "Identity",
    "KEY_PATTERN",
    "Key",
    "MONTH_PATTERN",
    "Month",
    "Name",
    "PERIOD_PATTERN",
    "Period",
    "Wire",
]

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
#: Named, since whoever writes something else is told in words what they ask for.
KEY_PATTERN = r"^[\x21-\x7e]+$"
DAY_PATTERN = r"^\d{4}-\d{2}-\d{2}$"
MONTH_PATTERN = r"^\d{4}-(0[1-9]|1[0-2])$"
PERIOD_PATTERN = r"^(current|\d{4}-\d{2}-\d{2})$"
Key = Annotated[str, StringConstraints(min_length=8, max_length=200, pattern=KEY_PATTERN)]
Day = Annotated[str, StringConstraints(pattern=DAY_PATTERN)]
Month = Annotated[str, StringConstraints(pattern=MONTH_PATTERN)]
#: The day on which a period began, or the current one.
Period = Annotated[str, StringConstraints(pattern=PERIOD_PATTERN)]
INT64_MAX = 2**63 - 1  # what both databases hold
AgeMs = Annotated[int, Field(ge=0, le=10 * 366 * 86_400_000)]


class Wire(BaseModel):
    """Base of all bodies: unknown fields are refused, values are not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Amount(Wire):
    """An exact amount with its rounding for people."""

    grains: Annotated[str, StringConstraints(pattern=r"^-?\d{1,20}$")]
    tokens: str

    @classmethod
    def of(cls, grains: int) -> Amount:
        """Return the amount of `grains`."""
        return cls(grains=str(grains), tokens=f"{grains_to_tokens(grains):f}")

    @property
    def exact_grains(self) -> int:
        """The amount as an integer of grains."""
        return int(self.grains)

    def __str__(self) -> str:
        return format_tokens(self.exact_grains)


class Identity(Wire):
    """A hub user: stable across renames, distinct after delete-and-recreate."""

    hub_user_id: Annotated[int, Field(ge=0, le=INT64_MAX)]
    created: Name  # ISO 8601 as the hub's own API writes it; SQLite reuses ids, hence both
    name: Name
    groups: list[str] = []
    admin: bool = False
    #: What the sign-in provider said since it was last told; missing: nothing new.
    facts: Facts | None = None
