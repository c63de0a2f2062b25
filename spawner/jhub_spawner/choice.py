"""What a member chose: read from the form, a query or an API body, and checked for its types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jhub_tokens import wire

__all__ = [
    "OWN_FIELDS",
    "Choice",
    "choice_from_fields",
    "choice_from_options",
    "without_own_fields",
]

OWN_FIELDS = ("profile", "image", "gpu_model")
_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """A profile, an image and a GPU model as the member asked for them; not yet checked."""

    profile: str  # empty: none chosen
    image: str | None = None
    gpu_model: str | None = None


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
    for name in ("image", "gpu_model"):
        chosen = value(f"{name}:{profile}") or value(name)
        if chosen:
            options[name] = chosen
    return options


def choice_from_options(options: object) -> Choice | wire.Refusal:
    """Return the choice in stored or posted user options, or why they are none.

    User options come straight from an API call: anything that JSON can say may be in them.
    """
    if not isinstance(options, Mapping):
        return _bad("The options of a start must be an object with the field profile.")
    values: dict[str, str] = {}
    for name in OWN_FIELDS:
        value = options.get(name)
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]  # a form's value that passed through as it was posted
        if value is None:
            value = ""
        if not isinstance(value, str):
            return _bad(f"The option {name} must be a text, not {_kind(value)}.")
        if len(value) > _LENGTH_MAX:
            return _bad(f"The option {name} is too long: there is nothing of such a name.")
        values[name] = value
    return Choice(values["profile"], values["image"] or None, values["gpu_model"] or None)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, list | tuple):
        return "a list"
    return "an object"


def _bad(message: str) -> wire.Refusal:
    return wire.Refusal(
        code="bad_choice",
        message=message,
        remedy="Choose a profile on the start page, or name one in the options.",
    )
