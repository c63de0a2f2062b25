"""What every page shares: signing in, the look, one-time messages, and errors as pages."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from jhub_tokens import i18n
from jhub_tokens.i18n import _
from jhub_tokens.ledger import DatabaseProblem
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import BaseHandler
from jhub_tokens.service.pages import content_security_policy
from jhub_tokens.service.zones import show_in

__all__ = ["PageHandler"]

_FLASH = "jhub-tokens-flash"


class PageHandler(BaseHandler):
    """A page for a person who is signed in."""

    active = ""  #: which entry of the navigation is marked
    area = "member"  #: whose pages these are: a member's own, or administrators'

    def set_default_headers(self) -> None:
        """Set the headers that every page has."""
        super().set_default_headers()
        self.set_header("Content-Type", "text/html; charset=utf-8")

    async def prepare(self) -> None:
        """Identify the person, or send them to the hub to sign in."""
        self.caller = await self.identify()
        if self.caller is None:
            # Even while the books are closed: the hub takes a 503 here for a failed start.
            if self.request.method == "GET":
                self.redirect(self.get_login_url())
                return
            raise Problem(
                403,
                "not_signed_in",
                _("You have been signed out meanwhile; nothing was done."),
                remedy=_("Reload the page, sign in and send the form again."),
            )
        await self.speak_as_chosen(self.caller)

    async def speak_as_chosen(self, caller: Caller) -> None:
        """Go on in the language and the zone that the person has chosen, where they have."""
        try:
            settings = self.ledger.member_settings
            chosen, zone = await self.service.workers.read(
                settings.speech_of, caller.name, caller.created
            )
        except (Problem, DatabaseProblem, SQLAlchemyError):
            return  # the page itself will say what is wrong with the books
        if chosen is not None:
            i18n.speak(chosen)
        show_in(zone)

    @property
    def person(self) -> Caller:
        """The caller, known since `prepare`."""
        assert self.caller is not None, "prepare() lets nobody else through"
        return self.caller

    def show(self, template: str, status: int = 200, **values: Any) -> None:
        """Answer with a page."""
        page = self.service.templates.get_template(template)
        shown = page.render(
            caller=self.caller,
            active=self.active,
            area=self.area,
            language=i18n.language(),
            flash=self._take_flash(),
            xsrf=self.form_token(),
            **values,
        )
        self.set_status(status)
        # Here rather than at the start: tornado clears all headers before it writes an error.
        self.set_header("Content-Security-Policy", content_security_policy(self.service.settings))
        self.finish(shown)

    def write_problem(self, problem: Problem) -> None:
        """Answer with an error page, with the navigation to what is open to the reader."""
        if self.caller is not None and not self.caller.may_read_all:
            self.area = "member"
        self.show("error.html", problem.status, problem=problem)

    def redirect_with(self, path: str, message: str) -> None:
        """Redirect to `path` under our prefix, and say `message` there once."""
        settings = self.service.settings
        self.set_secure_cookie(
            _FLASH, message, expires_days=None, path=settings.base_url, httponly=True,
            samesite="Lax",
        )  # fmt: skip
        self.redirect(settings.base_url + path, status=303)

    def field(self, name: str) -> str:
        """Return a form's field without the blanks around it."""
        return str(self.get_body_argument(name, "")).strip()

    def _take_flash(self) -> str:
        message = self.get_secure_cookie(_FLASH)
        if not message:
            return ""
        self.clear_cookie(_FLASH, path=self.service.settings.base_url)
        return message.decode("utf-8", "replace")

    def form_token(self) -> str:
        """Return what a form has to send along, empty for whoever is not signed in."""
        if self.caller is None:
            return ""  # nobody who is not signed in gets a form
        token: bytes | str = self.xsrf_token
        return token.decode() if isinstance(token, bytes) else token
