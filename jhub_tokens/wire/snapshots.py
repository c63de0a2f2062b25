"""The agent's snapshots, their receipts and stop orders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from jhub_tokens.wire.base import INT64_MAX, AgeMs, Identity, Key, Name, Wire

__all__ = [
    "EndSeen",
    "ServerSeen",
    "SessionKnown",
    "Snapshot",
    "SnapshotReceipt",
    "StopFailed",
    "StopOrder",
    "StopOrders",
]

#: A message that took no longer than this was not held up.
TRANSIT_MS_MAX = 1_000


class ServerSeen(Wire):
    """One server as the hub sees it at the snapshot."""

    member: Identity
    server_name: str = ""
    start_key: Key | None = None  # None: a server that we did not start (adopted)
    started: str | None = None  # the hub's own start time, the crash-safe part of the key
    ready_age_ms: AgeMs | None = None  # None while starting; age of "first reported ready"
    alive_age_ms: AgeMs | None = None  # age of the last poll that found it alive; None: never
    active_age_ms: AgeMs | None = None  # how long ago the hub last saw it in use; None: not known
    profile: str | None = None  # from the user options, for adoption


class EndSeen(Wire):
    """The observed end of a server; repeated until a receipt names it."""

    start_key: Key
    ready_age_ms: AgeMs | None = None  # None: it never became ready, and costs nothing
    ended_age_ms: AgeMs
    reason: Literal["stopped", "exited", "failed", "cancelled", "lost"] = "stopped"
    detail: Annotated[str, StringConstraints(max_length=500)] = ""


class StopFailed(Wire):
    """A stop order that could not be carried out; it stands and is tried again."""

    order_id: str
    detail: Annotated[str, StringConstraints(max_length=500)] = ""


class Snapshot(Wire):
    """All servers that the hub knows of, complete, with facts since the last receipt."""

    hub: Name = "hub"
    epoch: Key  # one per hub process
    sequence: Annotated[int, Field(ge=0, le=INT64_MAX)]
    age_ms: AgeMs = 0  # how long ago the list of servers was taken
    # The service's own clock when this left, reckoned by the hub from the last receipt.
    sent_at_ms: Annotated[int, Field(ge=0, le=INT64_MAX)] | None = None
    servers: Annotated[list[ServerSeen], Field(max_length=200_000)] = []
    ended: Annotated[list[EndSeen], Field(max_length=200_000)] = []
    cancelled: Annotated[list[Key], Field(max_length=200_000)] = []
    members: Annotated[list[Identity], Field(max_length=200_000)] = []
    failed_stops: list[StopFailed] = []

    def counted_to(self, now_ms: int) -> Snapshot:
        """Return this snapshot with its ages counted to `now_ms` on the service's clock.

        Ages hold for the instant at which the message left. One that waited for a service
        that was suspended would otherwise prove life, or an end, that much too late.
        """
        late_ms = 0 if self.sent_at_ms is None else now_ms - self.sent_at_ms
        if late_ms <= TRANSIT_MS_MAX:
            return self

        def later(age_ms: int | None) -> int | None:
            return None if age_ms is None else age_ms + late_ms

        return self.model_copy(
            update={
                "age_ms": self.age_ms + late_ms,
                "servers": [
                    server.model_copy(
                        update={
                            "ready_age_ms": later(server.ready_age_ms),
                            "alive_age_ms": later(server.alive_age_ms),
                            "active_age_ms": later(server.active_age_ms),
                        }
                    )
                    for server in self.servers
                ],
                "ended": [
                    end.model_copy(
                        update={
                            "ready_age_ms": later(end.ready_age_ms),
                            "ended_age_ms": end.ended_age_ms + late_ms,
                        }
                    )
                    for end in self.ended
                ],
            }
        )


class SessionKnown(Wire):
    """What the service knows of one server of the snapshot."""

    hub_user_id: int
    created: str
    server_name: str
    start_key: str  # given to an adopted server, echoed for the others
    session_id: str
    stop_in_ms: int | None = None  # fail-safe: stop then even if the service is away
    keys_digest: str | None = (
        None  # of the member's SSH keys; differs from what the server has: ask
    )


class StopOrder(Wire):
    """An order to stop one session's server; it stands until the session has ended."""

    order_id: str
    session_id: str
    start_key: str
    hub_user_id: int
    created: str
    name: str
    server_name: str
    reason: str  # for the member
    issued_at_ms: int


class SnapshotReceipt(Wire):
    """Confirms a snapshot: facts in it need not be sent again."""

    at_ms: int | None = None  # the service's clock, for the next snapshot's `sent_at_ms`
    sessions: list[SessionKnown] = []
    ended: list[str] = []  # start keys whose ends are booked
    cancelled: list[str] = []
    stops: list[StopOrder] = []


class StopOrders(Wire):
    """The stop orders that stand."""

    stops: list[StopOrder]
