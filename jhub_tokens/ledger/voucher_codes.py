"""Voucher codes: 19 random symbols (95 bits) and one that tells a typing mistake from a guess.

The symbols are Crockford's base 32, which leaves out what people confuse.
"""

from __future__ import annotations

import hashlib
import secrets

__all__ = ["code_hash", "new_code", "read_code"]

_SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {symbol: value for value, symbol in enumerate(_SYMBOLS)}
_VALUES |= {"O": 0, "I": 1, "L": 1}
_LENGTH = 20


def new_code() -> str:
    """Return a new code, in five groups of four."""
    values = [secrets.randbelow(32) for _ in range(_LENGTH - 1)]
    values.append(-_luhn([*values, 0]) % 32)
    text = "".join(_SYMBOLS[value] for value in values)
    return "-".join(text[first : first + 4] for first in range(0, _LENGTH, 4))


def read_code(text: str) -> str | None:
    """Return a code as it is hashed, whatever its case and separators; None if mistyped."""
    plain = "".join(text.split()).replace("-", "").upper()
    if len(plain) != _LENGTH or not all(symbol in _VALUES for symbol in plain):
        return None
    values = [_VALUES[symbol] for symbol in plain]
    if _luhn(values) % 32:
        return None
    return "".join(_SYMBOLS[value] for value in values)


def code_hash(code: str) -> str:
    """Return what is stored of a code that `read_code` has read."""
    # Unsalted, so that it can be looked up; 95 random bits leave nothing to guess from it.
    return hashlib.sha256(code.encode()).hexdigest()


def _luhn(values: list[int]) -> int:
    """Return Luhn's sum in base 32: no single wrong symbol leaves it a multiple of 32."""
    total = 0
    for position, value in enumerate(reversed(values)):
        high, low = divmod(value * 2, 32) if position % 2 else (0, value)
        total += high + low
    return total
