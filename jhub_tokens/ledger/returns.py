"""Returns: giving a session's charge back to the grants that paid it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jhub_tokens import burndown
from jhub_tokens.ledger.chain import Entry
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.wallet import OVERRUN, OpenWallet

__all__ = ["refundable", "return_charge"]


def return_charge(
    wallet: OpenWallet,
    session: dict[str, Any],
    amount: int,
    reason: str,
    *,
    kind: str = "return",
    actor: str = "",
) -> None:
    """Give `amount` grains of a session's charge back to the grants that paid, latest first.

    What a grant paid that has expired since becomes a grant to the end of this period that does
    not roll over. What nobody paid is no one's to get: a return takes the overrun's cover back,
    a refund passes it over.
    """
    session_id = session["session_id"]
    entries: list[Entry] = []
    expired = 0
    left = amount
    for grant_id, paid in _still_paid(wallet, session_id):
        grant = wallet.any_grant(grant_id)
        is_cover = grant["source"] == OVERRUN
        if is_cover and kind == "refund":
            continue
        part = min(left, paid)
        left -= part
        if is_cover:
            owed = part
            if wallet.terms.deducts_overrun:
                # What an allotment has repaid already is the member's again.
                owed = min(part, wallet.row["debt_grains"])
                wallet.row["debt_grains"] -= owed
                expired += part - owed
            if owed:
                entries.append(Entry("issued:overrun", owed, None, session_id))
        elif _is_open(wallet, grant):
            entries.append(Entry("grant", part, grant_id, session_id))
        else:
            expired += part
        if not left:
            break
    assert left == 0, "more was to be returned than was charged"
    if expired:
        refund = burndown.Grant(
            new_id(),
            expired,
            age=wallet.row["transactions_count"],
            starts_ms=wallet.row["settled_to_ms"],
            expires_ms=wallet.row["period_end_ms"],
        )
        wallet.add_grant(refund, "refund", expired)
        entries.append(Entry("grant", expired, refund.grant_id, session_id))
    entries.append(Entry("consumed", -amount, None, session_id))
    wallet.post(kind, wallet.at_ms, entries, actor=actor, reason=reason)
    session["charged_grains"] -= amount


def refundable(wallet: OpenWallet, session_id: str) -> int:
    """Return how many grains of a session's charge were paid and not given back."""
    return sum(
        paid
        for grant_id, paid in _still_paid(wallet, session_id)
        if wallet.any_grant(grant_id)["source"] != OVERRUN
    )


def _is_open(wallet: OpenWallet, grant: dict[str, Any]) -> bool:
    expires_ms = grant["expires_ms"]
    return expires_ms is None or expires_ms > wallet.row["settled_to_ms"]


def _still_paid(wallet: OpenWallet, session_id: str) -> list[tuple[str, int]]:
    """Return each payment, latest first, less what earlier returns gave back of it."""
    paid: list[tuple[str, int]] = []
    for grant_id, moved in wallet.paid_by(session_id):
        if moved < 0:
            assert grant_id is not None, "only a grant pays"
            paid.append((grant_id, -moved))
            continue

        def went_back(payer_id: str, to_id: str | None = grant_id) -> bool:
            if to_id is None:
                return bool(wallet.any_grant(payer_id)["source"] == OVERRUN)
            return payer_id == to_id

        left = _take_off(paid, moved, went_back)
        # More than this grant had paid: it was made for what expired ones had.
        left = _take_off(paid, left, lambda payer: not _is_open(wallet, wallet.any_grant(payer)))
        assert left == 0, "more was given back than was paid"
    return [(grant_id, amount) for grant_id, amount in reversed(paid) if amount]


def _take_off(paid: list[tuple[str, int]], amount: int, went_back: Callable[[str], bool]) -> int:
    """Take `amount` off the latest payments by grants that `went_back` names; return the rest."""
    for index in reversed(range(len(paid))):
        grant_id, left = paid[index]
        if not amount:
            break
        if left and went_back(grant_id):
            part = min(amount, left)
            paid[index] = (grant_id, left - part)
            amount -= part
    return amount
