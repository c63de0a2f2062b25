"""Writing wallets, one or many at once: one statement for each table that has something to say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, Update, bindparam, case, func, insert, or_, update

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.wallet import PLAN_SOURCES, OpenWallet

__all__ = ["LADDER", "save_wallets"]

#: The steps of a warning, from the first to the stop; the latest takes the place of the others.
LADDER = ("time_left", "last_warning", "stopped_dry", "stopped", "would_stop")
#: Of these those that are about what is to come.
_WARNINGS = LADDER[:2]


class _Updating:
    """An UPDATE of some columns by key, built once and run for many rows."""

    def __init__(self, table: Table, key: str, columns: Sequence[str], **computed: Any) -> None:
        self.key = key
        self.columns = columns
        values = {name: computed.get(name, bindparam(f"new_{name}")) for name in columns}
        self.statement = update(table).where(table.c[key] == bindparam("key")).values(values)

    def run(self, connection: Connection, rows: Iterable[tuple[Row, Row]]) -> None:
        """Write the rows that differ from what was saved."""
        changed = [
            {"key": row[self.key], **{f"new_{name}": row[name] for name in self.columns}}
            for row, saved in rows
            if row != saved
        ]
        if changed:
            connection.execute(self.statement, changed)


_alive_ms = schema.sessions.c.alive_to_ms

_SAVE_GRANTS = _Updating(schema.grants, "grant_id", ("remaining_grains", "spent"))
_SAVE_SESSIONS = _Updating(
    schema.sessions,
    "session_id",
    (
        "ready_ms", "alive_to_ms", "ended_ms", "end_reason", "stop_by_ms", "stop_by_reason",
        "cut_ms", "noticed_ms", "stop_reason", "idle_warned_ms", "idle_noticed_ms", "settled",
        "charged_grains", "refunded_grains",
    ),
    # A snapshot writes proofs of life without the wallet's lock: the latest one stands.
    alive_to_ms=case(
        (_alive_ms > func.coalesce(bindparam("new_alive_to_ms"), 0), _alive_ms),
        else_=bindparam("new_alive_to_ms"),
    ),
)  # fmt: skip
_SAVE_WALLETS = _Updating(
    schema.wallets,
    "wallet_id",
    (
        "settled_to_ms", "period_n", "period_start_ms", "period_end_ms", "allotment_grains",
        "debt_grains", "transactions_count", "head_hash", "open_sessions", "next_deadline_ms",
        "dry_ms", "time_noticed_ms", "percent_noticed", "expiry_noticed_ms", "balance_grains",
        "balance_count",
    ),
)  # fmt: skip
_SAVE_SUBSCRIPTIONS = _Updating(
    schema.subscriptions,
    "subscription_id",
    ("plan", "next_plan", "pinned", "trial_plan", "trial_until_ms", "terms"),
)

_changes = schema.plan_changes
_APPLY_CHANGES = (
    update(_changes)
    .where(
        _changes.c.subscription_id == bindparam("of_subscription"),
        _changes.c.at_ms <= bindparam("until_ms"),
        _changes.c.applied_ms.is_(None),
        _changes.c.revoked_ms.is_(None),
    )
    .values(applied_ms=bindparam("now_ms"))
)
_notices = schema.notices


def _seeing(kinds: Sequence[str]) -> Update:
    """Return the statement after which a member is shown no more notices of these kinds.

    Of one wallet alone: who pays from a team's is warned of both.
    """
    return (
        update(_notices)
        .where(
            _notices.c.member_id == bindparam("of_member"),
            or_(*(_notices.c.kind == kind for kind in kinds)),  # IN cannot be run for many rows
            func.coalesce(_notices.c.params["team"].as_string(), "") == bindparam("of_team"),
            _notices.c.seen_ms.is_(None),
        )
        .values(seen_ms=bindparam("now_ms"))
    )


_SUPERSEDE = _seeing(LADDER)
_TAKE_BACK = _seeing(_WARNINGS)
_orders = schema.stop_orders
_CLOSE_ORDERS = (
    update(_orders)
    .where(_orders.c.session_id == bindparam("of_session"), _orders.c.closed_ms.is_(None))
    .values(closed_ms=bindparam("now_ms"), outcome=bindparam("with_outcome"))
)


def save_wallets(connection: Connection, wallets: Sequence[OpenWallet]) -> None:
    """Write everything that changed in `wallets`, with notices and stop orders."""
    for wallet in wallets:
        wallet.row["open_sessions"] = len(wallet.open_sessions())
        # Grants that were not loaded are spent: nothing is left of them.
        wallet.row["balance_grains"] = sum(g["remaining_grains"] for g in wallet.grants.values())
        wallet.row["balance_count"] = wallet.row["transactions_count"]
        _mark_spent(wallet)
    # Everything comes after what it refers to.
    _insert(connection, schema.grants, _new(wallets, "grants"))
    _insert(connection, schema.sessions, _new(wallets, "sessions"))
    _SAVE_GRANTS.run(connection, _pairs(wallets, "grants"))
    _SAVE_SESSIONS.run(connection, _pairs(wallets, "sessions"))
    for table, name in (
        (schema.transactions, "transactions"),
        (schema.entries, "entries"),
        (schema.remarks, "remarks"),
        (schema.wallet_periods, "periods"),
    ):
        _insert(connection, table, _batched(wallets, name))
    _SAVE_WALLETS.run(connection, ((w.row, w.saved_row) for w in wallets))
    _SAVE_SUBSCRIPTIONS.run(connection, ((w.subscription, w.saved_subscription) for w in wallets))
    _apply_changes(connection, [wallet for wallet in wallets if wallet.renewed])
    _carry_out(connection, wallets)


def _mark_spent(wallet: OpenWallet) -> None:
    for grant in wallet.grants.values():
        expires_ms = grant["expires_ms"]
        over = expires_ms is not None and expires_ms <= wallet.row["settled_to_ms"]
        # An overrun grant is spent as it is made; a credit with nothing left never refills but
        # by a return, which loads it again.
        grant["spent"] = grant["remaining_grains"] == 0 and (
            over or grant["source"] not in PLAN_SOURCES
        )


def _apply_changes(connection: Connection, renewed: Sequence[OpenWallet]) -> None:
    applied = [
        {
            "of_subscription": wallet.subscription["subscription_id"],
            "until_ms": wallet.row["period_start_ms"],
            "now_ms": wallet.now_ms,
        }
        for wallet in renewed
        if wallet.saved_subscription["next_plan"] is not None
    ]
    if applied:
        connection.execute(_APPLY_CHANGES, applied)


def _carry_out(connection: Connection, wallets: Sequence[OpenWallet]) -> None:
    """Write what happens after the commit: stop orders and notices."""
    closed = [
        {"of_session": session_id, "now_ms": wallet.now_ms, "with_outcome": outcome}
        for wallet in wallets
        for session_id, outcome in wallet.batch.closed_orders
    ]
    if closed:
        connection.execute(_CLOSE_ORDERS, closed)
    _insert(connection, schema.stop_orders, _batched(wallets, "stop_orders"))
    for statement, told in (
        (_SUPERSEDE, [(wallet, wallet.batch.superseded) for wallet in wallets]),
        (_TAKE_BACK, [(wallet, _no_longer_warned(wallet)) for wallet in wallets]),
    ):
        seen = [
            {"of_member": member_id, "of_team": wallet.terms.team or "", "now_ms": wallet.now_ms}
            for wallet, member_ids in told
            for member_id in sorted(member_ids)
        ]
        if seen:
            connection.execute(statement, seen)
    _insert(connection, schema.notices, _batched(wallets, "notices"))


def _no_longer_warned(wallet: OpenWallet) -> set[str]:
    """Return the members whose warnings came true for none of their servers.

    There were tokens again, a server was used again, or it ended by itself: *two minutes more*
    would stay on their pages beside a balance that says otherwise.
    """
    before = wallet.saved_sessions.values()
    warned = {s["member_id"] for s in before if s["ended_ms"] is None and _is_warned(s)}
    return warned - {s["member_id"] for s in wallet.open_sessions() if _is_warned(s)}


def _is_warned(session: Row) -> bool:
    return session["noticed_ms"] is not None or session["idle_noticed_ms"] is not None


def _new(wallets: Sequence[OpenWallet], name: str) -> list[Row]:
    """Return the rows that were not read but made."""
    return [
        row
        for wallet in wallets
        for row_id, row in getattr(wallet, name).items()
        if row_id not in getattr(wallet, f"saved_{name}")
    ]


def _pairs(wallets: Sequence[OpenWallet], name: str) -> Iterable[tuple[Row, Row]]:
    """Yield each row that was read, with what it was then."""
    for wallet in wallets:
        rows = getattr(wallet, name)
        for row_id, saved in getattr(wallet, f"saved_{name}").items():
            yield rows[row_id], saved


def _batched(wallets: Sequence[OpenWallet], name: str) -> list[Row]:
    return [row for wallet in wallets for row in getattr(wallet.batch, name)]


_INSERTS = {
    table.name: insert(table)
    for table in (
        schema.grants, schema.sessions, schema.transactions, schema.entries, schema.remarks,
        schema.wallet_periods, schema.stop_orders, schema.notices,
    )
}  # fmt: skip


def _insert(connection: Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(_INSERTS[table.name], rows)
