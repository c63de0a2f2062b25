"""What one administrator may move in a month: a limit in the catalogue, kept under a lock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens

__all__ = ["spend_allowance"]

_months = schema.admin_months


def spend_allowance(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    *,
    actor: str,
    caller: str,
    amount_grains: int,
) -> None:
    """Count what `caller` moves, in either direction, towards this month's limit.

    It is counted also where there is no limit, so that one set later holds for the whole month.
    Call it after the wallet's lock is held: its own lock is always the last one.

    Raises
    ------
    LedgerError
        If the limit would be exceeded (code ``admin_limit``); nothing is counted then.
    """
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(catalogue.zone))
    key = {"caller": caller, "month": f"{local:%Y-%m}"}
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(_months)
    connection.execute(insert.values(**key).on_conflict_do_nothing())
    mine = (_months.c.caller == caller, _months.c.month == key["month"])
    query = select(_months.c.moved_mtok).where(*mine).with_for_update()
    moved_mtok = connection.execute(query).scalar_one()
    # A part of a millitoken counts as a whole one.
    more_mtok = -(-abs(amount_grains) // GRAINS_PER_MILLITOKEN)
    policy = catalogue.policy
    limit_mtok = policy.admin_limits.get(actor, policy.admin_limit_mtok)
    if limit_mtok is not None and moved_mtok + more_mtok > limit_mtok:
        left = format_tokens(max(0, limit_mtok - moved_mtok) * GRAINS_PER_MILLITOKEN, 3)
        whole = format_tokens(limit_mtok * GRAINS_PER_MILLITOKEN, 3)
        raise LedgerError(
            "admin_limit",
            _(
                "%(actor)s may move %(whole)s tokens a month, of which %(left)s are left. Ask "
                "another administrator, or raise policy.admin_limit in the catalogue.",
                actor=actor,
                whole=whole,
                left=left,
            ),
            "tokens",
        )
    connection.execute(update(_months).where(*mine).values(moved_mtok=moved_mtok + more_mtok))
