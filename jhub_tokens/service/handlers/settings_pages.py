"""A member's page of settings: language, display zone, e-mail, and taking one's data along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from zoneinfo import available_timezones

from pydantic import ValidationError

from jhub_tokens import i18n
from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import LedgerError, MemberRecord
from jhub_tokens.service import preferences
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.handlers.account_page import AccountPage
from jhub_tokens.service.views import local_date
from jhub_tokens.service.zones import display_zone
from jhub_tokens.wire import SettingsOrder

__all__ = [
    "ConfirmEmailPage",
    "EmailPage",
    "EmailRemovePage",
    "ExportPage",
    "SettingsChangePage",
    "SettingsPage",
]


#: The choice of a language that leaves it to the browser.
BROWSER = "browser"


class _OwnPage(AccountPage):
    """A page about the signed-in member's own settings."""

    active = "settings"

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
            languages=i18n.LANGUAGES,
            browser=BROWSER,
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
        member, language = await self.own(), self.field("language")
        follows = language == BROWSER
        if follows:  # what is sent while no browser is there is in the one of today's
            language = i18n.negotiated(self.request.headers.get("Accept-Language", ""))
        try:
            order = SettingsOrder.model_validate(
                {
                    "language": language,
                    "follows_browser": follows,
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
            text = (
                problem.message if isinstance(error, Problem) else _("Choose one of those listed.")
            )
            kept = {name: self.field(name) for name in ("language", "zone", "urgency")}
            await self.show_settings(member, status=422, errors={field: text}, kept=kept)
            return
        i18n.speak(language)
        self.redirect_with("settings", _("Your settings are saved."))


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
            "settings",
            _(
                "A message is on its way to %(address)s: open the link in it to confirm.",
                address=address,
            ),
        )


class EmailRemovePage(_OwnPage):
    """The target of the form that forgets the address."""

    async def post(self) -> None:
        """Forget it."""
        await preferences.remove_email(self.service, await self.own())
        self.redirect_with("settings", _("Your address is removed; notices are shown here only."))


class ExportPage(_OwnPage):
    """Everything the books hold about the signed-in member, to take along."""

    async def get(self) -> None:
        """Answer with a file of JSON."""
        member, service = await self.own(), self.service
        ledger = service.books.ledger

        def written() -> bytes:
            exported = {
                "format": "jhub-tokens own data",
                "version": 1,
                "exported_at_ms": service.clock.now_ms(),
                "units": {"grains": "1 token = 3,600,000,000 grains", "ms": "Unix milliseconds"},
                "tables": ledger.own_data(member.member_id),
            }
            return json.dumps(exported, ensure_ascii=False, indent=1, default=str).encode()

        content = await service.workers.read(written)
        day = local_date(service.clock.now_ms(), display_zone(service.books.catalogue.zone))
        self.set_header("Content-Type", "application/json; charset=utf-8")
        name = f"jhub-tokens-{day.isoformat()}.json"
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.finish(content)


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
        self.redirect_with(
            "settings", _("Notices are sent to %(address)s from now on.", address=chosen.email)
        )
