"""What the hub's pages ask for: a member's standing, fetched when a page is rendered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tornado.log import app_log

from jhub_tokens import wire
from jhub_tokens.hub import runtime
from jhub_tokens.hub.client import Refused, ServiceUnavailable
from jhub_tokens.hub.identity import identity_of
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens

__all__ = ["PageView"]


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

    async def standing(self, user: Any) -> wire.Standing | None:
        """Return a hub user's standing, None if it cannot be had.

        Who may see it is for the page to say.
        """
        hub = runtime.current()
        hub.agent.ensure_started()
        try:
            return await hub.client.overview(wire.OverviewRequest(member=identity_of(user)))
        except (ServiceUnavailable, Refused) as error:
            app_log.warning("No balance for the page of %s: %s", user.name, error)
            return None

    @staticmethod
    def rate(rate_mtok_h: int) -> str:
        """Return a rate in tokens per hour for people."""
        return format_tokens(rate_mtok_h * GRAINS_PER_MILLITOKEN, places=3)
