"""Messages to translate: what the sources hold, what is translated, and what is missing.

python ci/messages.py                 tell what is missing, unused or unclear
python ci/messages.py add DOMAIN      add what is missing to the file DOMAIN.po of each language
python ci/messages.py prune           remove what no source holds any more
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po, write_po

from jhub_tokens import i18n

ROOT = Path(__file__).resolve().parent.parent
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None}
_SOURCES = ("jhub_tokens", "spawner", "authenticator")
_PLACE = re.compile(r"%\((\w+)\)s")
_Id = str | tuple[str, ...]


def extracted(root: Path = ROOT) -> dict[_Id, str]:
    """Return every message of the sources with the first place where it stands."""
    with (root / "setup.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    found: dict[_Id, str] = {}
    for folder in _SOURCES:
        under = [(pattern.removeprefix(f"{folder}/"), method) for pattern, method in methods]
        inside = {pattern.removeprefix(f"{folder}/"): value for pattern, value in options.items()}
        messages = extract_from_dir(
            root / folder, method_map=under, options_map=inside, keywords=KEYWORDS
        )
        for filename, line, message, _comments, _context in messages:
            key = tuple(message) if isinstance(message, tuple) else message
            if key:
                found.setdefault(key, f"{folder}/{filename}:{line}")
    return found


def translated(code: str) -> dict[_Id, tuple[Message, Path]]:
    """Return the messages of all files of a language with the file that holds each."""
    found: dict[_Id, tuple[Message, Path]] = {}
    for path in i18n.locale_files(code):
        for message in _read(path, code):
            if message.id:
                found.setdefault(_key(message), (message, path))
    return found


def problems(code: str) -> Iterator[str]:
    """Yield what is wrong with the translations into a language, one line each."""
    sources, held = extracted(), translated(code)
    for path in i18n.locale_files(code):
        for message in _read(path, code):
            first = held[_key(message)][1] if message.id else path
            # Two may differ, and which is shown would go by the names of the files.
            if first != path:
                yield f"{path.name}: {_first(_key(message))!r} is also in {first.name}"
    for key, place in sources.items():
        if key not in held:
            yield f"{place}: {_first(key)!r} is not translated into {code}"
    for key, (message, path) in held.items():
        text = _first(key)
        if key not in sources:
            yield f"{path.name}: {text!r} is in no source any more"
        elif message.fuzzy:
            yield f"{path.name}: {text!r} is marked as fuzzy"
        else:
            yield from (f"{path.name}: {text!r}: {wrong}" for wrong in _wrong(message))


def _wrong(message: Message) -> Iterator[str]:
    ids = [message.id] if isinstance(message.id, str) else list(message.id)
    strings = [message.string] if isinstance(message.string, str) else list(message.string)
    allowed = {"num", "count"} if len(ids) > 1 else set()
    places = set(_PLACE.findall(" ".join(ids)))
    for string in strings:
        if not string:
            yield "is empty"
            continue
        held = set(_PLACE.findall(string))
        if held - places:
            yield f"has places that the original has not: {sorted(held - places)}"
        if places - held - allowed:
            yield f"lacks the places {sorted(places - held - allowed)}"
        try:
            string % dict.fromkeys(places | allowed, "x")
        except (ValueError, TypeError, KeyError) as error:
            yield f"cannot be filled in: {error}"


def add(domain: str) -> None:
    """Add every message that no file holds to one domain's file, to be translated there."""
    for code in i18n.LANGUAGES:
        if code == i18n.SOURCE:
            continue
        path = ROOT / "jhub_tokens" / "locale" / code / "LC_MESSAGES" / f"{domain}.po"
        catalog = _read(path, code) if path.exists() else Catalog(locale=code, charset="utf-8")
        held = translated(code)
        for key in extracted():
            if key not in held:
                catalog.add(key)
        _write(path, catalog)


def prune() -> None:
    """Remove messages that no source holds."""
    sources = extracted()
    for code in i18n.LANGUAGES:
        for path in i18n.locale_files(code):
            catalog = _read(path, code)
            for message in list(catalog):
                if message.id and _key(message) not in sources:
                    catalog.delete(message.id)
            _write(path, catalog)


def _read(path: Path, code: str) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=code)


def _write(path: Path, catalog: Catalog) -> None:
    plural = f"nplurals={catalog.num_plurals}; plural={catalog.plural_expr};"
    kept = Catalog(locale=catalog.locale, charset="utf-8", header_comment="")
    for message in catalog:
        if message.id:
            kept.add(message.id, message.string, flags=message.flags)
    header = (
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
        f'"Language: {catalog.locale}\\n"\n"Plural-Forms: {plural}\\n"\n\n'
    )
    with path.open("wb") as file:
        file.write(header.encode())
        write_po(file, kept, width=96, no_location=True, omit_header=True, sort_output=True)


def _key(message: Message) -> _Id:
    return message.id if isinstance(message.id, str) else tuple(message.id)


def _first(key: _Id) -> str:
    return key if isinstance(key, str) else key[0]


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    match arguments:
        case []:
            found = [
                line for code in i18n.LANGUAGES if code != i18n.SOURCE for line in problems(code)
            ]
            print("\n".join(found) or "Every message is translated.")
            return 1 if found else 0
        case ["add", domain]:
            add(domain)
            return 0
        case ["prune"]:
            prune()
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
