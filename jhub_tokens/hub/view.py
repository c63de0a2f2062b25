"""What the hub's pages ask for: a member's standing, the plans to show, and where things are.

All of it is asked for while a page is rendered, and in the language of that page.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from jinja2 import pass_context
from jinja2.runtime import Context
from tornado.log import app_log

from jhub_tokens import i18n, wire
from jhub_tokens.hub import runtime
from jhub_tokens.hub.assets import asset_url
from jhub_tokens.hub.client import Refused, ServiceUnavailable
from jhub_tokens.hub.identity import identity_of
from jhub_tokens.hub.languages import remember_language
from jhub_tokens.hub.translating import handler_of, page_language
from jhub_tokens.shop_window import PlanCard, listed_plans, plan_cards
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens
from jhub_tokens.words import Hardware, rate_text

__all__ = ["PageView", "Window"]


class Window(NamedTuple):
    """What the sign-in page shows of the catalogue."""

    title: str
    welcome: str
    announcement: str
    plans: list[PlanCard]


class LanguageChoice(NamedTuple):
    """One of the languages to switch to."""

    tag: str
    name: str
    url: str
    chosen: bool


class PageView:
    """The template variable ``jhub_tokens``.

    The hub renders its pages with an asynchronous Jinja environment, so that a template simply
    calls `standing`; pages that the hub renders synchronously (its error pages) must not.
    """

    @property
    def console_url(self) -> str:
        """URL of a member's balance and statement."""
        return runtime.current().console_url

    @property
    def members_url(self) -> str:
        """URL of the admins' list of members."""
        return f"{self.console_url}admin"

    @property
    def service_name(self) -> str:
        """The name of the token service in the hub."""
        return runtime.current().settings.service_name

    @property
    def break_glass(self) -> dict[str, str] | None:
        """What goes through unasked now, for a banner; known already, so error pages may ask."""
        glass = runtime.current().glass
        act = glass.act
        if act is None:
            return None
        until = datetime.fromtimestamp(act.until_ms / 1000).astimezone()
        charged = glass.catalogue is None or glass.catalogue.charged
        return {
            "until": until.strftime("%H:%M %Z"),
            "actor": act.actor,
            "reason": act.reason,
            "charged": "yes" if charged else "",
        }

    @pass_context
    async def standing(self, context: Context, user: Any) -> wire.Standing | None:
        """Return a hub user's standing, None if it cannot be had.

        Who may see it is for the page to say.
        """
        hub = runtime.current()
        hub.agent.ensure_started()
        try:
            with i18n.speaking(page_language(context)):
                found = await hub.client.overview(wire.OverviewRequest(member=identity_of(user)))
        except (ServiceUnavailable, Refused) as error:
            app_log.warning("No balance for the page of %s: %s", user.name, error)
            return None
        remember_language(user.name, found.language)
        return found

    @pass_context
    async def figures(self, context: Context) -> wire.HubFigures | None:
        """Return the key figures, None if they cannot be had; for administrators only."""
        try:
            with i18n.speaking(page_language(context)):
                return await runtime.current().client.figures()
        except (ServiceUnavailable, Refused) as error:
            app_log.warning("No key figures for the admin page: %s", error)
            return None

    @pass_context
    async def window(self, context: Context) -> Window:
        """Return what people see before they sign in; it needs no token service."""
        with i18n.speaking(page_language(context)):
            return await _window()

    @pass_context
    def languages(self, context: Context) -> list[LanguageChoice]:
        """Return the languages to switch to, each with its address."""
        handler, now = handler_of(context), page_language(context)
        uri = getattr(getattr(handler, "request", None), "uri", "")
        path = f"{context.get('base_url', '/hub/')}language"
        return [
            LanguageChoice(
                i18n.TAGS[code], name, f"{path}?{urlencode({'to': code, 'next': uri})}", code == now
            )
            for code, name in i18n.LANGUAGES.items()
        ]

    @staticmethod
    def asset(name: str) -> str:
        """Return the address of one of our style sheets or scripts."""
        return asset_url(name)

    @staticmethod
    @pass_context
    def rate(context: Context, rate_mtok_h: int) -> str:
        """Return a rate in tokens per hour for people."""
        with i18n.speaking(page_language(context)):
            return rate_text(rate_mtok_h)

    @staticmethod
    def number(rate_mtok_h: int) -> str:
        """Return a rate's bare number of tokens per hour."""
        return format_tokens(rate_mtok_h * GRAINS_PER_MILLITOKEN, places=3)


async def _window() -> Window:
    """Read the window from the hub's own file, else from what the service last told of its own."""
    app = runtime.hub_app()
    read = getattr(getattr(app, "authenticator", None), "catalogue", None)
    catalogue = await read() if read is not None else None
    profiles: Mapping[str, tuple[str, int, Hardware]]
    if catalogue is not None:
        catalogue = catalogue.spoken()
        profiles = {
            name: (profile.title, profile.rate_mtok_h, profile)
            for name, profile in catalogue.profiles.items()
        }
        return Window(
            catalogue.title,
            i18n.spoken(catalogue.welcome),
            i18n.spoken(catalogue.announcement),
            plan_cards(listed_plans(catalogue), profiles),
        )
    known = runtime.current().glass.catalogue
    if known is None:
        return Window("", "", "", [])
    profiles = {
        profile.profile: (profile.spoken().title, profile.rate_mtok_h, profile.hardware)
        for profile in known.profiles
    }
    return Window(
        known.spoken().title,
        i18n.spoken(known.welcome),
        i18n.spoken(known.announcement),
        plan_cards(known.plans, profiles),
    )
