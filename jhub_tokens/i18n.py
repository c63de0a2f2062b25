"""Languages: what people read is written in English and translated when it is shown.

The language is that of the task at hand: whoever answers a request says once in which one
(`speaking`, `speak`), and every text that is made while it is answered is in it, in worker threads
as well. Messages have named places, ``_("%(count)s tokens", count=3)``, so that a translation may
order them anew; a percent sign is written ``%%``, as in Jinja's own translations.

The translations are the ``.po`` files under ``locale/``, one for each part of the product, read
as they are: nothing needs compiling.
"""

from __future__ import annotations

import gettext as _gettext
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

__all__ = [
    "COOKIE",
    "LANGUAGES",
    "N_",
    "SOURCE",
    "TAGS",
    "_",
    "gettext",
    "language",
    "load",
    "locale_files",
    "negotiated",
    "ngettext",
    "retold",
    "speak",
    "speaking",
    "spoken",
    "translated",
    "translated_plural",
    "wished",
]

#: The language of the sources.
SOURCE = "en"
#: Each language's code with its own name; ``zh`` is written in simplified characters.
LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}

#: How a page says in its ``lang`` which language it is in.
TAGS: Mapping[str, str] = {"en": "en", "zh": "zh-CN"}
#: The cookie that keeps the choice of people who have chosen before they signed in.
COOKIE = "jhub-tokens-language"

_LOCALE = Path(__file__).parent / "locale"
_PLACE = re.compile(r"%\((\w+)\)s")
#: So many characters beside its places, and a text is told to be of a message.
_TELLING = 12
_language: ContextVar[str] = ContextVar("jhub_tokens_language", default=SOURCE)


def language() -> str:
    """Return the code of the language of the task at hand."""
    return _language.get()


def speak(code: str) -> None:
    """Let everything from here on in this task be in `code`; in English if there is none such."""
    _language.set(code if code in LANGUAGES else SOURCE)


@contextmanager
def speaking(code: str | None) -> Iterator[None]:
    """Speak `code` within a block; None changes nothing."""
    if code is None:
        yield
        return
    token = _language.set(code if code in LANGUAGES else SOURCE)
    try:
        yield
    finally:
        _language.reset(token)


def negotiated(accept_language: str) -> str:
    """Return the best of our languages for an ``Accept-Language`` header (RFC 9110, 12.5.4)."""
    weighed: list[tuple[float, int, str]] = []
    for place, item in enumerate(accept_language[:1000].split(",")):
        tag, *parameters = (part.strip() for part in item.split(";"))
        code = tag.partition("-")[0].lower()
        weight = 1.0
        for parameter in parameters:
            name, _equals, value = parameter.partition("=")
            if name.strip().lower() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        if code in LANGUAGES and weight > 0:
            weighed.append((-weight, place, code))
    return min(weighed)[2] if weighed else SOURCE


def wished(cookie: str | None, accept_language: str) -> str:
    """Return the language that a browser asks for: what the switch kept, else its own wish."""
    if cookie is not None and cookie in LANGUAGES:
        return cookie
    return negotiated(accept_language)


def spoken(texts: Mapping[str, str], code: str | None = None) -> str:
    """Return the one of an operator's texts in the language `code`, or in that of the task.

    They come by language, and under the empty one where there is one text for all.
    """
    for tried in (code or language(), "", SOURCE, *texts):
        if text := texts.get(tried):
            return text
    return ""


def gettext(message: str, **values: Any) -> str:
    """Return a message in the language of the task, with `values` in its places."""
    return translated(message) % values


def ngettext(singular: str, plural: str, count: int, **values: Any) -> str:
    """Return the form of a message that goes with `count`, which is a value of it, too."""
    values.setdefault("count", count)
    values.setdefault("num", count)
    return translated_plural(singular, plural, count) % values


def translated(message: str) -> str:
    """Return a message with its places still open, as Jinja asks for it."""
    return _translations(_language.get()).gettext(message)


def translated_plural(singular: str, plural: str, count: int) -> str:
    """Return the form of a message that goes with `count`, with its places still open."""
    return _translations(_language.get()).ngettext(singular, plural, count)


def retold(text: str) -> str:
    """Return a message that was kept in English, values and all, in the language of the task.

    For what the books say of an act that is over: whoever reads it may speak another language
    than whoever did it. What is no message of ours stays as it is.
    """
    code = language()
    return text if code == SOURCE or not text else _retold(code, text)


_ = gettext


def N_(message: str) -> str:
    """Mark a message for translation where it stands; it is translated where it is shown."""
    return message


def load() -> None:
    """Read all translations now rather than at the first text in each language."""
    for code in LANGUAGES:
        _translations(code)


def locale_files(code: str) -> list[Path]:
    """Return the files with the translations into a language, in the order of their names."""
    return sorted((_LOCALE / code / "LC_MESSAGES").glob("*.po"))


@cache
def _catalog(code: str) -> Catalog:
    merged = Catalog(locale=code)
    for path in locale_files(code):
        with path.open("rb") as file:
            for message in read_po(file, locale=code):
                if message.id and not message.fuzzy:
                    merged[message.id] = message
    return merged


@cache
def _translations(code: str) -> _gettext.NullTranslations:
    if code == SOURCE:
        return _gettext.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, _catalog(code))
    compiled.seek(0)
    return _gettext.GNUTranslations(compiled)


@lru_cache(maxsize=10_000)
def _retold(code: str, text: str) -> str:
    known = _translations(code).gettext(text)
    if known != text:
        return known
    for first, last, pattern, message in _patterns(code):
        if text.startswith(first) and text.endswith(last) and (match := pattern.fullmatch(text)):
            return _translations(code).gettext(message) % match.groupdict()
    return text


@cache
def _patterns(code: str) -> list[tuple[str, str, re.Pattern[str], str]]:
    """Return what texts of the messages with places look like, the most telling ones first.

    Each comes with how it begins and ends, which is quicker to look at.
    """
    found: list[tuple[int, tuple[str, str, re.Pattern[str], str]]] = []
    for entry in _catalog(code):
        message = entry.id
        if not isinstance(message, str) or not _PLACE.search(message):
            continue
        # Words and the names of places take turns.
        words, *others = _PLACE.split(message)
        literals, seen = [words.replace("%%", "%")], set[str]()
        pattern = re.escape(literals[0])
        for name, after in zip(others[::2], others[1::2], strict=True):
            pattern += f"(?P={name})" if name in seen else f"(?P<{name}>.*?)"
            pattern += re.escape(after.replace("%%", "%"))
            literals.append(after.replace("%%", "%"))
            seen.add(name)
        told = sum(map(len, literals))
        if told >= _TELLING:
            compiled = re.compile(pattern, re.DOTALL)
            found.append((told, (literals[0], literals[-1], compiled, message)))
    return [item for _told, item in sorted(found, key=lambda pair: -pair[0])]
