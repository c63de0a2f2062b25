"""Single values of a catalogue file: durations, amounts, rates, memory, names.

Each reader takes what YAML produced and returns the exact value, or raises a `ValueProblem`
that says what is wrong and what to write instead.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import date, datetime
from functools import cache
from typing import Any, TypeVar
from zoneinfo import available_timezones

from babel.numbers import get_currency_precision, is_currency
from pydantic_core import PydanticCustomError

from jhub_tokens.catalogue.models import Price
from jhub_tokens.i18n import LANGUAGES
from jhub_tokens.units import AmountError, parse_tokens_mtok

__all__ = [
    "RATE_MAX_MTOK_H",
    "ValueProblem",
    "describe",
    "nearest",
    "read_bool",
    "read_choice",
    "read_date",
    "read_duration_ms",
    "read_environment_name",
    "read_memory_bytes",
    "read_name",
    "read_number",
    "read_price",
    "read_rate_mtok_h",
    "read_spoken",
    "read_text",
    "read_tokens_mtok",
    "read_whole",
    "read_zone",
]

#: One million tokens per hour, in millitokens: beyond it a wallet's int64 could not last a plan.
RATE_MAX_MTOK_H = 1_000_000_000
_DAY_MS = 86_400_000
_MEMORY_MAX_BYTES = 1 << 50
_TEXT_MAX = 2000
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+-]{0,61}[A-Za-z0-9])?")
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
_PRICE = re.compile(r"(\d{1,9})(?:\.(\d{1,3}))? ([A-Z]{3})")
_WORDY_DURATION = re.compile(
    r"(\d{1,9})\s*(d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)\.?", re.IGNORECASE
)
_MEMORY = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)\s*([KMGT])(i?B?)", re.IGNORECASE)
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
# The hub's own C0 controls and DEL would end up in pages and log lines; newline and tab may stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ufeff]")

_Choice = TypeVar("_Choice", bound=str)


class ValueProblem(PydanticCustomError):
    """A value that cannot be read: `message` says why, `remedy` what to write instead."""

    def __new__(cls, message: str, remedy: str) -> ValueProblem:
        """Make the error that pydantic collects; the texts travel in its context."""
        # Braces in what the person wrote must not be taken for placeholders of the template.
        return super().__new__(
            cls, "catalogue", "{message}", {"message": message, "remedy": remedy}
        )

    def __init__(self, message: str, remedy: str) -> None:
        self.remedy = remedy


def describe(value: Any) -> str:
    """Say what a YAML value is, shortly, for use in a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value) if isinstance(value, (int, float, date)) else f"'{value}'"
    return text if len(text) <= 60 else f"{text[:50]}…{text[-1]}"


def nearest(word: object, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was probably meant to be."""
    known = list(known)
    text = str(word)
    folded = {name.casefold(): name for name in known}
    if text.casefold() in folded:
        return folded[text.casefold()]
    close = difflib.get_close_matches(text.casefold()[:100], folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def read_text(value: Any) -> str:
    """Read a text for people."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueProblem(
            f"{describe(value)} is not text",
            f'Put it in quotes: "{value}"'
            if isinstance(value, (int, float, date))
            else "Write a text",
        )
    if len(value) > _TEXT_MAX:
        raise ValueProblem(f"the text has {len(value)} characters", f"Use at most {_TEXT_MAX}")
    if _CONTROL.search(value):
        raise ValueProblem("the text contains control characters", "Remove them")
    return value.strip()


def read_spoken(value: Any) -> dict[str, str]:
    """Read a text for people, or one for each language: ``{en: Welcome, zh: 欢迎}``."""
    if not isinstance(value, dict):
        text = read_text(value)
        return {"": text} if text else {}
    for code in value:
        if code not in LANGUAGES:
            raise ValueProblem(
                f"{describe(code)} is no language of the pages",
                f"Write one of {', '.join(LANGUAGES)}",
            )
    return {code: text for code, written in value.items() if (text := read_text(written))}


def read_name(value: Any) -> str:
    """Read the name of a plan, profile or image: it travels in forms, URLs and labels."""
    if not isinstance(value, str):
        raise ValueProblem(
            f"the name {describe(value)} is not text", f'Put it in quotes: "{value}"'
        )
    if not _NAME.fullmatch(value):
        raise ValueProblem(
            f"{describe(value)} cannot be a name",
            "Use 1 to 63 letters, digits, '.', '_', '+' or '-', a letter or digit at both ends "
            "(the title may be any text)",
        )
    return value


def read_choice(value: Any, choices: tuple[_Choice, ...]) -> _Choice:
    """Read one of a few words."""
    for choice in choices:
        if value == choice:
            return choice
    listed = ", ".join(choices[:-1]) + f" or {choices[-1]}"
    meant = nearest(value, choices)
    remedy = f"Did you mean '{meant}'? It is one of {listed}" if meant else f"Write {listed}"
    raise ValueProblem(f"{describe(value)} is not known here", remedy)


def read_bool(value: Any) -> bool:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    raise ValueProblem(f"{describe(value)} is neither true nor false", "Write true or false")


def read_number(value: Any, low: float, high: float, what: str) -> float:
    """Read a number between `low` and `high`; `what` names its unit."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueProblem(f"{describe(value)} is not a number", f"Write a number of {what}")
    if not low <= value <= high:  # also false for NaN
        raise ValueProblem(
            f"{describe(value)} is out of range", f"Write {low:,g} to {high:,g} {what}"
        )
    return float(value)


def read_whole(value: Any, low: int, high: int, what: str) -> int:
    """Read a whole number between `low` and `high`; `what` names its unit."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueProblem(
            f"{describe(value)} is not a whole number", f"Write a whole number of {what}"
        )
    if not low <= value <= high:
        raise ValueProblem(
            f"{describe(value)} is out of range", f"Write {low:,} to {high:,} {what}"
        )
    return value


def read_tokens_mtok(value: Any) -> int:
    """Read an amount of tokens into millitokens; never negative."""
    # "1,5" would be read as fifteen where commas group thousands: plain numbers only.
    readable = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not readable and not (isinstance(value, str) and re.fullmatch(r"[\d.]{1,20}", value)):
        raise ValueProblem(
            f"{describe(value)} is not an amount of tokens",
            "Write a plain number with at most three decimal places, such as 300 or 0.5",
        )
    if isinstance(value, int) and abs(value) >= 10**10:
        raise ValueProblem(
            f"{describe(value)} tokens is more than a wallet can hold", "Write at most 2500000000"
        )
    try:
        mtok = parse_tokens_mtok(value)
    except AmountError as error:
        raise ValueProblem(
            str(error).partition(":")[0],
            "Write a plain number with at most three decimal places, from 0 to 2500000000",
        ) from None
    if mtok < 0:
        raise ValueProblem(f"{describe(value)} is negative", "Write 0 or more tokens")
    return mtok


def read_rate_mtok_h(value: Any) -> int:
    """Read a rate in tokens per hour into millitokens per hour; 0 is free."""
    remedy = "Write tokens per hour from 0 (free) to 1000000, at most three decimal places"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > RATE_MAX_MTOK_H:
        raise ValueProblem(f"a rate of {describe(value)} is out of range", remedy)
    try:
        rate_mtok_h = read_tokens_mtok(value)
    except ValueProblem as problem:
        message = problem.message().replace("an amount of tokens", "a rate in tokens per hour")
        raise ValueProblem(message, remedy) from None
    if rate_mtok_h > RATE_MAX_MTOK_H:
        raise ValueProblem(f"a rate of {describe(value)} is out of range", remedy)
    return rate_mtok_h


def read_duration_ms(value: Any, longest: str = "7d") -> int:
    """Read a duration such as ``30s``, ``5m``, ``1h30m`` or ``2d`` into milliseconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueProblem(f"{value} has no unit", f"Write {value}s, {value}m or {value}h")
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        wordy = _WORDY_DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        example = f"{wordy[1]}{wordy[2][0].lower()}" if wordy else "30s, 5m or 1h30m"
        raise ValueProblem(f"{describe(value)} is not a duration", f"Write {example}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    duration_ms = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000
    if duration_ms > int(longest.removesuffix("d")) * _DAY_MS:
        raise ValueProblem(f"{describe(value)} is too long", f"Write at most {longest}")
    return duration_ms


def read_price(value: Any) -> Price:
    """Read an amount of money such as ``29.90 EUR`` or ``3000 JPY``."""
    remedy = "Write an amount and an ISO currency, such as 29.90 EUR"
    match = _PRICE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueProblem(f"{describe(value)} is not a price", remedy)
    whole, fraction, currency = match.groups()
    if not is_currency(currency):
        raise ValueProblem(f"there is no currency {currency}", remedy)
    places = get_currency_precision(currency)
    if fraction and len(fraction) != places:
        wanted = f"{places} decimal places" if places else "no decimals"
        raise ValueProblem(f"{describe(value)}: {currency} has {wanted}", remedy)
    amount_minor = int(whole) * 10**places + int(fraction or 0)
    return Price(amount_minor=amount_minor, currency=currency)


def read_memory_bytes(value: Any) -> int:
    """Read memory such as ``8G`` into bytes; as in JupyterHub, K, M, G and T are powers of 1024."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueProblem(f"{value} has no unit", f"Write {value}G or {value}M")
    match = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueProblem(f"{describe(value)} is not an amount of memory", "Write 8G or 512M")
    if match[3]:
        raise ValueProblem(
            f"{describe(value)} has a unit that JupyterHub does not know",
            f"Write {match[1]}{match[2].upper()} (1G is 1024M)",
        )
    # 1024-based throughout, so a decimal fraction is floored to whole bytes once.
    memory_bytes = int(float(match[1]) * 1024 ** ("KMGT".index(match[2].upper()) + 1))
    if not 0 < memory_bytes <= _MEMORY_MAX_BYTES:
        raise ValueProblem(f"{describe(value)} is out of range", "Write 1K to 1024T")
    return memory_bytes


def read_date(value: Any) -> date:
    """Read a date."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(str(value))  # a quoted one; a date with a time is refused
    except ValueError:
        raise ValueProblem(f"{describe(value)} is not a date", "Write 2027-03-31") from None


def read_environment_name(value: Any) -> str:
    """Read the name of an environment variable that a profile may set."""
    if not isinstance(value, str) or not _ENVIRONMENT_NAME.fullmatch(value):
        raise ValueProblem(
            f"{describe(value)} cannot name an environment variable",
            "Use letters, digits and '_', not starting with a digit",
        )
    if value.startswith("JUPYTERHUB_"):
        raise ValueProblem(
            f"{value} belongs to the hub, which needs it to reach the server",
            "Remove it; variables starting with JUPYTERHUB_ cannot be set here",
        )
    return value


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def read_zone(value: Any) -> str:
    """Read an IANA time zone."""
    if isinstance(value, str) and value in _zones():
        return value
    meant = None
    if isinstance(value, str) and value:
        tail = f"/{value.replace(' ', '_').casefold()}"
        meant = next(
            (zone for zone in sorted(_zones()) if zone.casefold().endswith(tail)), None
        ) or nearest(value, _zones())
    raise ValueProblem(
        f"{describe(value)} is not a time zone",
        f"Did you mean '{meant}'?" if meant else "Write an IANA name such as Europe/Berlin or UTC",
    )
