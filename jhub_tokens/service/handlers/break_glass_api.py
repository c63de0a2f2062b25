"""Routes of break-glass: the hub's catalogue and report, the administrators' list."""

from __future__ import annotations

from jhub_tokens.service import break_glass
from jhub_tokens.service.handlers.api import HubSideHandler, PeopleHandler
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import BreakGlassList, BreakGlassReceipt, BreakGlassReport, HubCatalogue

__all__ = ["BreakGlassActsHandler", "BreakGlassReportHandler", "HubCatalogueHandler"]


class HubCatalogueHandler(HubSideHandler):
    """What the hub keeps for the time without the service."""

    @operation(
        summary="What the hub keeps for when it cannot ask", access="hub", answer=HubCatalogue
    )
    async def get(self) -> HubCatalogue:
        """Return profiles, images, teams and who is frozen."""
        return await break_glass.hub_catalogue(self.service)


class BreakGlassReportHandler(HubSideHandler):
    """What was let through meanwhile."""

    body_bytes_max = 64 << 20

    @operation(
        summary="Tell what was let through",
        access="hub",
        body=BreakGlassReport,
        answer=BreakGlassReceipt,
    )
    async def post(self, *, body: BreakGlassReport) -> BreakGlassReceipt:
        """Book acts and starts of the time without the service; repeating does nothing twice."""
        return await break_glass.take(self.service, body)


class BreakGlassActsHandler(PeopleHandler):
    """Acts, for administrators."""

    @operation(summary="Who let starts through", access="read", answer=BreakGlassList)
    async def get(self) -> BreakGlassList:
        """Return the latest acts of break-glass, newest first, with the starts of each."""
        return await break_glass.acts(self.service, self.person)
