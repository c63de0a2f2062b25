"""What passes between reading, advancing and writing a wallet: its terms, and rows to add."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jhub_tokens import burndown
from jhub_tokens.catalogue import Plan
from jhub_tokens.ledger.records import StopEnded

__all__ = ["ENDS", "Batch", "Row", "Terms", "is_before", "new_id"]

Row = dict[str, Any]


def new_id() -> str:
    """Return a new opaque identifier."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Terms:
    """What the catalogue and the subscription say of a wallet, for one operation."""

    plan: Plan  # held now
    coming: Plan  # held from the next period on
    renewals: tuple[burndown.Renewal, ...] = ()
    deducts_overrun: bool = False
    zone: str = "UTC"
    watchers: tuple[str, ...] = ()  # members who are told what concerns the whole wallet
    member_cap_grains: int | None = None  # a team's: what each member may spend in a period
    member_caps: Mapping[str, int] = field(default_factory=dict)  # by member, where it differs
    cost_centre: str | None = None  # the owner's; None: that of the plan which holds
    team: str | None = None  # the team's name; None: the wallet is a member's


@dataclass(slots=True)
class Batch:
    """Rows that an operation adds, by table; `saving` writes them after what they refer to."""

    transactions: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    remarks: list[Row] = field(default_factory=list)
    periods: list[Row] = field(default_factory=list)
    notices: list[Row] = field(default_factory=list)
    superseded: set[str] = field(default_factory=set)  # members whose earlier warnings are over
    stop_orders: list[Row] = field(default_factory=list)
    closed_orders: list[tuple[str, str]] = field(default_factory=list)  # session, outcome
    stops_ended: list[StopEnded] = field(default_factory=list)  # told, not written


#: What is about a span that ends at an instant belongs to the time before that instant; what
#: begins at it belongs to the time after.
ENDS = ("usage", "expiry")


def is_before(kind: str, at_ms: int, instant_ms: int) -> bool:
    """Tell whether a transaction of `kind` about `at_ms` belongs to the time before an instant."""
    return at_ms <= instant_ms if kind in ENDS else at_ms < instant_ms
