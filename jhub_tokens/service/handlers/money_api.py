"""Routes of money in and back: refunds of sessions, and vouchers."""

from __future__ import annotations

from jhub_tokens.service import money
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.models import Nothing, PageQuery
from jhub_tokens.service.operations import operation
from jhub_tokens.wire.money import (
    RedeemOrder,
    RedeemReceipt,
    RefundOrder,
    RefundReceipt,
    VoucherBatchMade,
    VoucherBatchPage,
    VoucherBatchRow,
    VoucherOrder,
)

__all__ = ["RedeemHandler", "RefundHandler", "VoucherRevokeHandler", "VouchersHandler"]


class RefundHandler(PeopleHandler):
    """Refunds of one session."""

    @operation(
        summary="Refund a session",
        access="grant",
        body=RefundOrder,
        answer=RefundReceipt,
        status=201,
        errors={
            404: "No such session",
            409: "The key was used for another refund, there is less to refund, or the caller's "
            "limit is reached",
        },
    )
    async def post(self, session_id: str, *, body: RefundOrder) -> RefundReceipt:
        """Give a session's charge back to the grants that paid; the same key books once."""
        caller = await self.recheck()
        return await money.refund(self.service, caller, session_id, body)


class VouchersHandler(PeopleHandler):
    """Batches of vouchers."""

    @operation(
        summary="List batches of vouchers",
        access="read",
        query=PageQuery,
        answer=VoucherBatchPage,
    )
    async def get(self, *, query: PageQuery) -> VoucherBatchPage:
        """Return one page of the batches, the newest first."""
        return await money.list_batches(self.service, self.person, query)

    @operation(
        summary="Make vouchers",
        access="grant",
        body=VoucherOrder,
        answer=VoucherBatchMade,
        status=201,
        errors={409: "The key was used before, or the caller's limit is reached"},
    )
    async def post(self, *, body: VoucherOrder) -> VoucherBatchMade:
        """Make a batch; its codes are in this one answer and are kept nowhere."""
        caller = await self.recheck()
        return await money.make_vouchers(self.service, caller, body)


class VoucherRevokeHandler(PeopleHandler):
    """Withdrawing a batch."""

    @operation(
        summary="Revoke vouchers",
        access="grant",
        body=Nothing,
        answer=VoucherBatchRow,
        errors={404: "No such batch"},
    )
    async def post(self, batch_id: str, *, body: Nothing) -> VoucherBatchRow:
        """Let no more vouchers of this batch be redeemed; what was redeemed stays."""
        caller = await self.recheck()
        return await money.revoke_batch(self.service, caller, batch_id)


class RedeemHandler(PeopleHandler):
    """Redeeming a voucher."""

    @operation(
        summary="Redeem a voucher",
        access="own",
        body=RedeemOrder,
        answer=RedeemReceipt,
        status=201,
        errors={
            404: "No such voucher, or no membership yet",
            409: "The voucher was redeemed, withdrawn or has expired",
            429: "Too many wrong codes within an hour",
        },
    )
    async def post(self, member_id: str, *, body: RedeemOrder) -> RedeemReceipt:
        """Credit the caller with a voucher; `member_id` is `me`."""
        money.own_only(member_id)
        return await money.redeem(self.service, self.person, body)
