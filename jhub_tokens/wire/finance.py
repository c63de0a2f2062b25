"""Bodies of finance: reports, prepaid tokens, trial balances, closed months, erasures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from jhub_tokens.wire.base import Amount, Wire

__all__ = [
    "AccountRow",
    "Basis",
    "CloseOrder",
    "ClosedMonthList",
    "ClosedMonthRow",
    "EraseOrder",
    "ErasureList",
    "ErasureRow",
    "FinanceReport",
    "MoneyRow",
    "Prepaid",
    "PrepaidMoney",
    "SourceRow",
    "TokenRow",
    "TrialBalance",
]

Basis = Literal["effective", "booked"]
Reason = Annotated[str, StringConstraints(min_length=3, max_length=500)]


class TokenRow(Wire):
    """Tokens of one combination of dimensions; those not asked for are empty.

    granted - taken_back + overrun - consumed + refunded + returned - expired = change.
    """

    month: str
    plan: str
    profile: str
    team: str
    cost_centre: str
    source: str
    granted: Amount
    taken_back: Amount  # for payments that were refunded or disputed
    consumed: Amount  # before what was given back
    refunded: Amount
    returned: Amount  # an end that was learned late
    expired: Amount
    overrun: Amount  # covered, less what was repaid
    change: Amount  # of the balances


class MoneyRow(Wire):
    """Money in the currency's smallest unit."""

    month: str
    plan: str
    cost_centre: str
    currency: str
    top_ups_minor: int
    fees_minor: int
    refunds_minor: int
    disputes_minor: int
    net_minor: int
    fees_due_minor: int  # of the periods that began, paid or not


class SourceRow(Wire):
    """What is left of the grants of one source."""

    source: str
    left: Amount


class PrepaidMoney(Wire):
    """What is left of paid invoices, at their price."""

    currency: str
    amount_minor: int


class Prepaid(Wire):
    """What members have bought and not spent, before an instant."""

    at_ms: int
    at: str
    bought: Amount
    vouchers: Amount  # made, and still to be redeemed
    money: list[PrepaidMoney]
    sources: list[SourceRow]


class ClosedMonthRow(Wire):
    """A month that nothing is posted to any more."""

    month: str
    start_ms: int
    end_ms: int
    closed_at_ms: int
    closed_at: str
    actor: str
    reason: str
    lines: int
    digest: str  # SHA-256 of its figures; empty: they are yet to be written, close it again


class ClosedMonthList(Wire):
    """The closed months, the latest first."""

    months: list[ClosedMonthRow]


class CloseOrder(Wire):
    """Why a month is closed."""

    reason: Reason


class FinanceReport(Wire):
    """Tokens and money of a span of months, and what was prepaid at its end."""

    from_ms: int
    to_ms: int
    zone: str
    by: list[str]
    closed: bool  # all of it is closed: it never changes
    digests: dict[str, str]  # of the closed months' figures
    rows: list[TokenRow]
    total: TokenRow
    money: list[MoneyRow]
    breakage_allotted: Amount  # expired unspent, of what plans gave
    breakage_bought: Amount  # of what was bought
    breakage_other: Amount
    prepaid: Prepaid


class AccountRow(Wire):
    """The sum of an account."""

    account: str
    amount: Amount


class TrialBalance(Wire):
    """Every account before an instant; together they come to zero."""

    at_ms: int
    at: str
    basis: Basis
    accounts: list[AccountRow]


class EraseOrder(Wire):
    """Why a member's personal data are erased; do not name them here."""

    reason: Reason
    write_off: bool = False  # what the member owes is written off


class ErasureRow(Wire):
    """An erasure."""

    member_id: str
    erased_at_ms: int
    erased_at: str
    actor: str
    reason: str


class ErasureList(Wire):
    """The erasures, the latest first."""

    erasures: list[ErasureRow]
