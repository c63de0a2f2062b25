"""What the books tell an accountant: immutable records; amounts are exact Python integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BY",
    "Basis",
    "ClosedMonth",
    "Dimension",
    "Erasure",
    "Figure",
    "FinanceReport",
    "MoneyRow",
    "Prepaid",
    "ReportRow",
    "Section",
    "TrialBalance",
]

#: *effective*: what is true of an instant as far as is known now; *booked*: what the books
#: said at that instant.
Basis = Literal["effective", "booked"]
#: What a figure is about: entries of the span, money of the span, or what stood at its end.
Section = Literal["entries", "money", "fees_due", "balance", "vouchers", "prepaid_money"]
Dimension = Literal["month", "plan", "profile", "team", "cost_centre", "source"]
BY: tuple[Dimension, ...] = ("month", "plan", "profile", "team", "cost_centre", "source")


@dataclass(frozen=True, slots=True, order=True)
class Figure:
    """One sum; what does not apply is empty. Entries are in grains, money in minor units."""

    section: str
    plan: str = ""
    cost_centre: str = ""
    team: str = ""
    profile: str = ""
    source: str = ""  # of the grant that an entry is about
    kind: str = ""
    account: str = ""
    currency: str = ""
    amount: int = 0


@dataclass(frozen=True, slots=True)
class ReportRow:
    """Tokens of one combination of dimensions.

    ``granted - taken_back + overrun - consumed + refunded + returned - expired`` is `change`.
    """

    month: str
    plan: str
    profile: str
    team: str
    cost_centre: str
    source: str
    granted: int
    taken_back: int  # for payments that were refunded or disputed
    consumed: int  # before what was given back
    refunded: int  # by administrators
    returned: int  # because a server had ended earlier than was known
    expired: int
    overrun: int  # covered, less what was repaid
    change: int  # of the balances


@dataclass(frozen=True, slots=True)
class MoneyRow:
    """Money of a month by plan and cost centre, in the currency's smallest unit."""

    month: str
    plan: str
    cost_centre: str
    currency: str
    top_ups: int
    fees: int
    refunds: int  # negative
    disputes: int  # negative, less what was won back
    net: int
    fees_due: int  # of the periods that began, paid or not


@dataclass(frozen=True, slots=True)
class Prepaid:
    """What members have bought and not spent, at one instant."""

    at_ms: int
    by_source: tuple[tuple[str, int], ...]  # every source of grants, in grains
    bought: int  # of it: top-ups and vouchers that were redeemed
    vouchers: int  # made, and still to be redeemed
    money: tuple[tuple[str, int], ...]  # value of what is left of paid invoices, by currency


@dataclass(frozen=True, slots=True)
class FinanceReport:
    """A span of months: rows by the dimensions asked for, and what stood at its end."""

    from_ms: int
    to_ms: int
    zone: str
    by: tuple[Dimension, ...]
    closed: bool  # whether all of it is closed, so that it never changes
    digests: tuple[tuple[str, str], ...]  # SHA-256 of each closed month's figures
    rows: tuple[ReportRow, ...]
    total: ReportRow
    money: tuple[MoneyRow, ...]
    breakage_allotted: int  # expired unspent, of what plans gave
    breakage_bought: int  # of what was bought
    breakage_other: int  # of refunds and corrections
    prepaid: Prepaid


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """A month that nothing is posted to any more."""

    month: str
    start_ms: int
    end_ms: int
    closed_ms: int
    actor: str
    reason: str
    lines: int
    digest: str


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """Every account at an instant; the sums of all accounts come to zero."""

    at_ms: int
    basis: Basis
    accounts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Erasure:
    """Somebody's personal data were erased."""

    member_id: str
    erased_ms: int
    actor: str
    reason: str
