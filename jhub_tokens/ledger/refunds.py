"""Refunds: an administrator gives a session's charge back, all of it or a part."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.allowances import spend_allowance
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.credits import check_reason, check_room
from jhub_tokens.ledger.deadlines import notify
from jhub_tokens.ledger.loading import load_wallets
from jhub_tokens.ledger.money_records import RefundBooked
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.repeats import Repeat
from jhub_tokens.ledger.returns import refundable, return_charge
from jhub_tokens.units import format_tokens

__all__ = ["refund_session"]

_sessions = schema.sessions


def refund_session(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    session_id: str,
    *,
    amount_grains: int | None,
    actor: str,
    reason: str,
    caller: str,
    key: str,
) -> RefundBooked:
    """Give a session's charge back; see `Ledger.refund_session`."""
    check_reason(reason)
    if amount_grains is not None and amount_grains <= 0:
        message = _("Give a positive number of tokens, or none.")
        raise LedgerError("zero_amount", message, "tokens")
    of_session = select(_sessions).where(_sessions.c.session_id == session_id)
    found = connection.execute(of_session).mappings().first()
    if found is None:
        raise LedgerError("unknown_session", _("There is no such session."), "session_id")
    (wallet,) = load_wallets(connection, catalogue, now_ms, [found["wallet_id"]])
    amount = None if amount_grains is None else str(amount_grains)
    repeat = Repeat(connection, caller, key, ["refund", session_id, amount, reason])
    answered = repeat.answer()
    if answered is not None:
        return _booked(answered)
    wallet.advance()
    if wallet.row["period_end_ms"] <= now_ms:
        # What becomes a grant to the period's end would lapse with the renewal that waits.
        message = _("A renewal waits to be booked; try again in a minute.")
        raise LedgerError("wait", message)
    # A settled one is not part of the wallet's walk; read again, now that the lock is held.
    session: dict[str, Any] = wallet.sessions.get(session_id) or dict(
        connection.execute(of_session).mappings().one()
    )
    most = refundable(wallet, session_id)
    if not most:
        message = _("Nothing of this session's charge is left to refund.")
        raise LedgerError("nothing_to_refund", message, "session_id")
    amount_grains = most if amount_grains is None else amount_grains
    if amount_grains > most:
        raise LedgerError(
            "more_than_charged",
            _(
                "At most %(most)s tokens of this session can be refunded.",
                most=format_tokens(most, 3),
            ),
            "tokens",
        )
    check_room(wallet, amount_grains)
    spend_allowance(
        connection, catalogue, now_ms, actor=actor, caller=caller, amount_grains=amount_grains
    )
    return_charge(wallet, session, amount_grains, reason, kind="refund", actor=actor)
    session["refunded_grains"] += amount_grains
    wallet.forget_warnings()
    params = {
        "grains": str(amount_grains),
        "profile": session["profile"],
        "server_name": session["server_name"],
        "reason": reason,
    }
    notify(wallet, "refunded", params, {*wallet.terms.watchers, session["member_id"]})
    close_wallet(wallet, catalogue)
    if session_id not in wallet.sessions:
        kept = {name: session[name] for name in ("charged_grains", "refunded_grains")}
        this = _sessions.c.session_id == session_id
        connection.execute(update(_sessions).where(this).values(kept))
    answer = {
        "transaction_id": wallet.last_transaction_id,
        "session_id": session_id,
        "amount_grains": str(amount_grains),
        "charged_grains": str(session["charged_grains"]),
        "balance_grains": str(wallet.projected().balance()),
    }
    repeat.keep(answer, now_ms)
    return _booked(answer)


def _booked(answer: dict[str, Any]) -> RefundBooked:
    return RefundBooked(
        answer["transaction_id"],
        answer["session_id"],
        int(answer["amount_grains"]),
        int(answer["charged_grains"]),
        int(answer["balance_grains"]),
    )
