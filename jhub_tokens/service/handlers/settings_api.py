"""Members' own routes for how they want to be told."""

from __future__ import annotations

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.service import members, preferences
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import EmailOrder, SettingsOrder, SettingsView

__all__ = ["EmailHandler", "SettingsHandler"]

_NOBODY = {404: "The caller is no member yet"}


class _OwnHandler(PeopleHandler):
    """About the caller's own settings."""

    async def own_to_change(self) -> MemberRecord:
        """Return the caller's membership, if the caller may change its settings."""
        if not self.person.may_change_own:
            raise Problem(
                403,
                "forbidden",
                _("You may not do this."),
                remedy=_("Use the page Settings, or a token with all of your own rights."),
            )
        return await members.own_member(self.service, self.person)


class SettingsHandler(_OwnHandler):
    """The caller's settings."""

    @operation(summary="Own settings", access="own", answer=SettingsView, errors=_NOBODY)
    async def get(self) -> SettingsView:
        """Return language, display zone, channels and address of the caller."""
        member = await members.own_member(self.service, self.person)
        return await preferences.current(self.service, member)

    @operation(
        summary="Change own settings",
        access="own",
        body=SettingsOrder,
        answer=SettingsView,
        errors=_NOBODY,
    )
    async def post(self, *, body: SettingsOrder) -> SettingsView:
        """Set everything but the address."""
        return await preferences.change(self.service, await self.own_to_change(), body)


class EmailHandler(_OwnHandler):
    """The caller's address."""

    @operation(
        summary="Change own address",
        access="own",
        body=EmailOrder,
        answer=SettingsView,
        errors={
            **_NOBODY,
            409: "This hub sends no e-mail",
            429: "Too many messages were sent to confirm an address",
            502: "The mail server did not take the message",
        },
    )
    async def post(self, *, body: EmailOrder) -> SettingsView:
        """Send a link to a new address, which holds once it is opened; None forgets it."""
        member = await self.own_to_change()
        if body.email is None:
            return await preferences.remove_email(self.service, member)
        return await preferences.ask_email(self.service, member, body.email.strip())
