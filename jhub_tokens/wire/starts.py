"""Choosing and starting: offers, admissions and refusals."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from jhub_tokens.wire.base import Amount, Identity, Key, Name, Wire
from jhub_tokens.wire.standing import Standing

__all__ = [
    "Admission",
    "AdmitRequest",
    "Alternative",
    "Availability",
    "HardwareModel",
    "ImageChoice",
    "NodePool",
    "Offer",
    "Offers",
    "OffersRequest",
    "PayerChoice",
    "PoolAvailability",
    "Refusal",
    "RefusalCode",
    "Toleration",
]

RefusalCode = Literal[
    "balance",  # the balance cannot carry the start
    "plan",  # the member's plan does not include this profile
    "limit",  # too many servers at once
    "gpus",  # too many GPUs at once
    "spending_limit",  # what may be spent in a day or a week
    "team_cap",  # what the member may spend of a team's tokens
    "unknown_team",
    "not_in_team",
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
    files: bool = False  # opens their files and nothing else


class Refusal(Wire):
    """Why a start is refused, when that changes and what to do instead."""

    code: RefusalCode
    message: str  # one or two sentences for the member, complete in themselves
    missing: Amount | None = None
    resets_at_ms: int | None = None
    resets_at: str | None = None  # the same instant for people, in the billing zone
    alternatives: list[Alternative] = []
    remedy: str = ""  # what the member can do, e.g. how to top up


class PoolAvailability(Wire):
    """What a pool of nodes has for one profile now."""

    pool: str
    title: str
    gpu_model: str | None = None
    free: int  # servers of this profile that would find a place now
    total: int  # that many if the nodes were empty
    nodes: int  # those that can be used
    waiting: int = 0  # servers that wait for a place in this pool
    waiting_reason: str = ""  # for people: what they wait for
    expected_wait_s: int | None = None  # while nothing is free; None: not known


class Availability(Wire):
    """Where a profile would find a place now, as seen a moment ago."""

    pools: list[PoolAvailability]
    text: str  # "2 of 4 free now"
    alternatives: list[Alternative] = []  # while nothing is free: open to this member, with a place


class HardwareModel(Wire):
    """The hardware of a profile."""

    cpu: float
    memory_bytes: int
    gpus: int = 0
    gpu_models: list[str] = []
    spot: bool = False  # its nodes may be taken away at short notice
    text: str  # "4 cores · 8 GB"


class ImageChoice(Wire):
    """An image version that can be chosen for a profile."""

    tag: str
    title: str
    lifecycle: Literal["recommended", "maintained", "retiring", "retired"]
    until: str | None = None  # ISO date on which a retiring image retires
    successor: str | None = None


class PayerChoice(Wire):
    """A wallet that would carry a start of a profile now."""

    payer: str  # empty: the member's own; else the team
    title: str
    balance: Amount
    left: Amount | None = None  # what this member may still spend of a team's, if that is capped
    lasts_until_ms: int | None = None  # None: longer than can be foreseen
    lasts_until: str | None = None


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
    payers: list[PayerChoice] = []  # those that would carry it, the member's own first
    max_run_ms: int | None = None  # it is stopped after that, from ready on
    availability: Availability | None = None  # None: not known, or not to be looked at
    files: bool = False  # opens the member's files and nothing else
    idle_stop_ms: int | None = None  # it is stopped when nothing has used it for so long


class OffersRequest(Wire):
    """Ask what this member may start now."""

    member: Identity


class Offers(Wire):
    """All profiles, open and closed, with the member's standing."""

    standing: Standing
    offers: list[Offer]


class AdmitRequest(Wire):
    """Ask to start a server; the key makes a retry harmless."""

    hub: Name = "hub"
    member: Identity
    server_name: Annotated[str, StringConstraints(max_length=255)] = ""
    start_key: Key
    profile: Annotated[str, StringConstraints(max_length=200)]
    image: Annotated[str, StringConstraints(max_length=200)] | None = None
    gpu_model: Annotated[str, StringConstraints(max_length=200)] | None = None
    #: The team that pays; missing: the member.
    payer: Annotated[str, StringConstraints(max_length=200)] | None = None
    #: Stop it after that, from ready on; within what the profile allows.
    max_run_ms: Annotated[int, Field(ge=60_000, le=366 * 86_400_000)] | None = None


class Toleration(Wire):
    """A taint that does not keep a server off a node; what is missing matches all."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: int | None = None


class NodePool(Wire):
    """The nodes that a start goes to, for spawners that know nodes."""

    pool: str
    title: str
    gpu_model: str | None = None
    selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    affinity: dict[str, Any] = {}  # as Kubernetes writes it
    gpu_resource: str = "nvidia.com/gpu"
    spot: bool = False
    priority_class: str | None = None
    runtime_class: str | None = None


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
    pool: NodePool | None = None  # None: the profile names none
    shm_bytes: int | None = None  # size of /dev/shm; None: as it comes
    restored_claims: list[str] = []  # volumes of the member beside the workspace
    workspace_bytes: int | None = None  # size of the member's volume; None: the spawner's own
    environment: dict[str, str] = {}
    authorized_keys: list[str] = []  # the member's SSH public keys, for an authorized_keys file
    files: bool = False  # no kernels, no terminals
    stop_time_ms: int | None = None  # what stopping it may take; None: not known
    balance: Amount
    shadow_refusal: Refusal | None = None  # what would have been said if rules were enforced
