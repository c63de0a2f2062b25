"""What payment providers tell, in words that all of them share, and what the books make of it.

A fact never takes an earlier one back: "refunded so far" grows, "paid" stays, a dispute is won
for good. So the books can take facts in any order, late and more than once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Disputed",
    "FeeAccount",
    "FeeTold",
    "Invoice",
    "Paid",
    "PaymentEvent",
    "PaymentFact",
    "Refunded",
]


@dataclass(frozen=True, slots=True)
class Paid:
    """An invoice of ours was paid; `payment_ref` is the provider's name of the payment."""

    invoice_id: str
    payment_ref: str
    paid_minor: int  # in the currency's smallest unit
    currency: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """Of a payment, so much has been refunded in all."""

    payment_ref: str
    refunded_minor: int


@dataclass(frozen=True, slots=True)
class Disputed:
    """The payer's bank has taken money back; `won`: it came back to us."""

    payment_ref: str
    dispute_id: str
    amount_minor: int
    won: bool


@dataclass(frozen=True, slots=True)
class FeeTold:
    """Something about a plan's fee; who and what it is for may be told by another fact."""

    state: Literal["begun", "paid", "failed", "ended"]
    subscription_ref: str
    bill_ref: str = ""  # of the one fee that was paid or has failed
    member_id: str | None = None
    plan: str | None = None


PaymentFact = Paid | Refunded | Disputed | FeeTold


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """One delivery of a provider; the same `event_id` is the same delivery."""

    provider: str
    event_id: str
    kind: str
    occurred_ms: int  # by the provider's clock
    facts: tuple[PaymentFact, ...]


@dataclass(frozen=True, slots=True)
class Invoice:
    """An order of tokens for money."""

    invoice_id: str
    provider: str
    member_id: str
    amount_grains: int
    price_minor: int
    currency: str
    created_ms: int
    checkout_url: str
    paid_ms: int | None
    paid_by: str
    taken_grains: int  # taken back, for a refund or a dispute
    missing_grains: int  # asked back, but spent already


@dataclass(frozen=True, slots=True)
class FeeAccount:
    """A member's standing with a plan's fee."""

    provider: str
    subscription_ref: str
    member_id: str
    plan: str
    state: Literal["waiting", "active", "past_due", "ended"]
    past_due_ms: int | None
    frozen_ms: int | None
