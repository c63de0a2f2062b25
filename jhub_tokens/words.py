"""Words that the hub's pages and the token service's share: rates, amounts, hardware, money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Protocol

from babel.dates import format_date
from babel.numbers import format_currency, get_currency_precision

from jhub_tokens import i18n
from jhub_tokens.i18n import _
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens

__all__ = [
    "Hardware",
    "day_text",
    "duration_text",
    "hardware_text",
    "money_text",
    "rate_text",
    "tokens_text",
    "unit_names",
]

#: Days, hours, minutes, seconds.
_UNITS: Mapping[str, tuple[str, str, str, str]] = {
    "en": ("d", "h", "min", "s"),
    "zh": ("天", "小时", "分钟", "秒"),
}
_DAYS: Mapping[str, str] = {"en": "d MMM y", "zh": "y年M月d日"}
_LOCALES: Mapping[str, str] = {"en": "en", "zh": "zh_Hans_CN"}


class Hardware(Protocol):
    """What a profile is made of, in the catalogue and where it travels."""

    @property
    def cpu(self) -> float:
        """Cores."""

    @property
    def memory_bytes(self) -> int:
        """Memory."""

    @property
    def gpus(self) -> int:
        """How many GPUs."""

    @property
    def gpu_models(self) -> Sequence[str]:
        """The models to choose from."""


def day_text(day: date) -> str:
    """Return a date as the language writes it: ``1 Dec 2026``, ``2026年12月1日``."""
    return str(format_date(day, _DAYS[i18n.language()], locale=_LOCALES[i18n.language()]))


def duration_text(duration_ms: int, language: str | None = None) -> str:
    """Return a duration in its two largest units: ``2 d 3 h``, ``1 h 5 min``, ``40 s``."""
    seconds = max(0, round(duration_ms / 1000))
    parts = []
    units = _UNITS.get(language or i18n.language(), _UNITS["en"])
    for unit, size in zip(units, (86_400, 3_600, 60, 1), strict=True):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break  # "2 d 5 s" would claim a precision that the gap denies
    return " ".join(parts[:2]) or f"0 {units[-1]}"


def unit_names() -> tuple[str, str, str, str]:
    """Return what a day, an hour, a minute and a second are called in durations."""
    return _UNITS.get(i18n.language(), _UNITS["en"])


def rate_text(rate_mtok_h: int) -> str:
    """Return a rate in tokens per hour: ``10 tokens/h``."""
    if rate_mtok_h == 0:
        return _("free")
    text = format_tokens(rate_mtok_h * GRAINS_PER_MILLITOKEN, 3)
    return (
        _("%(count)s token/h", count=text) if text == "1" else _("%(count)s tokens/h", count=text)
    )


def tokens_text(grains: int, language: str | None = None) -> str:
    """Return an amount with its word: ``1 token``, ``2.5 tokens``."""
    text = format_tokens(grains)
    with i18n.speaking(language):
        if text in ("1", "-1"):
            return _("%(count)s token", count=text)
        return _("%(count)s tokens", count=text)


def hardware_text(hardware: Hardware, *, spot: bool = False) -> str:
    """Return a profile's hardware: ``4 cores · 8 GB · 1 × T4 or A100``."""
    cores = f"{hardware.cpu:g}"
    parts = [_("1 core") if cores == "1" else _("%(count)s cores", count=cores)]
    parts.append(_memory_text(hardware.memory_bytes))
    if hardware.gpus:
        models = _(" or ").join(hardware.gpu_models) or "GPU"
        parts.append(f"{hardware.gpus} × {models}")
    if spot:
        parts.append(_("spot, may be interrupted"))
    return " · ".join(parts)


def money_text(amount_minor: int, currency: str) -> str:
    """Return an amount of money as the language writes it: ``€12.00``, ``¥80.00``."""
    amount = Decimal(amount_minor).scaleb(-get_currency_precision(currency))
    return str(format_currency(amount, currency, locale=_LOCALES[i18n.language()]))


def _memory_text(memory_bytes: int) -> str:
    for unit, size in (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20)):
        if memory_bytes >= size:
            return f"{memory_bytes / size:.4g} {unit}"
    return f"{memory_bytes} bytes"
