"""Style sheets and scripts of our parts of the hub's pages, which the hub itself serves."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler

from jhub_tokens.hub.languages import LanguageHandler
from jhub_tokens.hub.runtime import hub_app

__all__ = ["asset_url", "page_handlers"]

_STATIC = Path(__file__).with_name("static")
_PATH = "jhub-tokens"


@cache
def _version(name: str) -> str:
    return hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:12]


def asset_url(name: str) -> str:
    """Return where a browser finds one of our files; a new content has a new address."""
    app = hub_app()
    prefix = app.hub_prefix if app is not None else "/hub/"
    return f"{prefix}{_PATH}/{name}?v={_version(name)}"


def page_handlers() -> list[tuple[Any, ...]]:
    """Return the hub's handlers that our pages need."""
    return [
        (rf"/{_PATH}/([a-z.]+)", StaticFileHandler, {"path": str(_STATIC)}),
        (r"/language", LanguageHandler),
    ]
