"""Signing in through the hub, begun at one replica and finished at another.

jupyterhub's own client keeps what it must remember of a sign-in (where to come back to, PKCE's
verifier) in the memory of its process. Here the browser carries it: sealed with a key that all
replicas share, so that nobody but they can read or make one, and good for ten minutes. The hub
hands it back in the address, and it counts only in the browser that holds the same in its cookie.

That needs no row in the books: whoever is not signed in writes nothing there, and signing in
works while they are closed. Each sign-in counts once because the cookie goes with the first use
and the hub takes each of its codes once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from jupyterhub.services.auth import HubOAuth
from tornado.web import RequestHandler

from jhub_tokens.clock import Clock

__all__ = ["SealedLogins"]

#: Of an address to come back to; a longer one would not fit a cookie.
_NEXT_URL_MAX = 1000
#: More sign-ins than this begun and not finished, and the older ones are forgotten: together
#: they would not fit a request's head.
_BEGUN_MAX = 5


class SealedLogins(HubOAuth):  # type: ignore[misc]  # untyped base
    """The hub's client, with the state of a sign-in kept by the browser.

    Parameters
    ----------
    secret
        What replicas share.
    clock
        What time it is: a sign-in must be finished within `oauth_state_max_age` seconds. A
        replica whose clock is more than a minute behind another's does not know its sign-ins.
    **settings
        Those of `jupyterhub.services.auth.HubOAuth`.
    """

    def __init__(self, *, secret: bytes, clock: Clock, **settings: Any) -> None:
        super().__init__(**settings)
        key = hmac.digest(secret, b"jhub-tokens sign-in", hashlib.sha256)
        self._fernet = Fernet(base64.urlsafe_b64encode(key))
        self._clock = clock

    def set_state_cookie(
        self, handler: RequestHandler, next_url: str | None = None, **options: Any
    ) -> str:
        """Begin a sign-in; return its state, which also stands in a cookie."""
        begun = sum(name.startswith(self.state_cookie_name) for name in handler.request.cookies)
        if begun >= _BEGUN_MAX:
            self.clear_oauth_state_cookies(handler)
        return str(super().set_state_cookie(handler, next_url, **options))

    def generate_state(self, next_url: str | None = None, **extra_state: Any) -> str:
        """Return the sealed state of a sign-in that leads to `next_url`."""
        state = {name: value for name, value in extra_state.items() if value}
        # Only ever back to this service.
        if next_url and next_url.startswith(self.base_url) and len(next_url) <= _NEXT_URL_MAX:
            state["next_url"] = next_url
        sealed = self._fernet.encrypt_at_time(json.dumps(state).encode(), self._now_s())
        return sealed.decode()

    def get_next_url(self, state_id: str = "", /) -> str:
        """Return where a sign-in leads to."""
        return str((self._open(state_id) or {}).get("next_url") or self.base_url)

    def get_code_verifier(self, state_id: str = "", /) -> str | None:
        """Return PKCE's verifier of a sign-in; None for a hub that does without."""
        return (self._open(state_id) or {}).get("code_verifier")

    def get_state_cookie_name(self, state_id: str = "", /) -> str:
        """Return the name of a sign-in's cookie; of one that nobody has if it is not valid."""
        state = self._open(state_id)
        if state is None:
            return f"{self.state_cookie_name}-of-none"
        return state.get("cookie_name") or str(self.state_cookie_name)

    def clear_oauth_state(self, state_id: str) -> None:
        """Forget a sign-in: there is nothing here that remembers it, and its cookie goes."""

    def _open(self, sealed: str) -> Mapping[str, str] | None:
        """Return what is sealed; None if it was not sealed here, or too long ago."""
        try:
            content = self._fernet.decrypt_at_time(
                sealed.encode("ascii", "replace"), self.oauth_state_max_age, self._now_s()
            )
        except InvalidToken:
            return None
        state: dict[str, str] = json.loads(content)
        return state

    def _now_s(self) -> int:
        return self._clock.now_ms() // 1000
