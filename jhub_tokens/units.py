"""Exact amounts: tokens for people, grains for the books.

The *grain* is the smallest amount there is: one token is 3,600,000,000 grains, so that a rate
of ``r`` millitokens per hour costs exactly ``r`` grains per millisecond and metering never
rounds. Every amount in the books is an ``int`` of grains; every rate is an ``int`` of
millitokens per hour (which is the same number as grains per millisecond).
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal

from jhub_tokens.i18n import N_

__all__ = [
    "GRAINS_MAX",
    "GRAINS_PER_MILLITOKEN",
    "GRAINS_PER_TOKEN",
    "MILLISECONDS_PER_HOUR",
    "AmountError",
    "AmountTooLarge",
    "cost_grains",
    "format_tokens",
    "grains_to_tokens",
    "parse_tokens_mtok",
    "rounded_differences",
]

MILLISECONDS_PER_HOUR = 3_600_000
GRAINS_PER_TOKEN = 3_600_000_000
GRAINS_PER_MILLITOKEN = GRAINS_PER_TOKEN // 1000
#: A wallet holds at most this much: SQL's int64 ends at about 2.56 × 10⁹ tokens.
GRAINS_MAX = 2_500_000_000 * GRAINS_PER_TOKEN

_TOKENS = re.compile(r"(?P<sign>[+-]?)(?P<whole>\d{1,10})(?:\.(?P<fraction>\d{1,3}))?")


class AmountError(ValueError):
    """An amount that cannot be read or that the books cannot hold; in English as a string.

    Parameters
    ----------
    message
        What is wrong, marked for translation, with the place ``text``.
    text
        What was written.
    """

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message % {"text": text})
        self.message = message
        self.text = text


class AmountTooLarge(AmountError):
    """An amount that no wallet can hold."""


def parse_tokens_mtok(text: str | int | float | Decimal) -> int:
    """Read an amount of tokens as people write it (``"12"``, ``"0.5"``) into millitokens.

    Raises
    ------
    AmountError
        If the text is no decimal number with at most three places, or exceeds what a wallet
        can hold.
    """
    if isinstance(text, bool):
        raise AmountError(
            N_("%(text)s is not an amount of tokens: write a number such as 12 or 0.5"), repr(text)
        )
    # repr of a float is the shortest text that reads back the same: what the person wrote.
    match = _TOKENS.fullmatch(str(text).strip())
    if match is None:
        raise AmountError(
            N_(
                "%(text)s is not an amount of tokens: write a number with at most three decimal "
                "places and no commas, such as 1200 or 0.5"
            ),
            repr(text),
        )
    mtok = int(match["whole"]) * 1000 + int((match["fraction"] or "").ljust(3, "0"))
    if mtok * GRAINS_PER_MILLITOKEN > GRAINS_MAX:
        raise AmountTooLarge(
            N_("%(text)s tokens is more than a wallet can hold (2,500,000,000)"), str(text)
        )
    return -mtok if match["sign"] == "-" else mtok


def cost_grains(rate_mtok_h: int, duration_ms: int) -> int:
    """Return what `duration_ms` at `rate_mtok_h` costs, in grains; exact."""
    return rate_mtok_h * duration_ms


def grains_to_tokens(grains: int, places: int = 3) -> Decimal:
    """Return `grains` in tokens, rounded half to even at `places` decimal places."""
    exact = Decimal(grains) / Decimal(GRAINS_PER_TOKEN)
    return exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)


def format_tokens(grains: int, places: int = 2) -> str:
    """Return `grains` as tokens for people: grouped, at most `places` decimals, no zeros' tail."""
    text = f"{grains_to_tokens(grains, places):,f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def rounded_differences(amounts: list[int], places: int = 2) -> list[Decimal]:
    """Round a list of grains to tokens so that the rounded lines add up to the rounded total.

    Each line is the difference of rounded cumulatives; what a person adds up agrees with the
    total that a page shows.
    """
    lines: list[Decimal] = []
    total = 0
    shown = grains_to_tokens(0, places)
    for amount in amounts:
        total += amount
        rounded = grains_to_tokens(total, places)
        lines.append(rounded - shown)
        shown = rounded
    return lines
