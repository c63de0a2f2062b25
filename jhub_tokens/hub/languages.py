"""In which language the hub's pages speak to somebody.

What a person chose in their settings is known from the token service's answers; before one was
heard, and for people who are not signed in, a cookie that the switch on the sign-in page sets
counts, then the browser's own wish.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from jupyterhub.handlers import BaseHandler

from jhub_tokens import i18n

__all__ = ["LANGUAGE_COOKIE", "LanguageHandler", "language_of", "remember_language"]

#: What the switch on the sign-in page sets; the token service's pages read it as well.
LANGUAGE_COOKIE = i18n.COOKIE
_COOKIE_DAYS = 365
#: More people than that are asked for anew; the oldest are forgotten first.
_CHOSEN_MAX = 50_000
_chosen: dict[str, str] = {}


def remember_language(name: str, code: str | None) -> None:
    """Take note of the language that a hub user has chosen; None: none."""
    _chosen.pop(name, None)
    if code is None:
        return
    _chosen[name] = code
    while len(_chosen) > _CHOSEN_MAX:
        del _chosen[next(iter(_chosen))]


def language_of(handler: Any) -> str:
    """Return the language in which to answer the request of a hub's handler.

    Without a handler it is the language of the task at hand.
    """
    request = getattr(handler, "request", None)
    if request is None:
        return i18n.language()
    # Kept on the handler: a page asks once for each of its texts. It is not asked for the user,
    # which its authentication, not yet done, would have to look up.
    user = getattr(handler, "_jupyterhub_user", None)
    chosen = _chosen.get(getattr(user, "name", ""))
    if chosen is not None:
        return chosen
    asked: str | None = getattr(handler, "_jhub_tokens_language", None)
    if asked is None:
        asked = i18n.wished(
            handler.get_cookie(LANGUAGE_COOKIE), request.headers.get("Accept-Language", "")
        )
        handler._jhub_tokens_language = asked
    return asked


class LanguageHandler(BaseHandler):  # type: ignore[misc]  # untyped base
    """The switch between languages: keeps the choice in a cookie and goes back to the page."""

    def get(self) -> None:
        """Set the cookie and redirect to where the person was, on this hub only."""
        code = self.get_argument("to", "")
        if code in i18n.LANGUAGES:
            self.set_cookie(
                LANGUAGE_COOKIE, code, path=self.base_url, expires_days=_COOKIE_DAYS,
                httponly=True, samesite="Lax", secure=self.request.protocol == "https",
            )  # fmt: skip
        self.redirect(self._back(self.get_argument("next", "")))

    def _back(self, wanted: str) -> str:
        """Return the page to go back to; one elsewhere becomes the sign-in page."""
        parts = urlsplit(wanted)
        own = wanted.startswith(self.hub.base_url) and not parts.scheme and not parts.netloc
        return wanted if own and "\\" not in wanted else self.settings["login_url"]
