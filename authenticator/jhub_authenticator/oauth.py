"""Membership by what a sign-in provider says: a mixin for every OAuthenticator 17 class."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tornado import web
from tornado.httpclient import HTTPClientError
from traitlets import Bool, HasTraits, List, Set, Unicode

from jhub_authenticator.membership import MembershipMixin, no_entry
from jhub_authenticator.providers import read_account, subject_of
from jhub_tokens.catalogue import Account
from jhub_tokens.facts import Facts
from jhub_tokens.hub import runtime
from jhub_tokens.i18n import N_, _

__all__ = ["ProviderMixin"]

_STATE_KEY = "jhub_tokens"
#: What refreshing needs of the provider's answer to the request for tokens.
_TOKENS = ("access_token", "token_type", "refresh_token", "scope", "expires_in", "other_tokens")
#: Two machines' clocks may differ by so much.
_SKEW_S = 60
#: How a question to the provider fails, apart from what it answers.
_FAILURES = (HTTPClientError, ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
_AWAY = "away"
_NOT_ACCEPTED = N_(
    "The sign-in provider did not accept this sign-in: it took too long, or was used before. "
    "Sign in again."
)
_CANNOT_BE_ASKED = N_("The sign-in provider cannot be reached right now. Try again in a moment.")
_NO_ENTRY = "the rules do not let this account in any more"
#: What the provider answered last in this request: `_AWAY`, or the text of a refusal.
_heard: ContextVar[str | None] = ContextVar("jhub_tokens_provider_answer", default=None)


class ProviderMixin(MembershipMixin, HasTraits):
    """What a provider says decides who enters, with which plan, and when membership ends."""

    bind_accounts = Bool(
        True,
        config=True,
        help="""
        Let a hub user's name belong to the provider's account that signed in first under it.

        Another account that takes the name (a changed username, other upper and lower case, an
        account deleted and made anew) is refused. Needs ``enable_auth_state``. Turn it off while
        the hub moves to another provider.
        """,
    )
    trust_email = Bool(
        False,
        config=True,
        help="Count an e-mail address of which the provider does not say whether it is verified.",
    )
    keep_auth_state = Set(
        Unicode(),
        config=True,
        help="""
        Names of what else is kept in the encrypted auth state, ``*`` for everything.

        Only what refreshing needs is kept otherwise. Name here what hooks of your own read,
        such as the user info (``oauth_user``, ``github_user``, …).
        """,
    )
    gone_signs = List(
        Unicode(),
        default_value=[
            r"user (is )?(disabled|deactivated|suspended|deleted|not found)",
            r"account (is |has been )?(disabled|deactivated|suspended|deleted|not found)",
            r"AADSTS(50034|50057|500571|51004)",
        ],
        config=True,
        help="""
        Regular expressions for a provider's refusals that mean: this account is gone.

        They are looked for, without regard to case, in the answer to a refresh.
        """,
    )
    suspend_when_revoked = Bool(
        False,
        config=True,
        help="""
        Take every refusal to refresh for an account that is gone.

        Many providers do not say why they refuse. With this, members whose refresh token has
        merely expired are suspended, too, until they sign in again.
        """,
    )

    # --- signing in ---------------------------------------------------------------------------

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Sign somebody in as the mixin does, and keep only what is needed.

        Raises
        ------
        tornado.web.HTTPError
            403 if the provider or the rules do not accept it, 503 if the provider cannot be asked.
        """
        hub: Any = self
        try:
            authenticated = await super().get_authenticated_user(handler, data)
        except _FAILURES as error:
            if isinstance(error, HTTPClientError) and error.code < 500:
                hub.log.warning("The sign-in provider refuses a sign-in: %s", _answer_of(error))
                raise no_entry(_(_NOT_ACCEPTED)) from None
            hub.log.error("The sign-in provider cannot be asked: %s", error)
            raise no_entry(_(_CANNOT_BE_ASKED), 503) from None
        if authenticated:
            self._make_lean(authenticated)
        return authenticated

    async def account_of(self, authenticated: dict[str, Any]) -> Account | None:
        """Return what the provider says."""
        auth_state = authenticated.get("auth_state") or {}
        catalogue = await self._rules.current()
        return await read_account(
            self,
            authenticated["name"],
            auth_state,
            Facts() if catalogue is None else catalogue.asked,
            trust_email=self.trust_email,
        )

    async def check_owner(self, authenticated: dict[str, Any]) -> None:
        """Refuse whoever signs in under a name that belongs to another of the provider's accounts.

        Raises
        ------
        tornado.web.HTTPError
            403 if so.
        """
        auth_state = authenticated.get("auth_state")
        app = runtime.hub_app()
        users = getattr(app, "users", None)
        user = users.get(authenticated["name"]) if users is not None else None
        if not self.bind_accounts or not auth_state or user is None:
            return
        known = _subject_in(await user.get_auth_state())
        if known and known != subject_of(self, auth_state):
            hub: Any = self
            hub.log.warning("%s belongs to another account of the provider", user.name)
            raise no_entry(
                _(
                    "The name %(name)s belongs to another account. Ask your administrator to free "
                    "it, if it was yours before.",
                    name=user.name,
                )
            )

    def _make_lean(self, authenticated: dict[str, Any]) -> None:
        """Keep of the auth state what refreshing needs: tokens, and whose account it is."""
        auth_state = authenticated.get("auth_state")
        if not isinstance(auth_state, dict):
            return
        lean: dict[str, Any] = {_STATE_KEY: {"subject": subject_of(self, auth_state)}}
        tokens = auth_state.get("token_response")
        if isinstance(tokens, Mapping):
            wanted = (*_TOKENS, "id_token") if self._reads_id_token() else _TOKENS
            lean["token_response"] = {key: tokens[key] for key in wanted if key in tokens}
            lean["refresh_token"] = auth_state.get("refresh_token") or tokens.get("refresh_token")
        if "tokens" in auth_state:
            lean["tokens"] = {}  # Globus would put them into the environment of the server
        every = "*" in self.keep_auth_state
        for key, value in auth_state.items():
            if every or key in self.keep_auth_state:
                lean[key] = value
        authenticated["auth_state"] = lean

    def _reads_id_token(self) -> bool:
        hub: Any = self
        azure = any(cls.__name__ == "AzureAdOAuthenticator" for cls in type(self).__mro__)
        return azure or bool(hub.userdata_from_id_token)

    # --- refreshing ---------------------------------------------------------------------------

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """Refresh as the base does; follow groups, and suspend whoever is gone.

        A provider that is down ends nobody's session: what was known goes on to hold.
        """
        hub: Any = self
        before = await user.get_auth_state() if hub.enable_auth_state else None
        if before and "token_response" not in before:
            return True  # OAuth 1 (MediaWiki) has nothing to refresh
        _heard.set(None)
        try:
            refreshed = await super().refresh_user(user, handler, **kwargs)  # type: ignore[misc]
        except _FAILURES as error:
            if isinstance(error, HTTPClientError) and error.code < 500:
                raise
            return self._stays(user, error)
        if not refreshed:
            return self._not_refreshed(user, before)
        if not isinstance(refreshed, dict):
            return refreshed
        refreshed.setdefault("name", user.name)
        known = _subject_in(before)
        state = refreshed.get("auth_state") or {}
        if self.bind_accounts and known and known != subject_of(self, state):
            hub.log.warning("The tokens of %s are another account's; signing out", user.name)
            return False
        try:
            facts, refused = await self.judge({**refreshed, "name": user.name})
        except _FAILURES as error:  # such as a limit on how often it may be asked for groups
            return self._stays(user, error)
        if refused:
            self.tell(user.name, (facts or Facts()).model_copy(update={"gone": _NO_ENTRY}))
            return False
        self.tell(user.name, facts)
        self._make_lean(refreshed)
        return refreshed

    def _stays(self, user: Any, error: Exception) -> bool:
        hub: Any = self
        hub.log.warning("The sign-in provider cannot be asked about %s: %s", user.name, error)
        return True

    def _not_refreshed(self, user: Any, before: Any) -> bool:
        hub: Any = self
        answer = _heard.get()
        if answer == _AWAY:
            hub.log.warning("The sign-in provider is away; %s stays signed in", user.name)
            return True
        signs = any(re.search(sign, answer or "", re.IGNORECASE) for sign in self.gone_signs)
        if before and answer is not None and (signs or self.suspend_when_revoked):
            hub.log.warning("The sign-in provider says that the account of %s is gone", user.name)
            self.tell(user.name, Facts(gone="the sign-in provider says that the account is gone"))
        return False

    # --- what the provider answers ------------------------------------------------------------

    async def get_token_info(self, handler: Any, params: Any) -> Any:
        """Ask for tokens as the base does, and remember a refusal."""
        with self._listening():
            return await super().get_token_info(handler, params)  # type: ignore[misc]

    async def token_to_user(self, token_info: Any) -> Any:
        """Ask who it is as the base does; refuse claims that are not for this hub or not valid now.

        Raises
        ------
        tornado.web.HTTPError
            403 for such claims.
        """
        with self._listening():
            info = await super().token_to_user(token_info)  # type: ignore[misc]
        if not isinstance(info, Mapping):
            raise no_entry(_("The sign-in provider's answer cannot be read."))
        if problem := self._problem_with(info):
            hub: Any = self
            hub.log.error("The sign-in provider's claims are refused: %s", problem)
            raise no_entry(
                _("The sign-in provider's answer cannot be used: %(problem)s.", problem=_(problem))
            )
        return info

    def user_info_to_username(self, user_info: Any) -> str:
        """Return the name as the base does; a claim that is no name is refused, not an error.

        Raises
        ------
        tornado.web.HTTPError
            403 if there is none.
        """
        hub: Any = self
        problem = no_entry(_("The sign-in provider did not say under which name you are known."))
        claim = hub.username_claim
        if isinstance(claim, str) and claim in user_info and not _is_name(user_info[claim]):
            raise problem  # the base would write everything it knows of the person into the log
        try:
            name = super().user_info_to_username(user_info)  # type: ignore[misc]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise problem from None
        if not _is_name(name):
            raise problem
        return str(name)

    def _problem_with(self, info: Mapping[str, Any]) -> str:
        hub: Any = self
        audience = info.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if audience is not None and hub.client_id not in audiences:
            return N_("it is for another application")
        now = time.time()
        for claim, late in (("exp", False), ("nbf", True)):
            at = info.get(claim)
            if not isinstance(at, int | float) or isinstance(at, bool):
                continue
            if late and at > now + _SKEW_S:
                return N_("it is not valid yet; do the clocks agree?")
            if not late and at < now - _SKEW_S:
                return N_("it has expired; do the clocks agree?")
        return ""

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Remember how a request failed, and keep tokens out of what is said about it."""
        try:
            yield
        except HTTPClientError as error:
            _heard.set(_AWAY if error.code >= 500 else _answer_of(error))
            raise
        except _FAILURES:
            _heard.set(_AWAY)
            raise
        except web.HTTPError as error:
            _heard.set(str(error.log_message or ""))
            if error.status_code >= 500:
                # The base writes the whole answer into its message, and so into log and page.
                hub: Any = self
                hub.log.error("The sign-in provider's answer cannot be used")
                raise no_entry(_("The sign-in provider's answer cannot be used.")) from None
            raise


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _answer_of(error: HTTPClientError) -> str:
    body = error.response.body[:10_000].decode("utf-8", "replace") if error.response else ""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return f"{error.code}"
    said = (answer.get(key) for key in ("error", "error_description", "message"))
    return " ".join([str(error.code), *(text for text in said if isinstance(text, str))])


def _subject_in(auth_state: Any) -> str:
    ours = auth_state.get(_STATE_KEY) if isinstance(auth_state, Mapping) else None
    subject = ours.get("subject") if isinstance(ours, Mapping) else None
    return subject if isinstance(subject, str) else ""
