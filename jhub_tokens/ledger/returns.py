"""Returns: giving a session's charge back to the grants that paid it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from jhub_tokens import burndown
from jhub_tokens.ledger.chain import Entry
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.wallet import OVERRUN, OpenWallet

__all__ = ["return_charge"]


def return_charge(wallet: OpenWallet, session: dict[str, Any], amount: int, reason: str) -> None:
    """Give `amount` grains of a session's charge back to the grants that paid, latest first.

    What a grant paid that has expired since becomes a grant to the end of this period that does
    not roll over. What nobody paid is no one's to get: the overrun's cover is taken back.
    """
    session_id = session["session_id"]
    entries: list[Entry] = []
    expired = 0
    left = amount
    for grant_id, paid in _still_paid(wallet, session_id):
        part = min(left, paid)
        left -= part
        grant = wallet.any_grant(grant_id)
        expires_ms = grant["expires_ms"]
        if grant["source"] == OVERRUN:
            owed = part
            if wallet.terms.deducts_overrun:
                # What an allotment has repaid already is the member's again.
                owed = min(part, wallet.row["debt_grains"])
                wallet.row["debt_grains"] -= owed
                expired += part - owed
            if owed:
                entries.append(Entry("issued:overrun", owed, None, session_id))
        elif expires_ms is None or expires_ms > wallet.row["settled_to_ms"]:
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
    wallet.post("return", wallet.at_ms, entries, reason=reason)
    session["charged_grains"] -= amount


def _still_paid(wallet: OpenWallet, session_id: str) -> Iterator[tuple[str, int]]:
    """Yield each payment, latest first, less what earlier returns gave back of it."""
    returned: dict[str, int] = defaultdict(int)
    for grant_id, moved in wallet.paid_by(session_id):
        if moved > 0:
            returned[grant_id] += moved
            continue
        taken_back = min(-moved, returned[grant_id])
        returned[grant_id] -= taken_back
        if -moved > taken_back:
            yield grant_id, -moved - taken_back
