"""What operators call things, in one language for everybody or in each language of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel

from jhub_tokens import i18n

__all__ = ["InLanguages", "written"]


class InLanguages(BaseModel):
    """A value with texts that an operator may have written in several languages.

    Its own fields hold what the books and the logs call it: the English text, or the only one.
    `others` holds, by language and field, what is written in more than one.
    """

    others: dict[str, dict[str, str]] = {}

    def spoken(self, code: str | None = None) -> Self:
        """Return this with its texts in the language `code`, by default that of the task."""
        texts = self.others.get(i18n.language() if code is None else code)
        return self.model_copy(update=texts) if texts else self


def written(**texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a value from its texts by language; under "" one for everybody."""
    own = {field: i18n.spoken(told, i18n.SOURCE) for field, told in texts.items()}
    several = {field: told for field, told in texts.items() if len(told) > 1}
    if not several:
        return own
    # In each of them, the source as well: what was spoken in one can be spoken in another.
    others = {
        code: {field: i18n.spoken(told, code) for field, told in several.items()}
        for code in i18n.LANGUAGES
    }
    return {**own, "others": others}
