"""Money in and back: refunds of sessions, and vouchers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from jhub_tokens.wire.base import Amount, Day, Key, Wire

__all__ = [
    "RedeemOrder",
    "RedeemReceipt",
    "RefundOrder",
    "RefundReceipt",
    "VoucherBatchMade",
    "VoucherBatchPage",
    "VoucherBatchRow",
    "VoucherOrder",
]

Tokens = Annotated[str, StringConstraints(max_length=20)]
Reason = Annotated[str, StringConstraints(min_length=3, max_length=500)]


class RefundOrder(Wire):
    """Give a session's charge back: all that can be, or `tokens` of it."""

    tokens: Tokens | None = None
    reason: Reason
    key: Key  # the same key and body: the same answer; another body: refused


class RefundReceipt(Wire):
    """A booked refund."""

    transaction_id: str
    session_id: str
    amount: Amount
    charged: Amount  # what the session costs now
    balance: Amount


class VoucherOrder(Wire):
    """Make `count` vouchers of `tokens` each."""

    count: Annotated[int, Field(ge=1, le=10_000)]
    tokens: Tokens
    #: The last day on which they can be redeemed, in the billing zone; missing: for ever.
    expires: Day | None = None
    #: How long the tokens last once redeemed; missing: they do not expire.
    tokens_last_days: Annotated[int, Field(ge=1, le=3660)] | None = None
    note: Annotated[str, StringConstraints(max_length=500)] = ""
    key: Key


class VoucherBatchRow(Wire):
    """Vouchers that were made together."""

    batch_id: str
    vouchers: int
    redeemed: int
    amount: Amount  # of each
    note: str
    actor: str
    made_at_ms: int
    expires_at_ms: int | None
    tokens_last_days: int | None
    revoked_at_ms: int | None
    revoked_by: str | None


class VoucherBatchMade(Wire):
    """A batch with its codes, which are shown this once and kept nowhere."""

    batch: VoucherBatchRow
    codes: list[str]


class VoucherBatchPage(Wire):
    """One page of the batches, the newest first."""

    batches: list[VoucherBatchRow]
    total: int
    page: int
    page_size: int


class RedeemOrder(Wire):
    """A voucher's code, whatever its case and separators."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=100)]


class RedeemReceipt(Wire):
    """A redeemed voucher; the same for a repeated code."""

    amount: Amount
    balance: Amount  # right after it
    redeemed_at_ms: int
    expires_at_ms: int | None  # of the tokens
