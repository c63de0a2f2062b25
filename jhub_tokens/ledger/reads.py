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
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.admissions import paying_wallet
from jhub_tokens.ledger.cuts import dry_at, horizon_ms
from jhub_tokens.ledger.limits import limits_of, reached_ms, spent_grains, tightest
from jhub_tokens.ledger.loading import load_wallet, load_wallets
from jhub_tokens.ledger.membership import find_member, member_record, select_members
from jhub_tokens.ledger.records import (
    GrantView,
    LedgerError,
    MemberRecord,
    MemberSummary,
    Payer,
    Prospect,
    WalletView,
)
from jhub_tokens.ledger.sessions import (
    profile_needs,
    session_needs,
    session_record,
)
from jhub_tokens.ledger.teams import teams_joined
from jhub_tokens.ledger.wallet import OVERRUN, OpenWallet

__all__ = [
    "Projection",
    "add_up",
    "exact_sum",
    "member_page",
    "payers",
    "project",
    "prospects",
    "totals",
    "wallet_view",
    "wallet_view_of",
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
    return Projection(wallet, outcome.wallet, outcome.events, *period, horizon_ms(wallet))


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
    return wallet_view_of(connection, wallet, member_record(member))


def wallet_view_of(connection: Connection, wallet: OpenWallet, member: MemberRecord) -> WalletView:
    """Return a wallet that was read at this instant; `member` is who looks at it."""
    now_ms = wallet.now_ms
    view = project(wallet)
    running = wallet.running_sessions()
    sessions = tuple(
        session_record(s, s["charged_grains"] + view.charged(s["session_id"]))
        for s in wallet.open_sessions()
    )
    return WalletView(
        member,
        wallet.terms.plan,
        now_ms,
        view.walked.balance(),
        view.allotment_grains,
        _used(connection, view),
        view.period_start_ms,
        view.period_end_ms,
        sum(s["rate_mtok_h"] for s in running),
        dry_at(wallet, view.walked) if running else None,
        view.horizon_ms,
        sessions,
        _grant_views(wallet, view, now_ms),
        # A millisecond before the renewal, which lets lapse or roll over what is left.
        burndown.advance(view.walked, view.period_end_ms - 1).wallet.balance(),
        wallet.terms.coming,
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
    payer: str | None = None,
) -> dict[str, Prospect]:
    """Tell for each profile whether one more session is carried and how long it would last."""
    wallet = paying_wallet(connection, catalogue, now_ms, member_id, payer, lock=False)
    view = project(wallet)
    open_sessions = wallet.open_sessions()
    needs = [session_needs(s, now_ms) for s in open_sessions]
    mine = [s for s in open_sessions if s["member_id"] == member_id]
    my_needs = [session_needs(s, now_ms) for s in mine]
    # A server that is still starting will burn too, from now at the earliest.
    starting = tuple(
        burndown.Meter(s["session_id"], s["rate_mtok_h"], now_ms)
        for s in open_sessions
        if s["ready_ms"] is None
    )
    found = {}
    for profile in profiles:
        if profile.files:
            # It burns nothing, and no balance or limit ends it.
            lasts_ms = None if profile.max_run_ms is None else now_ms + profile.max_run_ms
            found[profile.name] = Prospect(True, 0, lasts_ms)
            continue
        need = profile_needs(catalogue, profile)
        exceeded = tightest(wallet, member_id, [*my_needs, need])
        missing = burndown.shortfall(view.walked, [*needs, need])
        more = burndown.Meter("prospect", profile.rate_mtok_h, now_ms)
        meters = (*view.walked.meters, *starting, more)
        lasts = [
            burndown.dry_at(replace(view.walked, meters=meters), view.horizon_ms),
            *(reached_ms(wallet, member_id, limit, (*starting, more))
              for limit in limits_of(wallet, member_id)),
        ]  # fmt: skip
        if profile.max_run_ms is not None:
            lasts.append(now_ms + profile.max_run_ms)
        found[profile.name] = Prospect(
            not missing and exceeded is None,
            missing,
            min((instant for instant in lasts if instant is not None), default=None),
            None if exceeded is None else exceeded[0].reason,
        )
    return found


def payers(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> tuple[Payer, ...]:
    """Return the team wallets that a member may start servers on; see `Ledger.payers`."""
    member = find_member(connection, schema.members.c.member_id == member_id)
    if member is None:
        raise LedgerError("unknown_member", _("There is no such member."), "member_id")
    joined = teams_joined(connection, catalogue, member_id)
    found = []
    for name in sorted(joined):
        wallet = paying_wallet(connection, catalogue, now_ms, member_id, name, lock=False)
        caps = [item for item in limits_of(wallet, member_id) if item.reason == "team_cap"]
        left = [
            max(0, cap.amount_grains - spent_grains(wallet, member_id, cap.since_ms))
            for cap in caps
        ]
        found.append(
            Payer(
                name,
                wallet_view_of(connection, wallet, member_record(member)),
                caps[0].amount_grains if caps else None,
                left[0] if left else None,
            )
        )
    return tuple(found)


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
    if state != "erased":
        conditions.append(members.c.state != "erased")
    if state in ("active", "frozen", "erased"):
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
    shown = rows.all()
    wallet_ids = [row["wallet_id"] for row in shown]
    loaded = {
        wallet.wallet_id: wallet
        for wallet in load_wallets(connection, catalogue, now_ms, wallet_ids, lock=False)
    }
    return tuple(_summary(row, loaded[row["wallet_id"]]) for row in shown), int(total)


def _nothing_left(wallet_id: Any) -> Any:
    grants = schema.grants
    return ~(
        select(grants.c.grant_id)
        .where(grants.c.wallet_id == wallet_id, grants.c.remaining_grains > 0)
        .exists()
    )


def _summary(row: RowMapping, wallet: OpenWallet) -> MemberSummary:
    view = project(wallet)
    running = wallet.running_sessions()
    return MemberSummary(
        member_record(row),
        view.walked.balance(),
        view.allotment_grains,
        sum(s["rate_mtok_h"] for s in running),
        len(wallet.open_sessions()),
        dry_at(wallet, view.walked) if running else None,
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
