"""What a member chose: read from the form, a query or an API body, and checked for its types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jhub_tokens import wire
from jhub_tokens.i18n import _

__all__ = [
    "OWN_FIELDS",
    "Choice",
    "choice_from_fields",
    "choice_from_options",
    "without_own_fields",
]

#: Those that each profile's card has for itself.
CARD_FIELDS = ("image", "gpu_model", "payer", "max_run_hours")
OWN_FIELDS = ("profile", *CARD_FIELDS)
_HOURS_MAX = 366 * 24
_HOUR_MS = 3_600_000
_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """What to start, who pays and for how long, as the member asked; not yet checked."""

    profile: str  # empty: none chosen
    image: str | None = None
    gpu_model: str | None = None
    payer: str | None = None  # a team; None: the member
    max_run_ms: int | None = None


def _is_own(name: str) -> bool:
    return name == "_xsrf" or name.partition(":")[0] in OWN_FIELDS


def without_own_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the posted fields that are not the selector's."""
    return {name: value for name, value in fields.items() if not _is_own(name)}


def choice_from_fields(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the user options of posted form or query fields.

    Each profile card has selects of its own, named ``image:PROFILE`` and ``gpu_model:PROFILE``,
    so that the form works without JavaScript; the chosen profile decides which count.
    """

    def value(name: str) -> str:
        values = fields.get(name)
        if isinstance(values, list | tuple):
            values = values[0] if values else ""
        return values if isinstance(values, str) else ""

    profile = value("profile")
    options = {"profile": profile}
    for name in CARD_FIELDS:
        chosen = value(f"{name}:{profile}") or value(name)
        if chosen:
            options[name] = chosen
    return options


def choice_from_options(options: object) -> Choice | wire.Refusal:
    """Return the choice in stored or posted user options, or why they are none.

    User options come straight from an API call: anything that JSON can say may be in them.
    """
    if not isinstance(options, Mapping):
        return _bad(_("The options of a start must be an object with the field profile."))
    values: dict[str, str] = {}
    for name in OWN_FIELDS:
        value = options.get(name)
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]  # a form's value that passed through as it was posted
        if value is None:
            value = ""
        if name == "max_run_hours" and isinstance(value, int | float) and value is not True:
            value = f"{value:g}"
        if not isinstance(value, str):
            kind = _kind(value)
            return _bad(
                _("The option %(name)s must be a text, not %(kind)s.", name=name, kind=kind)
            )
        if len(value) > _LENGTH_MAX:
            return _bad(
                _("The option %(name)s is too long: there is nothing of such a name.", name=name)
            )
        values[name] = value
    try:
        max_run_ms = _duration_ms(values["max_run_hours"])
    except ValueError:
        return _bad(_("The option max_run_hours must be a number of hours, like 2 or 0.5."))
    return Choice(
        values["profile"],
        values["image"] or None,
        values["gpu_model"] or None,
        values["payer"] or None,
        max_run_ms,
    )


def _duration_ms(hours: str) -> int | None:
    """Return a number of hours in milliseconds, None if there is none.

    Raises
    ------
    ValueError
        If it is no number, or longer than a year or shorter than a minute.
    """
    if not hours:
        return None
    duration_ms = round(float(hours) * _HOUR_MS) if float(hours) < _HOURS_MAX else 0
    if duration_ms < 60_000:
        raise ValueError(hours)
    return duration_ms


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return _("true or false")
    if isinstance(value, int | float):
        return _("a number")
    if isinstance(value, list | tuple):
        return _("a list")
    return _("an object")


def _bad(message: str) -> wire.Refusal:
    return wire.Refusal(
        code="bad_choice",
        message=message,
        remedy=_("Choose a profile on the start page, or name one in the options."),
    )
