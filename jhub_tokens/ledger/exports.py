"""Transactions with their entries, page by page, for whoever keeps books elsewhere.

Each page is a read of its own that begins where the one before ended, so that a slow reader
holds no snapshot open and memory stays bounded. What is about a closed month comes last.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.figures import late_ones, on_time, plan_then
from jhub_tokens.ledger.posting import effective_ms

__all__ = ["Cursor", "ExportEntry", "ExportPage", "ExportTransaction", "export_page"]

#: Transactions of one page.
PAGE = 1000
_t, _e, _w, _late = (
    schema.transactions,
    schema.entries,
    schema.wallets,
    schema.late_postings,
)
#: Whether a transaction is posted late, its instant, and its id.
Cursor = tuple[bool, int, str]
#: Kinds that correct what a session was charged earlier.
_CORRECTING = ("refund", "return")


@dataclass(frozen=True, slots=True)
class ExportEntry:
    """One line of a transaction."""

    line: int
    account: str
    source: str  # of the grant, if it is about one
    amount_grains: int
    grant_id: str
    session_id: str
    profile: str
    from_ms: int | None
    to_ms: int | None


@dataclass(frozen=True, slots=True)
class ExportTransaction:
    """A transaction as it is posted; its entries sum to zero."""

    transaction_id: str
    wallet_id: str
    number: int
    kind: str
    posted_ms: int
    at_ms: int
    booked_ms: int
    plan: str
    cost_centre: str
    team: str
    corrects: str  # the session, grant or month that it corrects
    member: str  # the next three only where names were asked for
    actor: str
    reason: str
    entries: tuple[ExportEntry, ...]


@dataclass(frozen=True, slots=True)
class ExportPage:
    """A page and where the next one begins, None after the last one."""

    transactions: tuple[ExportTransaction, ...]
    next: Cursor | None


def export_page(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    from_ms: int,
    to_ms: int,
    names: bool,
    after: Cursor | None,
) -> ExportPage:
    """Return a page; see `FinanceBooks.export_page`."""
    rows: list[Any] = []
    is_late = False
    for is_late in (False, True):
        if after is None or after[0] <= is_late:
            begun = None if after is None or after[0] != is_late else after
            query = _transactions(from_ms, to_ms, is_late, begun).limit(PAGE - len(rows))
            rows += connection.execute(query).mappings().all()
        if len(rows) == PAGE:
            break
    lines = _lines(connection, [row["transaction_id"] for row in rows])
    found = tuple(_record(row, lines[row["transaction_id"]], names) for row in rows)
    last = found[-1] if len(found) == PAGE else None
    return ExportPage(found, None if last is None else (is_late, last.at_ms, last.transaction_id))


def _transactions(from_ms: int, to_ms: int, is_late: bool, after: Cursor | None) -> Any:
    """Return the query of those posted when they took place, or of the late ones.

    By an index each, so that a page costs the same wherever it begins.
    """
    members, teams, remarks = schema.members, schema.teams, schema.remarks
    late = late_ones(_t.c.transaction_id, from_ms, to_ms)
    query = (
        select(
            _t,
            plan_then().label("plan_then"),
            func.coalesce(_late.c.posted_ms, effective_ms()).label("posted_ms"),
            _late.c.month.label("late_month"),
            teams.c.name.label("team"),
            members.c.name.label("member"),
            remarks.c.actor.label("said_by"),
            remarks.c.reason.label("said"),
        )
        .join(_w, _w.c.wallet_id == _t.c.wallet_id)
        .outerjoin(_late, _late.c.item_id == _t.c.transaction_id)
        .outerjoin(members, members.c.member_id == _w.c.member_id)
        .outerjoin(teams, teams.c.team_id == _w.c.team_id)
        .outerjoin(remarks, remarks.c.transaction_id == _t.c.transaction_id)
        .where(late if is_late else on_time(from_ms, to_ms))
        .order_by(_t.c.at_ms, _t.c.transaction_id)
    )
    if after is not None:
        same = and_(_t.c.at_ms == after[1], _t.c.transaction_id > after[2])
        query = query.where(_t.c.at_ms >= after[1], or_(_t.c.at_ms > after[1], same))
    return query


def _lines(connection: Connection, transaction_ids: list[str]) -> dict[str, list[Any]]:
    sessions, grants = schema.sessions, schema.grants
    query = (
        select(_e, sessions.c.profile, grants.c.source)
        .outerjoin(sessions, sessions.c.session_id == _e.c.session_id)
        .outerjoin(grants, grants.c.grant_id == _e.c.grant_id)
        .where(_e.c.transaction_id.in_(transaction_ids))
        .order_by(_e.c.transaction_id, _e.c.line)
    )
    lines: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(query).mappings():
        lines[row["transaction_id"]].append(row)
    return lines


def _record(row: Any, lines: list[Any], names: bool) -> ExportTransaction:
    return ExportTransaction(
        row["transaction_id"],
        row["wallet_id"],
        row["number"],
        row["kind"],
        row["posted_ms"],
        row["at_ms"],
        row["booked_ms"],
        row["plan_then"],
        row["cost_centre"] or "",
        row["team"] or "",
        _corrects(row, lines),
        (row["member"] or "") if names else "",
        (row["said_by"] or row["actor"]) if names else "",
        (row["said"] or row["reason"]) if names else "",
        tuple(
            ExportEntry(
                line["line"],
                line["account"],
                line["source"] or "",
                line["amount_grains"],
                line["grant_id"] or "",
                line["session_id"] or "",
                line["profile"] or "",
                line["from_ms"],
                line["to_ms"],
            )
            for line in lines
        ),
    )


def _corrects(row: Any, lines: list[Any]) -> str:
    if row["late_month"] is not None:
        return f"month:{row['late_month']}"
    if row["kind"] in _CORRECTING:
        return next((f"session:{line['session_id']}" for line in lines if line["session_id"]), "")
    if row["kind"] == "reversal":
        return next((f"grant:{line['grant_id']}" for line in lines if line["grant_id"]), "")
    return ""
