"""Reading the books: wallets, prospects, lists and totals, projected to the present instant.

A projection walks the wallet with the pure core as if every open session still ran; nothing is
written, and the figures are those that booking would give.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.engine import RowMapping

from jhub_tokens import burndown
from jhub_tokens.catalogue import Catalogue, Profile
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.membership import (
    find_member,
    load_wallet,
    member_record,
    select_members,
)
from jhub_tokens.ledger.records import (
    GrantView,
    MemberSummary,
    Prospect,
    WalletView,
)
from jhub_tokens.ledger.sessions import profile_needs, session_needs, session_record
from jhub_tokens.ledger.wallet import OVERRUN, OpenWallet

__all__ = [
    "Projection",
    "add_up",
    "exact_sum",
    "member_page",
    "project",
    "prospects",
    "totals",
    "wallet_view",
]


@dataclass(frozen=True, slots=True)
class Projection:
    """A wallet walked to now, with what the walk would book."""

    wallet: OpenWallet
    walked: burndown.Wallet
    events: tuple[burndown.Event, ...]
    period_start_ms: int
    period_end_ms: int
    allotment_grains: int
    horizon_ms: int

    def charged(self, session_id: str) -> int:
        """Return what the walk adds to a session's charge."""
        return sum(
            event.amount
            for event in self.events
            if isinstance(event, burndown.Charge) and event.session_id == session_id
        )


def project(wallet: OpenWallet) -> Projection:
    """Walk a wallet that was read without a lock to its present instant."""
    outcome = burndown.advance(wallet.pure(), wallet.now_ms)
    row = wallet.row
    period = (row["period_start_ms"], row["period_end_ms"], row["allotment_grains"])
    for event in outcome.events:
        if isinstance(event, burndown.Renewed):
            renewal = event.renewal
            period = (renewal.at_ms, renewal.expires_ms, renewal.allotment)
    horizon_ms = max([row["period_end_ms"], *(renewal.expires_ms for renewal in wallet.renewals)])
    return Projection(wallet, outcome.wallet, outcome.events, *period, horizon_ms)


_HALF = 1 << 31


def exact_sum(column: Any) -> tuple[Any, Any]:
    """Return two columns whose sums `add_up` makes one: it may exceed the database's int64."""
    # Both databases truncate towards zero, so high * half + low is the amount again.
    return func.sum(column.op("/")(_HALF)), func.sum(column % _HALF)


def add_up(high: Any, low: Any) -> int:
    """Return the sum of a column from the two of `exact_sum`; of no rows, 0."""
    return int(high or 0) * _HALF + int(low or 0)


def wallet_view(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> WalletView:
    """Return a member's wallet at this instant; see `Ledger.wallet_view`."""
    wallet = load_wallet(connection, catalogue, now_ms, member_id, lock=False)
    member = find_member(connection, schema.members.c.member_id == member_id)
    assert member is not None
    view = project(wallet)
    running = wallet.running_sessions()
    sessions = tuple(
        session_record(s, s["charged_grains"] + view.charged(s["session_id"]))
        for s in wallet.open_sessions()
    )
    return WalletView(
        member_record(member),
        now_ms,
        view.walked.balance(),
        view.allotment_grains,
        _used(connection, view),
        view.period_start_ms,
        view.period_end_ms,
        sum(s["rate_mtok_h"] for s in running),
        burndown.dry_at(view.walked, view.horizon_ms) if running else None,
        view.horizon_ms,
        sessions,
        _grant_views(wallet, view, now_ms),
    )


def _used(connection: Connection, view: Projection) -> int:
    """Return what was consumed in the period, booked and projected."""
    entries, transactions = schema.entries, schema.transactions
    booked = connection.execute(
        select(*exact_sum(entries.c.amount_grains))
        .join(transactions)
        .where(
            transactions.c.wallet_id == view.wallet.wallet_id,
            transactions.c.at_ms > view.period_start_ms,
            entries.c.account == "consumed",
        )
    ).one()
    projected = sum(
        event.amount
        for event in view.events
        if isinstance(event, burndown.Charge) and event.to_ms > view.period_start_ms
    )
    return add_up(*booked) + projected


def _grant_views(wallet: OpenWallet, view: Projection, now_ms: int) -> tuple[GrantView, ...]:
    views = []
    for grant in sorted(view.walked.grants, key=lambda g: g.order()):
        row = wallet.grants.get(grant.grant_id)
        source = row["source"] if row else "plan"
        over = grant.expires_ms is not None and grant.expires_ms <= now_ms
        if over or source == OVERRUN or (not grant.remaining and source != "plan"):
            continue
        granted = row["granted_grains"] if row else grant.remaining
        views.append(
            GrantView(
                grant.grant_id,
                source,
                granted,
                grant.remaining,
                grant.starts_ms,
                grant.expires_ms,
            )
        )
    return tuple(views)


def prospects(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    profiles: Sequence[Profile],
) -> dict[str, Prospect]:
    """Tell for each profile whether one more session is carried and how long it would last."""
    wallet = load_wallet(connection, catalogue, now_ms, member_id, lock=False)
    view = project(wallet)
    open_sessions = wallet.open_sessions()
    needs = [session_needs(s, now_ms) for s in open_sessions]
    # A server that is still starting will burn too, from now at the earliest.
    starting = tuple(
        burndown.Meter(s["session_id"], s["rate_mtok_h"], now_ms)
        for s in open_sessions
        if s["ready_ms"] is None
    )
    found = {}
    for profile in profiles:
        missing = burndown.shortfall(view.walked, [*needs, profile_needs(catalogue, profile)])
        meters = (
            *view.walked.meters,
            *starting,
            burndown.Meter("prospect", profile.rate_mtok_h, now_ms),
        )
        lasts_ms = burndown.dry_at(replace(view.walked, meters=meters), view.horizon_ms)
        found[profile.name] = Prospect(not missing, missing, lasts_ms)
    return found


# --- lists -----------------------------------------------------------------------------------


def member_page(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    *,
    search: str,
    state: str,
    page: int,
    page_size: int,
) -> tuple[tuple[MemberSummary, ...], int]:
    """Return one page of the members whose names hold `search`, and how many there are."""
    members, wallets = schema.members, schema.wallets
    conditions: list[Any] = []
    if search:
        conditions.append(func.lower(members.c.name).contains(search.lower(), autoescape=True))
    if state in ("active", "frozen"):
        conditions.append(members.c.state == state)
    elif state == "running":
        conditions.append(wallets.c.open_sessions > 0)
    elif state == "dry":
        conditions.append(or_(wallets.c.dry_ms <= now_ms, _nothing_left(wallets.c.wallet_id)))
    query = select_members().where(*conditions)
    total = connection.execute(query.with_only_columns(func.count())).scalar_one()
    rows = connection.execute(
        query.add_columns(members.c.last_used_ms.label("used_ms"))
        .order_by(members.c.name, members.c.member_id)
        .limit(page_size)
        .offset((page - 1) * page_size)
    ).mappings()
    found = tuple(_summary(connection, catalogue, now_ms, row) for row in rows.all())
    return found, int(total)


def _nothing_left(wallet_id: Any) -> Any:
    grants = schema.grants
    return ~(
        select(grants.c.grant_id)
        .where(grants.c.wallet_id == wallet_id, grants.c.remaining_grains > 0)
        .exists()
    )


def _summary(
    connection: Connection, catalogue: Catalogue, now_ms: int, row: RowMapping
) -> MemberSummary:
    wallet = load_wallet(connection, catalogue, now_ms, row["member_id"], lock=False)
    view = project(wallet)
    running = wallet.running_sessions()
    return MemberSummary(
        member_record(row),
        view.walked.balance(),
        view.allotment_grains,
        sum(s["rate_mtok_h"] for s in running),
        len(wallet.open_sessions()),
        burndown.dry_at(view.walked, view.horizon_ms) if running else None,
        row["used_ms"],
    )


def totals(connection: Connection) -> dict[str, int]:
    """Return the system's totals: booked, not projected; amounts in grains."""
    entries = schema.entries
    sums: dict[str, int] = defaultdict(int)
    query = select(entries.c.account, *exact_sum(entries.c.amount_grains))
    for account, high, low in connection.execute(query.group_by(entries.c.account)):
        sums[account] = add_up(high, low)
    members, sessions, orders = schema.members, schema.sessions, schema.stop_orders
    count = func.count()

    def number(query: Any) -> int:
        return int(connection.execute(query).scalar_one())

    open_sessions = select(count).where(
        sessions.c.settled.is_(False), sessions.c.ended_ms.is_(None)
    )
    return {
        "members": number(select(count).select_from(members)),
        "sessions_open": number(open_sessions),
        "sessions_running": number(open_sessions.where(sessions.c.ready_ms.is_not(None))),
        "stop_orders": number(select(count).where(orders.c.closed_ms.is_(None))),
        "balance_grains": sums["grant"],
        "consumed_grains": sums["consumed"],
        "expired_grains": sums["expired"],
        "issued_grains": -sum(v for k, v in sums.items() if k.startswith("issued:")),
        "overrun_grains": -sums["issued:overrun"],
    }
