"""A member's page of settings: language, display zone, e-mail, and confirming an address."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import available_timezones

from pydantic import ValidationError

from jhub_tokens.ledger.records import LedgerError, MemberRecord
from jhub_tokens.service import members, preferences
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.wire import SettingsOrder

__all__ = [
    "ConfirmEmailPage",
    "EmailPage",
    "EmailRemovePage",
    "SettingsChangePage",
    "SettingsPage",
]


class _OwnPage(PageHandler):
    """A page about the signed-in member's own settings."""

    active = "settings"

    async def own(self) -> MemberRecord:
        """Return the signed-in member, who is here in person."""
        if not self.person.may_change_own:
            raise Problem(403, "forbidden", "Only members themselves choose how they are told.")
        return await members.own_member(self.service, self.person)

    async def show_settings(
        self,
        member: MemberRecord,
        *,
        status: int = 200,
        errors: Mapping[str, str] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """Show the forms; `kept` is what was typed, `errors` what is wrong in it."""
        self.show(
            "settings.html",
            status,
            settings=await preferences.current(self.service, member),
            zones=sorted(available_timezones()),
            billing_zone=self.service.books.catalogue.zone,
            errors=errors or {},
            kept=kept or {},
        )


class SettingsPage(_OwnPage):
    """The forms."""

    async def get(self) -> None:
        """Show what the signed-in member has chosen."""
        await self.show_settings(await self.own())


class SettingsChangePage(_OwnPage):
    """The target of the form for language, zone and channels."""

    async def post(self) -> None:
        """Save, or show the form with what is wrong."""
        member = await self.own()
        try:
            order = SettingsOrder.model_validate(
                {
                    "language": self.field("language"),
                    "zone": self.field("zone") or None,
                    "channels": self.get_body_arguments("channels"),
                    "urgency": self.field("urgency") or "info",
                }
            )
            await preferences.change(self.service, member, order)
        except (ValidationError, Problem) as error:
            problem = problem_from(error)
            if problem.status != 422:
                raise
            field = (problem.field or "language").partition(".")[0]
            text = problem.message if isinstance(error, Problem) else "Choose one of those listed."
            await self.show_settings(
                member, status=422, errors={field: text}, kept={"zone": self.field("zone")}
            )
            return
        self.redirect_with("settings", "Your settings are saved.")


class EmailPage(_OwnPage):
    """The target of the form for an address."""

    async def post(self) -> None:
        """Send the link, or show the form with what is wrong."""
        member, address = await self.own(), self.field("email")
        try:
            await preferences.ask_email(self.service, member, address)
        except (LedgerError, Problem) as error:
            problem = problem_from(error)
            if problem.status in (403, 404, 500, 503):
                raise
            text = f"{problem.message} {problem.remedy}".strip()
            await self.show_settings(
                member, status=problem.status, errors={"email": text}, kept={"email": address}
            )
            return
        self.redirect_with(
            "settings", f"A message is on its way to {address}: open the link in it to confirm."
        )


class EmailRemovePage(_OwnPage):
    """The target of the form that forgets the address."""

    async def post(self) -> None:
        """Forget it."""
        await preferences.remove_email(self.service, await self.own())
        self.redirect_with("settings", "Your address is removed; notices are shown here only.")


class ConfirmEmailPage(_OwnPage):
    """Where the link in the message leads."""

    async def get(self) -> None:
        """Ask once more: what fetches links by itself must not confirm anything."""
        member, token = await self.own(), str(self.get_query_argument("token", ""))
        service = self.service
        address = preferences.address_of_token(
            service.settings, service.clock, member.member_id, token
        )
        self.show("confirm.html", address=address, token=token)

    async def post(self) -> None:
        """Let notices go to the address."""
        chosen = await preferences.confirm_email(
            self.service, await self.own(), self.field("token")
        )
        self.redirect_with("settings", f"Notices are sent to {chosen.email} from now on.")
