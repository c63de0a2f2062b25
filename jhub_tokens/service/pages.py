"""The pages' templates and the files they need, in the hub's own look.

Style sheets and scripts of the hub are served from the installed JupyterHub itself, so that the
look is that of the version at hand; ours are small additions. No page has inline script or
style, which lets the Content-Security-Policy forbid both.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import jinja2
from jupyterhub._data import DATA_FILES_PATH

from jhub_tokens import i18n
from jhub_tokens.service import texts
from jhub_tokens.service.settings import Settings
from jhub_tokens.service.zones import display_zone
from jhub_tokens.units import format_tokens, grains_to_tokens

__all__ = ["HUB_STATIC", "OUR_STATIC", "content_security_policy", "templates"]

HUB_STATIC = Path(DATA_FILES_PATH) / "static"
OUR_STATIC = Path(__file__).parent / "static"
_TEMPLATES = Path(__file__).parent / "templates"


def content_security_policy(settings: Settings) -> str:
    """Return the policy of every page: our own files only, nothing inline."""
    hub = urlsplit(settings.hub_url)
    origin = f" {hub.scheme}://{hub.netloc}" if hub.netloc else ""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            f"img-src 'self' data:{origin}",  # Bootstrap draws its icons as data URLs
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )


def templates(settings: Settings) -> jinja2.Environment:
    """Return the template environment; everything is escaped unless marked otherwise."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # of the extension
        i18n.translated, i18n.translated_plural, newstyle=True
    )
    i18n.load()
    environment.globals.update(
        base_url=settings.base_url,
        hub_url=settings.hub_url,
        display_zone=display_zone,
        static=lambda name: f"{settings.base_url}static/{name}?v={_version(OUR_STATIC / name)}",
        hub_static=lambda name: (
            f"{settings.base_url}hub-static/{name}?v={_version(HUB_STATIC / name)}"
        ),
    )
    environment.filters.update(
        tokens=_tokens,
        amount=texts.tokens_text,
        rate=texts.rate_text,
        duration=texts.duration_text,
        kind=texts.kind_text,
        source=texts.source_text,
    )
    return environment


def _tokens(grains: int, places: int = 2, fixed: bool = False) -> str:
    """Return an amount for people; `fixed` keeps the zeros, so that columns line up."""
    if fixed:
        return f"{grains_to_tokens(grains, places):,f}".replace("-", "−")
    return format_tokens(grains, places)


@lru_cache(maxsize=64)
def _version(path: Path) -> str:
    """Return a short hash of a file, so that browsers may keep it for ever."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "0"
