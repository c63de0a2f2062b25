"""The demo's authenticator: any name signs in with the demo's one password.

It is for a demonstration on one's own machine and for tests, never for a hub that others can
reach: whoever knows the password can be anybody.
"""

from __future__ import annotations

import hmac
import unicodedata
from typing import Any

from jupyterhub.auth import Authenticator
from tornado import web
from traitlets import Dict, List, Unicode

from jhub_authenticator.membership import MembershipMixin
from jhub_tokens.i18n import _

__all__ = ["DemoAuthenticator"]

_NAME_MAX = 200


class DemoAuthenticator(MembershipMixin, Authenticator):  # type: ignore[misc]
    """Sign in with any new name and the demo's password."""

    password = Unicode("demo", config=True, help="The one password; it must not be empty.")
    members = List(
        Dict(),
        config=True,
        help="""
        The demo's members, shown on the sign-in page to choose from.

        Each is a dict with the keys ``name`` and ``plan`` and, optionally, ``description``.
        """,
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if "allow_all" not in self.config.get("DemoAuthenticator", {}):
            self.allow_all = True  # the password is the only condition

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Return the name if the password is right.

        Raises
        ------
        tornado.web.HTTPError
            400, with a message for the sign-in page, if the name cannot be a member's.
        """
        name = unicodedata.normalize("NFC", data.get("username", "")).strip()
        problem = _problem(name)
        if problem:
            error = web.HTTPError(400, problem)
            error.jupyterhub_message = problem  # type: ignore[attr-defined]
            raise error
        given = data.get("password", "").encode()
        if not self.password or not hmac.compare_digest(given, self.password.encode()):
            return None
        return name


def _problem(name: str) -> str | None:
    if not name:
        return _("Enter a name to sign in with.")
    if len(name) > _NAME_MAX:
        return _("This name is too long: at most %(count)s characters.", count=_NAME_MAX)
    if "/" in name:
        return _("A name cannot contain a slash (/).")
    if not name.isprintable():
        return _("A name cannot contain control characters or line breaks.")
    return None
