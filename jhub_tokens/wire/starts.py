"""Choosing and starting: offers, admissions and refusals."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from jhub_tokens.wire.base import Amount, Identity, Key, Name, Wire
from jhub_tokens.wire.standing import Standing

__all__ = [
    "Admission",
    "AdmitRequest",
    "Alternative",
    "HardwareModel",
    "ImageChoice",
    "Offer",
    "Offers",
    "OffersRequest",
    "PayerChoice",
    "Refusal",
    "RefusalCode",
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
