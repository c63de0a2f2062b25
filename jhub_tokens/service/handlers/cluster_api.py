"""The route of the cluster observer."""

from __future__ import annotations

from jhub_tokens.service.cluster.view import cluster_view
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import ClusterView

__all__ = ["ClusterHandler"]


class ClusterHandler(PeopleHandler):
    """The cluster, for administrators."""

    @operation(summary="What the cluster observer sees", access="read", answer=ClusterView)
    async def get(self) -> ClusterView:
        """Return watches, pools with what is free, and pods that run without a session.

        Each replica answers with what it sees itself.
        """
        return cluster_view(self.service, self.person)
