"""Numbers of bytes as Kubernetes writes them."""

from __future__ import annotations

import re

__all__ = ["as_bytes", "as_quantity"]

_POWERS_OF_TWO = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_POWERS_OF_TEN = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([KMGTPE]i|[kMGTPE]|m|[eE][+-]?\d+)?")


def as_quantity(size_bytes: int) -> str:
    """Return a number of bytes as Kubernetes and people write it."""
    for unit, power in (("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)):
        if size_bytes >= 1 << power and size_bytes % (1 << power) == 0:
            return f"{size_bytes >> power}{unit}"
    return str(size_bytes)


def as_bytes(quantity: str) -> float:
    """Return a quantity in bytes.

    Raises
    ------
    ValueError
        If it is none.
    """
    match = _QUANTITY.fullmatch(quantity.strip())
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity")
    number, unit = float(match[1]), match[2] or ""
    if unit in _POWERS_OF_TWO:
        return number * float(2 ** _POWERS_OF_TWO[unit])
    if unit == "m":
        return number / 1000
    if unit in _POWERS_OF_TEN:
        return number * float(10 ** _POWERS_OF_TEN[unit])
    return float(f"{match[1]}e{unit[1:]}")
