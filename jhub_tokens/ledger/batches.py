"""Changing many wallets in one transaction, so that one wallet's trouble is not everybody's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.closing import finish_wallet
from jhub_tokens.ledger.loading import TROUBLE, load_wallets
from jhub_tokens.ledger.records import StopEnded
from jhub_tokens.ledger.saving import save_wallets
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["Changed", "change_wallets"]

log = logging.getLogger(__name__)

#: A wallet that could not be changed is looked at again after this time.
TROUBLE_WAIT_MS = 60_000
#: How many wallets are read and written at once.
_AT_ONCE = 500


@dataclass(slots=True)
class Changed:
    """What changing wallets did; `failed` are those that were left as they were."""

    notices: int = 0
    stops: int = 0
    failed: set[str] = field(default_factory=set)
    stops_ended: list[StopEnded] = field(default_factory=list)


def change_wallets(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    wallet_ids: Collection[str],
    change: Callable[[OpenWallet], None],
) -> Changed:
    """Apply `change` to each wallet, reschedule and save, a few statements for hundreds of them.

    What goes wrong within one wallet happens before anything of it is written: it is left out,
    logged and looked at again later. A failing database is everybody's trouble and is raised.
    """
    done = Changed()

    def leave_out(wallet_id: str) -> None:
        log.exception("The wallet %s cannot be advanced", wallet_id)
        done.failed.add(wallet_id)

    # In one order for everybody, so that two replicas cannot wait for each other.
    ordered = sorted(wallet_ids)
    for first in range(0, len(ordered), _AT_ONCE):
        some = ordered[first : first + _AT_ONCE]
        sound = []
        for wallet in load_wallets(connection, catalogue, now_ms, some, on_trouble=leave_out):
            try:
                change(wallet)
                notices, stops = finish_wallet(wallet, catalogue)
            except TROUBLE:
                leave_out(wallet.wallet_id)
                continue
            sound.append(wallet)
            done.notices += notices
            done.stops += stops
            done.stops_ended += wallet.batch.stops_ended
        save_wallets(connection, sound)
    if done.failed:
        wallets = schema.wallets
        later = update(wallets).where(wallets.c.wallet_id.in_(done.failed))
        connection.execute(later.values(next_deadline_ms=now_ms + TROUBLE_WAIT_MS))
    return done
