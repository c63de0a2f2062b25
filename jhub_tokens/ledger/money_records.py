"""What the books tell of money in and back; amounts are grains, prices a currency's smallest unit.

Instants are milliseconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RefundBooked", "VoucherBatch", "VoucherRedeemed"]


@dataclass(frozen=True, slots=True)
class RefundBooked:
    """The receipt of a session's refund; the same for a repeated key."""

    transaction_id: str
    session_id: str
    amount_grains: int
    charged_grains: int  # what the session costs now, as booked
    balance_grains: int


@dataclass(frozen=True, slots=True)
class VoucherBatch:
    """Vouchers that were made together."""

    batch_id: str
    vouchers: int
    redeemed: int
    amount_grains: int  # of each
    note: str
    actor: str
    made_ms: int
    expires_ms: int | None
    tokens_last_ms: int | None
    revoked_ms: int | None
    revoked_by: str | None


@dataclass(frozen=True, slots=True)
class VoucherRedeemed:
    """The receipt of a voucher; the same for a repeated code."""

    amount_grains: int
    balance_grains: int  # right after it
    redeemed_ms: int
    expires_ms: int | None  # of the tokens
