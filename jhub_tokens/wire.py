"""What travels between the hub, the token service and its API's callers.

Both sides import these models, and the OpenAPI description is generated from them, so they
cannot drift apart. Conventions: an amount travels as a string of grains with rounded tokens
beside it for people; an instant is an integer of milliseconds since the epoch on the *service's*
clock and its name ends in ``_ms``; what the hub has seen travels as an *age* in milliseconds,
measured on the hub's monotonic clock when the message leaves, so that two machines' clocks
never need to agree.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from jhub_tokens.units import format_tokens, grains_to_tokens

__all__ = [
    "Admission",
    "AdmitRequest",
    "Alternative",
    "Amount",
    "EndSeen",
    "ErrorBody",
    "GrantOrder",
    "GrantReceipt",
    "HardwareModel",
    "Identity",
    "ImageChoice",
    "MemberPage",
    "MemberRow",
    "MemberState",
    "NoticeItem",
    "Offer",
    "Offers",
    "OffersRequest",
    "OverviewRequest",
    "Refusal",
    "RefusalCode",
    "RunningSession",
    "ServerSeen",
    "SessionKnown",
    "Snapshot",
    "SnapshotReceipt",
    "Standing",
    "Statement",
    "StatementLine",
    "StopFailed",
    "StopOrder",
    "StopOrders",
]

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Key = Annotated[str, StringConstraints(min_length=8, max_length=200, pattern=r"^[\x21-\x7e]+$")]
INT64_MAX = 2**63 - 1  # what both databases hold
AgeMs = Annotated[int, Field(ge=0, le=10 * 366 * 86_400_000)]
#: A message that took no longer than this was not held up.
TRANSIT_MS_MAX = 1_000


class Wire(BaseModel):
    """Base of all bodies: unknown fields are refused, values are not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Amount(Wire):
    """An exact amount with its rounding for people."""

    grains: Annotated[str, StringConstraints(pattern=r"^-?\d{1,20}$")]
    tokens: str

    @classmethod
    def of(cls, grains: int) -> Amount:
        """Return the amount of `grains`."""
        return cls(grains=str(grains), tokens=f"{grains_to_tokens(grains):f}")

    @property
    def exact_grains(self) -> int:
        """The amount as an integer of grains."""
        return int(self.grains)

    def __str__(self) -> str:
        return format_tokens(self.exact_grains)


class Identity(Wire):
    """A hub user: stable across renames, distinct after delete-and-recreate."""

    hub_user_id: Annotated[int, Field(ge=0, le=INT64_MAX)]
    created: Name  # ISO 8601 as the hub's own API writes it; SQLite reuses ids, hence both
    name: Name
    groups: list[str] = []
    admin: bool = False


# --- choosing and starting -------------------------------------------------------------------

RefusalCode = Literal[
    "balance",  # the balance cannot carry the start
    "plan",  # the member's plan does not include this profile
    "limit",  # too many servers at once
    "frozen",  # the membership is frozen
    "unknown_profile",
    "unknown_image",
    "retired_image",
    "bad_choice",  # an option that the offer does not have
    "cancelled",  # this very start was cancelled before
    "unavailable",  # the token service cannot be reached or cannot open its books
]


class Alternative(Wire):
    """A profile that this member could start instead, now."""

    profile: str
    title: str
    rate_mtok_h: int
    lasts_until_ms: int | None = None


class Refusal(Wire):
    """Why a start is refused, when that changes and what to do instead."""

    code: RefusalCode
    message: str  # one or two sentences for the member, complete in themselves
    missing: Amount | None = None
    resets_at_ms: int | None = None
    resets_at: str | None = None  # the same instant for people, in the billing zone
    alternatives: list[Alternative] = []
    remedy: str = ""  # what the member can do, e.g. how to top up


class HardwareModel(Wire):
    """The hardware of a profile."""

    cpu: float
    memory_bytes: int
    gpus: int = 0
    gpu_models: list[str] = []
    text: str  # "4 cores · 8 GB"


class ImageChoice(Wire):
    """An image version that can be chosen for a profile."""

    tag: str
    title: str
    lifecycle: Literal["recommended", "maintained", "retiring", "retired"]
    until: str | None = None  # ISO date on which a retiring image retires
    successor: str | None = None


class Offer(Wire):
    """A profile for this member now: open, or closed with the reason."""

    profile: str
    title: str
    description: str = ""
    hardware: HardwareModel
    rate_mtok_h: int
    rate: str  # "10 tokens/h"
    images: list[ImageChoice]
    open: bool
    refusal: Refusal | None = None
    lasts_until_ms: int | None = None  # None while open: longer than can be foreseen
    lasts_until: str | None = None  # for people, in the billing zone
    lasts_ms: int | None = None


class OffersRequest(Wire):
    """Ask what this member may start now."""

    member: Identity


class RunningSession(Wire):
    """A server that is metered or about to be."""

    session_id: str
    server_name: str
    profile: str
    title: str
    rate_mtok_h: int
    admitted_at_ms: int
    ready_at_ms: int | None
    cost: Amount  # to the instant of the answer, projected beyond proof of life


class NoticeItem(Wire):
    """Something the member should know, shown once in the console."""

    notice_id: str
    kind: str
    severity: Literal["info", "warning", "danger"]
    text: str
    created_at_ms: int
    created_at: str


class Standing(Wire):
    """A member's balance and what burns it, at one instant."""

    member_id: str
    name: str
    state: Literal["active", "frozen"]
    plan: str
    plan_title: str
    balance: Amount
    allotment: Amount  # of the current period
    used: Amount  # consumed in the current period
    period_start_ms: int
    period_end_ms: int
    period_end: str  # for people, in the billing zone
    burn_mtok_h: int
    runs_out_at_ms: int | None  # None: nothing running, or not before the next period's end
    runs_out_at: str | None
    sessions: list[RunningSession]
    notices: list[NoticeItem]
    as_of_ms: int
    zone: str
    banner: str = ""  # the catalogue's own remark, e.g. that demo rates are higher
    enforced: bool = True


class OverviewRequest(Wire):
    """Ask for a member's standing, from the hub side."""

    member: Identity


class Offers(Wire):
    """All profiles, open and closed, with the member's standing."""

    standing: Standing
    offers: list[Offer]


class AdmitRequest(Wire):
    """Ask to start a server; the key makes a retry harmless."""

    member: Identity
    server_name: Annotated[str, StringConstraints(max_length=255)] = ""
    start_key: Key
    profile: Annotated[str, StringConstraints(max_length=200)]
    image: Annotated[str, StringConstraints(max_length=200)] | None = None
    gpu_model: Annotated[str, StringConstraints(max_length=200)] | None = None


class Admission(Wire):
    """An admitted start and what to start."""

    session_id: str
    start_key: str
    profile: str
    title: str
    rate_mtok_h: int
    hardware: HardwareModel
    gpu_model: str | None = None
    image: ImageChoice | None = None
    image_reference: str | None = None
    node_selector: dict[str, str] = {}
    environment: dict[str, str] = {}
    balance: Amount
    shadow_refusal: Refusal | None = None  # what would have been said if rules were enforced


# --- the agent's snapshots -------------------------------------------------------------------


class ServerSeen(Wire):
    """One server as the hub sees it at the snapshot."""

    member: Identity
    server_name: str = ""
    start_key: Key | None = None  # None: a server that we did not start (adopted)
    started: str | None = None  # the hub's own start time, the crash-safe part of the key
    ready_age_ms: AgeMs | None = None  # None while starting; age of "first reported ready"
    alive_age_ms: AgeMs | None = None  # age of the last poll that found it alive; None: never
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
                        }
                    )
                    for server in self.servers
                ],
                "ended": [
                    end.model_copy(update={"ended_age_ms": end.ended_age_ms + late_ms})
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


class SnapshotReceipt(Wire):
    """Confirms a snapshot: facts in it need not be sent again."""

    at_ms: int | None = None  # the service's clock, for the next snapshot's `sent_at_ms`
    sessions: list[SessionKnown] = []
    ended: list[str] = []  # start keys whose ends are booked
    cancelled: list[str] = []
    stops: list[StopOrder] = []


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


class StopOrders(Wire):
    """The stop orders that stand."""

    stops: list[StopOrder]


SnapshotReceipt.model_rebuild()

# --- people's API ----------------------------------------------------------------------------


class StatementLine(Wire):
    """One line of a statement; `amount` is signed from the member's point of view."""

    at_ms: int
    at: str
    kind: str  # allotment, topup, adjustment, usage, expiry, rollover, refund, overrun, return
    text: str
    amount: Amount
    balance: Amount  # after this line
    tokens: str  # `amount` rounded so that the shown lines add up
    session_id: str | None = None
    profile: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    rate_mtok_h: int | None = None
    actor: str = ""
    reason: str = ""


class Statement(Wire):
    """Every token between two instants: opening + lines = closing."""

    member_id: str
    name: str
    period_start_ms: int
    period_end_ms: int
    period_start: str
    period_end: str
    as_of_ms: int
    opening: Amount
    lines: list[StatementLine]
    closing: Amount
    zone: str


class MemberRow(Wire):
    """A member in the admin's list."""

    member_id: str
    name: str
    state: MemberState
    plan: str
    balance: Amount
    allotment: Amount
    burn_mtok_h: int
    running: int
    runs_out_at_ms: int | None
    runs_out_at: str | None
    last_used_at_ms: int | None


MemberState = Literal["active", "frozen"]
MemberRow.model_rebuild()


class MemberPage(Wire):
    """One page of the admin's list."""

    members: list[MemberRow]
    total: int
    page: int
    page_size: int


class GrantOrder(Wire):
    """Give tokens to a member, or take them back (a negative amount), with a reason."""

    tokens: Annotated[str, StringConstraints(max_length=20)]
    reason: Annotated[str, StringConstraints(min_length=3, max_length=500)]
    kind: Literal["topup", "adjustment"] = "topup"
    key: Key  # the same key and body: the same answer; another body: refused


class GrantReceipt(Wire):
    """A booked grant."""

    transaction_id: str
    amount: Amount
    balance: Amount


class ErrorBody(Wire):
    """Every error of the API."""

    code: str
    message: str
    field: str | None = None
    remedy: str = ""
    refusal: Refusal | None = None
