"""Money in and back: top-ups and adjustments, each with actor, reason and idempotency key."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, insert, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.chain import Entry
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.deadlines import notify
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.records import GrantBooked, LedgerError
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.units import GRAINS_MAX, GRAINS_PER_MILLITOKEN, format_tokens

__all__ = ["grant"]


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
    request = [member_id, str(amount_grains), kind, reason]
    digest = hashlib.sha256(json.dumps(request).encode()).hexdigest()
    # The wallet's lock comes first: two requests with one key wait for each other here.
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    answered = _answered(connection, caller, key, digest)
    if answered is not None:
        return answered
    wallet.advance()
    if amount_grains > 0:
        _check_room(wallet, amount_grains)
        wallet.credit(
            kind, amount_grains, at_ms=wallet.at_ms, starts_ms=now_ms, actor=actor, reason=reason
        )
    else:
        _take_back(wallet, -amount_grains, kind, actor, reason)
    wallet.forget_warnings()  # a new balance has warnings of its own
    params = {"grains": str(amount_grains), "kind": kind, "reason": reason}
    notify(wallet, "credited", params)
    close_wallet(wallet, catalogue)
    booked = GrantBooked(wallet.last_transaction_id, amount_grains, wallet.projected().balance())
    answer = {
        "transaction_id": booked.transaction_id,
        "amount_grains": str(booked.amount_grains),
        "balance_grains": str(booked.balance_grains),
    }
    row = {
        "caller": caller,
        "key": key,
        "request_hash": digest,
        "answer": answer,
        "created_ms": now_ms,
    }
    connection.execute(insert(schema.idempotency), row)
    return booked


def _validate(amount_grains: int, kind: str, reason: str) -> None:
    if kind not in ("topup", "adjustment"):
        raise LedgerError("bad_kind", "The kind is topup or adjustment.", "kind")
    if amount_grains == 0:
        raise LedgerError("zero_amount", "The amount is zero: give a number of tokens.", "tokens")
    if amount_grains % GRAINS_PER_MILLITOKEN:
        raise LedgerError("fraction", "The smallest amount is 0.001 tokens.", "tokens")
    if abs(amount_grains) > GRAINS_MAX:
        raise LedgerError("too_much", "A wallet holds at most 2,500,000,000 tokens.", "tokens")
    if amount_grains < 0 and kind == "topup":
        message = "A top-up is positive; use an adjustment to take tokens back."
        raise LedgerError("negative_topup", message, "tokens")
    if not reason.strip():
        raise LedgerError("no_reason", "Say why: the reason stands in the statement.", "reason")


def _check_room(wallet: OpenWallet, amount: int) -> None:
    """Leave room for the next period's tokens, which nobody could refuse."""
    coming = max((r.allotment + r.rollover_cap for r in wallet.renewals), default=0)
    if wallet.projected().balance() + amount + coming > GRAINS_MAX:
        message = "The wallet would hold more than 2,500,000,000 tokens."
        raise LedgerError("too_much", message, "tokens")


def _answered(connection: Connection, caller: str, key: str, digest: str) -> GrantBooked | None:
    table = schema.idempotency
    query = select(table).where(table.c.caller == caller, table.c.key == key)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    if row["request_hash"] != digest:
        raise LedgerError(
            "idempotency_conflict",
            "This key was used for another request; make a new key for each.",
            "key",
        )
    answer: dict[str, Any] = row["answer"]
    return GrantBooked(
        answer["transaction_id"], int(answer["amount_grains"]), int(answer["balance_grains"])
    )


def _take_back(wallet: OpenWallet, amount: int, kind: str, actor: str, reason: str) -> None:
    """Take `amount` grains from the grants in the order in which they would burn."""
    walk = wallet.projected()
    if walk.balance() < amount:
        raise LedgerError(
            "insufficient",
            f"The balance is {format_tokens(walk.balance())} tokens; no more can be taken back.",
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
        raise LedgerError(
            "insufficient", "The books wait for the hub; try again in a minute.", "tokens"
        )
    entries.append(Entry(f"issued:{kind}", amount))
    wallet.post(kind, wallet.at_ms, entries, actor=actor, reason=reason)
