"""What happens when people ask for money in or back: refunds of sessions, and vouchers."""

from __future__ import annotations

import structlog

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger.money_records import VoucherBatch
from jhub_tokens.service import members
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import Problem, invalid
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.instants import day_end_ms
from jhub_tokens.service.models import PageQuery
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, parse_tokens_mtok
from jhub_tokens.wire import Amount
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

__all__ = [
    "batch_row",
    "end_of_day_ms",
    "list_batches",
    "make_vouchers",
    "redeem",
    "refund",
    "revoke_batch",
]

log = structlog.get_logger(__name__)

DAY_MS = 86_400_000


async def refund(
    service: Service, caller: Caller, session_id: str, order: RefundOrder
) -> RefundReceipt:
    """Refund a session; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not, or the amount makes no sense.
    LedgerError
        If the books refuse.
    """
    _may_grant(caller)
    amount_grains = None
    if order.tokens is not None:
        amount_grains = parse_tokens_mtok(order.tokens) * GRAINS_PER_MILLITOKEN
    booked = await service.workers.write(
        service.books.ledger.refund_session,
        session_id,
        amount_grains=amount_grains,
        actor=caller.name,
        reason=order.reason,
        caller=caller.label,
        key=order.key,
    )
    log.info("refunded", by=caller.label, session_id=session_id, grains=booked.amount_grains)
    service.written()
    return RefundReceipt(
        transaction_id=booked.transaction_id,
        session_id=booked.session_id,
        amount=Amount.of(booked.amount_grains),
        charged=Amount.of(booked.charged_grains),
        balance=Amount.of(booked.balance_grains),
    )


async def make_vouchers(service: Service, caller: Caller, order: VoucherOrder) -> VoucherBatchMade:
    """Make a batch of vouchers; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not, or something makes no sense.
    LedgerError
        If the books refuse.
    """
    _may_grant(caller)
    last_days = order.tokens_last_days
    batch, codes = await service.workers.write(
        service.books.ledger.vouchers.make,
        count=order.count,
        amount_grains=parse_tokens_mtok(order.tokens) * GRAINS_PER_MILLITOKEN,
        expires_ms=end_of_day_ms(order.expires, service.books.catalogue),
        tokens_last_ms=None if last_days is None else last_days * DAY_MS,
        note=order.note,
        actor=caller.name,
        caller=caller.label,
        key=order.key,
    )
    log.info("vouchers made", by=caller.label, batch_id=batch.batch_id, count=batch.vouchers)
    return VoucherBatchMade(batch=batch_row(batch), codes=list(codes))


async def list_batches(service: Service, caller: Caller, query: PageQuery) -> VoucherBatchPage:
    """Return a page of batches.

    Raises
    ------
    Problem
        If the caller may not read all.
    """
    if not caller.may_read_all:
        raise members.lacks_scope("custom:jhub-tokens:read")
    batches, total = await service.workers.read(
        service.books.ledger.vouchers.batches, page=query.page, page_size=query.page_size
    )
    return VoucherBatchPage(
        batches=[batch_row(batch) for batch in batches],
        total=total,
        page=query.page,
        page_size=query.page_size,
    )


async def revoke_batch(service: Service, caller: Caller, batch_id: str) -> VoucherBatchRow:
    """Let no more vouchers of a batch be redeemed; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not.
    LedgerError
        If there is no such batch.
    """
    _may_grant(caller)
    ledger = service.books.ledger
    batch = await service.workers.write(ledger.vouchers.revoke, batch_id, actor=caller.name)
    log.info("vouchers revoked", by=caller.label, batch_id=batch_id)
    return batch_row(batch)


async def redeem(service: Service, caller: Caller, order: RedeemOrder) -> RedeemReceipt:
    """Credit the caller with a voucher.

    Raises
    ------
    Problem
        If the caller has no membership.
    LedgerError
        If the books refuse.
    """
    member = await members.own_member(service, caller)
    done = await service.workers.write(
        service.books.ledger.vouchers.redeem, member.member_id, order.code
    )
    service.metrics.grants.labels("voucher").inc()
    service.written()
    return RedeemReceipt(
        amount=Amount.of(done.amount_grains),
        balance=Amount.of(done.balance_grains),
        redeemed_at_ms=done.redeemed_ms,
        expires_at_ms=done.expires_ms,
    )


def batch_row(batch: VoucherBatch) -> VoucherBatchRow:
    """Return a batch as the API tells it."""
    lasts_ms = batch.tokens_last_ms
    return VoucherBatchRow(
        batch_id=batch.batch_id,
        vouchers=batch.vouchers,
        redeemed=batch.redeemed,
        amount=Amount.of(batch.amount_grains),
        note=batch.note,
        actor=batch.actor,
        made_at_ms=batch.made_ms,
        expires_at_ms=batch.expires_ms,
        tokens_last_days=None if lasts_ms is None else lasts_ms // DAY_MS,
        revoked_at_ms=batch.revoked_ms,
        revoked_by=batch.revoked_by,
    )


def end_of_day_ms(day: str | None, catalogue: Catalogue) -> int | None:
    """Return the end of a day such as ``2027-03-31`` in the billing zone.

    Raises
    ------
    Problem
        If there is no such day.
    """
    if day is None:
        return None
    try:
        return day_end_ms(day, catalogue.zone)
    except (ValueError, OverflowError):
        message = _("There is no such day; write it like 2027-03-31.")
        raise invalid("expires", message) from None


def _may_grant(caller: Caller) -> None:
    if not caller.may_grant:
        raise members.lacks_scope("custom:jhub-tokens:grant")


def own_only(member_id: str) -> None:
    """See that a member acts for themselves.

    Raises
    ------
    Problem
        If somebody else is named.
    """
    if member_id != "me":
        raise Problem(
            403,
            "forbidden",
            _("Vouchers are redeemed by members themselves."),
            remedy=_("Write me."),
        )
