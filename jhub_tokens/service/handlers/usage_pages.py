"""A member's page of usage: charts, the heat map of hours, the dearest sessions."""

from __future__ import annotations

from jhub_tokens.service import members, usage
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.service.models import UsageQuery
from jhub_tokens.service.operations import query_values

__all__ = ["UsagePage"]


class UsagePage(PageHandler):
    """What the signed-in member's servers consumed."""

    active = "usage"

    async def get(self) -> None:
        """Show one period, or the three or twelve that end with it."""
        query = UsageQuery.model_validate(query_values(UsageQuery, self.request))
        member = await members.own_member(self.service, self.person)
        view = await usage.usage_page(self.service, member, query)
        self.show("member/usage.html", view=view, member=None)
