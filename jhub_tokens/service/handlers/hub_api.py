"""The hub side's routes."""

from __future__ import annotations

from jhub_tokens.service import admissions, oversight
from jhub_tokens.service.handlers.api import HubSideHandler
from jhub_tokens.service.models import Nothing, StopsQuery
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import (
    Admission,
    AdmitRequest,
    HubFigures,
    Offers,
    OffersRequest,
    OverviewRequest,
    Snapshot,
    SnapshotReceipt,
    Standing,
    StopOrders,
)

__all__ = [
    "AdmissionsHandler",
    "FiguresHandler",
    "OffersHandler",
    "OverviewHandler",
    "SnapshotsHandler",
    "StopsHandler",
]


class OverviewHandler(HubSideHandler):
    """A member's standing."""

    @operation(summary="A hub user's standing", access="hub", body=OverviewRequest, answer=Standing)
    async def post(self, *, body: OverviewRequest) -> Standing:
        """Return the standing of a hub user, who becomes a member if not one yet."""
        return await admissions.overview(self.service, body.member)


class OffersHandler(HubSideHandler):
    """What a member may start."""

    @operation(
        summary="What a hub user may start now", access="hub", body=OffersRequest, answer=Offers
    )
    async def post(self, *, body: OffersRequest) -> Offers:
        """Return every profile, open or closed with the reason, and the standing."""
        return await admissions.offers(self.service, body.member)


class AdmissionsHandler(HubSideHandler):
    """The gate."""

    @operation(
        summary="Admit a start",
        access="hub",
        body=AdmitRequest,
        answer=Admission,
        status=201,
        errors={
            403: "Refused: balance, plan, limit or frozen; `refusal` says everything",
            404: "Refused: no such profile",
            409: "Refused: this start was cancelled",
            422: "Refused: no such image or choice; or the request is not valid",
        },
    )
    async def post(self, *, body: AdmitRequest) -> Admission:
        """Admit a start, or refuse it with the reason and what to do instead.

        The start key makes a retry harmless: the same key gets the same session.
        """
        return await admissions.admit(self.service, body)


class SnapshotsHandler(HubSideHandler):
    """What the hub sees."""

    body_bytes_max = 64 << 20

    @operation(
        summary="Push what the hub sees", access="hub", body=Snapshot, answer=SnapshotReceipt
    )
    async def post(self, *, body: Snapshot) -> SnapshotReceipt:
        """Book a complete snapshot of the hub's servers; repeating one does nothing twice."""
        return await admissions.take_snapshot(self.service, body)


class StopsHandler(HubSideHandler):
    """Stop orders, as soon as they are written."""

    @operation(summary="Wait for stop orders", access="hub", query=StopsQuery, answer=StopOrders)
    async def get(self, *, query: StopsQuery) -> StopOrders:
        """Return the standing stop orders.

        Answers at once if one of them is not among `known`, otherwise as soon as a new one is
        written, at the latest after `wait_ms`.
        """
        return await admissions.stops(self.service, query.known, query.wait_ms)


class FiguresHandler(HubSideHandler):
    """The strip on the hub's own admin page."""

    @operation(summary="The key figures", access="hub", body=Nothing, answer=HubFigures)
    async def post(self, *, body: Nothing) -> HubFigures:
        """Return how much runs and burns, what runs dry within an hour, and who is low."""
        return await oversight.hub_figures(self.service)
