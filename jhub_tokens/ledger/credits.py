"""Money in and back: top-ups and adjustments, each with actor, reason and idempotency key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger.allowances import spend_allowance
from jhub_tokens.ledger.chain import Entry
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.deadlines import notify
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.records import GrantBooked, LedgerError
from jhub_tokens.ledger.repeats import Repeat
from jhub_tokens.ledger.subscriptions import ERASED_PLAN
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.units import GRAINS_MAX, GRAINS_PER_MILLITOKEN, format_tokens

__all__ = ["check_reason", "check_room", "grant", "take_back"]


def grant(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    *,
    amount_grains: int,
    kind: str,
    actor: str,
    reason: str,
    caller: str,
    key: str,
) -> GrantBooked:
    """Credit a member, or take back with a negative amount; see `Ledger.grant`."""
    _validate(amount_grains, kind, reason)
    # The wallet's lock comes first: two requests with one key wait for each other here.
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    repeat = Repeat(connection, caller, key, [member_id, str(amount_grains), kind, reason])
    answered = repeat.answer()
    if answered is not None:
        return _booked(answered)
    wallet.advance()
    spend_allowance(
        connection, catalogue, now_ms, actor=actor, caller=caller, amount_grains=amount_grains
    )
    if amount_grains > 0:
        check_room(wallet, amount_grains)
        wallet.credit(
            kind, amount_grains, at_ms=wallet.at_ms, starts_ms=now_ms, actor=actor, reason=reason
        )
    else:
        take_back(wallet, -amount_grains, kind, actor, reason)
    wallet.forget_warnings()  # a new balance has warnings of its own
    params = {"grains": str(amount_grains), "kind": kind, "reason": reason}
    notify(wallet, "credited", params)
    close_wallet(wallet, catalogue)
    answer = {
        "transaction_id": wallet.last_transaction_id,
        "amount_grains": str(amount_grains),
        "balance_grains": str(wallet.projected().balance()),
    }
    repeat.keep(answer, now_ms)
    return _booked(answer)


def _booked(answer: dict[str, Any]) -> GrantBooked:
    return GrantBooked(
        answer["transaction_id"], int(answer["amount_grains"]), int(answer["balance_grains"])
    )


def _validate(amount_grains: int, kind: str, reason: str) -> None:
    if kind not in ("topup", "adjustment"):
        raise LedgerError("bad_kind", _("The kind is topup or adjustment."), "kind")
    if amount_grains == 0:
        message = _("The amount is zero: give a number of tokens.")
        raise LedgerError("zero_amount", message, "tokens")
    if amount_grains % GRAINS_PER_MILLITOKEN:
        raise LedgerError("fraction", _("The smallest amount is 0.001 tokens."), "tokens")
    if abs(amount_grains) > GRAINS_MAX:
        message = _("A wallet holds at most 2,500,000,000 tokens.")
        raise LedgerError("too_much", message, "tokens")
    if amount_grains < 0 and kind == "topup":
        message = _("A top-up is positive; use an adjustment to take tokens back.")
        raise LedgerError("negative_topup", message, "tokens")
    check_reason(reason)


def check_reason(reason: str) -> None:
    """See that a reason is given; raises `LedgerError` otherwise."""
    if not reason.strip():
        message = _("Say why: the reason stands in the statement.")
        raise LedgerError("no_reason", message, "reason")


def check_room(wallet: OpenWallet, amount: int) -> None:
    """Leave room for the next period's tokens, which nobody could refuse.

    Raises
    ------
    LedgerError
        If `amount` grains more would not fit (code ``too_much``), or if the member was erased
        (``erased``).
    """
    if wallet.subscription["plan"] == ERASED_PLAN:
        message = _("This member's data were erased: nothing is credited to them any more.")
        raise LedgerError("erased", message, "member_id")
    coming = max((r.allotment + r.rollover_cap for r in wallet.renewals), default=0)
    if wallet.projected().balance() + amount + coming > GRAINS_MAX:
        message = _("The wallet would hold more than 2,500,000,000 tokens.")
        raise LedgerError("too_much", message, "tokens")


def take_back(wallet: OpenWallet, amount: int, kind: str, actor: str, reason: str) -> None:
    """Take `amount` grains from the grants in the order in which they would burn.

    Raises
    ------
    LedgerError
        If the balance is smaller (code ``insufficient``).
    """
    walk = wallet.projected()
    if walk.balance() < amount:
        raise LedgerError(
            "insufficient",
            _(
                "The balance is %(balance)s tokens; no more can be taken back.",
                balance=format_tokens(walk.balance()),
            ),
            "tokens",
        )
    entries: list[Entry] = []
    left = amount
    for payer in sorted(wallet.pure().grants, key=lambda g: g.order()):
        expires_ms = payer.expires_ms
        if payer.starts_ms > wallet.now_ms or (expires_ms and expires_ms <= wallet.now_ms):
            continue
        part = min(left, payer.remaining)
        if part:
            entries.append(Entry("grant", -part, payer.grant_id))
            left -= part
    if left:
        # The projection counts a renewal that cannot be booked before the hub is heard.
        message = _("The books wait for the hub; try again in a minute.")
        raise LedgerError("insufficient", message, "tokens")
    entries.append(Entry(f"issued:{kind}", amount))
    wallet.post(kind, wallet.at_ms, entries, actor=actor, reason=reason)
