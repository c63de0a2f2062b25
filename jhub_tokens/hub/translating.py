"""The hub's own templates in the person's language.

JupyterHub's pages are in English only. `PageTexts` is a Jinja extension: while a template is
compiled it puts a look-up in the place of each text that `jhub_tokens.hub.hub_texts` knows; what
it does not know, such as a text of a later JupyterHub, stays as it is. What the hub fills in
(names, messages) is never touched. Our own templates use `_` and `ngettext`, which it defines,
too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.runtime import Context
from markupsafe import Markup

from jhub_tokens import i18n
from jhub_tokens.hub.hub_texts import HUB_TEXTS, OUR_WORDS
from jhub_tokens.hub.languages import language_of

__all__ = ["PageTexts", "handler_of", "page_language", "untranslated"]

#: Attributes that people read or hear.
_READ = "alt|aria-label|placeholder|title|value"
#: What comes next in each state, and the state after it. Fills of the template part a page
#: anywhere, so that a piece may end in the middle of a tag or of a script.
_PIECES = {
    "text": re.compile(r"(?P<tag><[^<>]*(?P<closed>>)?)|(?P<text>[^<]+)", re.DOTALL),
    "tag": re.compile(r"(?P<tag>[^<>]*(?P<closed>>)?)", re.DOTALL),
    "code": re.compile(r"(?P<code>.*?)(?P<closed>(?=</(?:script|style))|\Z)", re.DOTALL | re.I),
}
_OPENS_CODE = re.compile(r"<(?:script|style)\b", re.IGNORECASE)
_ATTRIBUTE = re.compile(rf"""(?<=\s)(?:{_READ})=(["'])(?P<text>[^"'<>]+)\1""")
_HTML = re.compile(r"""<html lang="(?P<text>en)">""", re.IGNORECASE)
_LANGUAGE = "_jhub_tokens_language"
_HUB_TEXT = "_jhub_tokens_text"


def handler_of(context: Context) -> Any:
    """Return the request handler that renders a page of the hub, None if there is none.

    The hub gives a template no request, but a method of the handler.
    """
    return getattr(context.get("static_url"), "__self__", None)


def page_language(context: Context) -> str:
    """Return the language of the page that is being rendered."""
    return language_of(handler_of(context))


@pass_context
def _text(context: Context, message: str, **values: Any) -> str:
    with i18n.speaking(page_language(context)):
        return _filled(context, i18n.translated(message), values)


@pass_context
def _plural(context: Context, singular: str, plural: str, count: int, **values: Any) -> str:
    values = {"count": count, "num": count, **values}
    with i18n.speaking(page_language(context)):
        return _filled(context, i18n.translated_plural(singular, plural, count), values)


@pass_context
def _tag(context: Context) -> str:
    return i18n.TAGS[page_language(context)]


def _filled(context: Context, message: str, values: dict[str, Any]) -> str:
    # As Jinja's own translations do: the message is ours, what is filled in is escaped.
    return (Markup(message) if context.eval_ctx.autoescape else message) % values


class PageTexts(Extension):
    """Translates the hub's own texts where they stand, and gives templates `_` and `ngettext`."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(
            {"_": _text, "ngettext": _plural, _LANGUAGE: _tag, _HUB_TEXT: _text}
        )

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Return the tokens of a template with look-ups in the place of known texts."""
        splitter = _Splitter()
        for token in stream:
            if token.type != "data":
                yield token
                continue
            for call, text, _is_read in splitter.split(token.value):
                if not call:
                    yield Token(token.lineno, "data", text)
                    continue
                yield Token(token.lineno, "variable_begin", "")
                yield Token(token.lineno, "name", call)
                yield Token(token.lineno, "lparen", "(")
                if text:
                    yield Token(token.lineno, "string", text)
                yield Token(token.lineno, "rparen", ")")
                yield Token(token.lineno, "variable_end", "")


#: What to call in the place of a text (empty: nothing), the text, and whether people read it.
_Piece = tuple[str, str, bool]


class _Splitter:
    """Takes a template's literal text apart, token by token."""

    def __init__(self) -> None:
        self._state = "text"

    def split(self, data: str) -> Iterator[_Piece]:
        """Yield the pieces of what stands between two fills."""
        at = 0
        while at < len(data):
            piece = _PIECES[self._state].match(data, at)
            assert piece is not None, "a piece may be empty"
            whole, at = piece[0], piece.end()
            if self._state == "code":
                self._state = "text" if data.startswith("</", at) else "code"
                yield "", whole, False
            elif self._state == "text" and piece["tag"] is None:
                yield from _known(whole, [(0, len(whole))])
            else:
                yield from self._tag(whole, closed=piece["closed"] is not None)

    def _tag(self, tag: str, *, closed: bool) -> Iterator[_Piece]:
        opens_code = self._state == "text" and _OPENS_CODE.match(tag)
        self._state = ("code" if opens_code else "text") if closed else "tag"
        html = _HTML.fullmatch(tag)
        if html is None:
            yield from _known(tag, [found.span("text") for found in _ATTRIBUTE.finditer(tag)])
            return
        yield "", tag[: html.start("text")], False
        yield _LANGUAGE, "", False
        yield "", tag[html.end("text") :], False


def _known(piece: str, spans: list[tuple[int, int]]) -> Iterator[_Piece]:
    done = 0
    for start, end in spans:
        text = piece[start:end]
        message = " ".join(text.split())
        if not message:
            continue
        # The blanks around a text stay: they part it from what the hub fills in.
        begin, stop = start + len(text) - len(text.lstrip()), start + len(text.rstrip())
        yield "", piece[done:begin], False
        if message in HUB_TEXTS:
            yield _HUB_TEXT, OUR_WORDS.get(message, message), True
        else:
            yield "", piece[begin:stop], True
        done = stop
    yield "", piece[done:], False


def untranslated(source: str) -> list[str]:
    """Return the texts of a template's source that nobody translates, for tests."""
    splitter = _Splitter()
    return [
        " ".join(text.split())
        for _line, kind, value in Environment().lex(source)
        if kind == "data"
        for call, text, is_read in splitter.split(value)
        if is_read and not call and re.search(r"[A-Za-z]{2}", text)
    ]
