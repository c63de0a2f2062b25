"""The ledger: every operation on the books, each one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update
from sqlalchemy.exc import DBAPIError

from jhub_tokens.catalogue import Catalogue, Profile
from jhub_tokens.clock import Clock, SystemClock
from jhub_tokens.ledger import (
    credits,
    membership,
    migrate,
    observe,
    reads,
    schema,
    sessions,
    statements,
)
from jhub_tokens.ledger.audit import Finding, audit
from jhub_tokens.ledger.isolation import isolated
from jhub_tokens.ledger.records import (
    AdvanceReport,
    GrantBooked,
    MemberRecord,
    MemberSummary,
    NotAdmitted,
    NoticeRecord,
    ObserveReport,
    Prospect,
    SessionRecord,
    StatementView,
    StopOrderRecord,
    WalletView,
)
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.store import DatabaseProblem, Store, describe_failure, open_engine
from jhub_tokens.wire import Identity, Snapshot

__all__ = ["Ledger", "open_ledger"]


def open_ledger(
    url: str, clock: Clock | None = None, catalogue: Callable[[], Catalogue] | None = None
) -> Ledger:
    """Open the books at `url`, creating or upgrading the schema.

    Without a catalogue the books can be read and audited, but nothing that needs plans.

    Raises
    ------
    DatabaseProblem
        If the database cannot be used, with the reason and the remedy.
    """
    store = Store(open_engine(url))
    try:
        migrate.upgrade(store)
    except DBAPIError as error:
        store.close()
        raise describe_failure(error) from error
    except DatabaseProblem:
        store.close()
        raise

    def missing() -> Catalogue:
        raise DatabaseProblem("These books were opened without a catalogue.", "Name one.")

    return Ledger(store, clock or SystemClock(), catalogue or missing)


class Ledger:
    """All operations on the books. Thread-safe; every method blocks on the database.

    Any method may raise `DatabaseProblem` when the database fails underneath it; nothing is
    half-written then.
    """

    def __init__(self, store: Store, clock: Clock, catalogue: Callable[[], Catalogue]) -> None:
        self._runner = runner = Runner(store, clock, catalogue)
        self._store = store
        self._clock = clock
        self._catalogue = catalogue
        self._write = runner.write
        self._read = runner.read
        self._translated = runner.translated

    # --- members --------------------------------------------------------------------------

    def ensure_member(self, identity: Identity) -> MemberRecord:
        """Make sure that a member and this period's grant exist; follows renames. Idempotent."""
        with self._translated(), self._store.read() as connection:
            known = membership.known_member(connection, self._catalogue(), identity)
        return known or self._write(membership.ensure_member, identity)

    def member(self, member_id: str) -> MemberRecord | None:
        """Return a member, None if there is none of this id."""
        return self._find(schema.members.c.member_id == member_id)

    def member_by_name(self, name: str, created: str | None = None) -> MemberRecord | None:
        """Return the member that the hub's user of this name is.

        With `created` (the hub user's creation time) the answer is certain even where the name
        has passed to somebody else.
        """
        members = schema.members.c
        if created is not None:
            return self._find(members.name == name, members.hub_created == created)
        return self._find(members.name == name, members.holds_name.is_(True))

    def _find(self, *conditions: Any) -> MemberRecord | None:
        with self._translated(), self._store.read() as connection:
            row = membership.find_member(connection, *conditions)
        return None if row is None else membership.member_record(row)

    def set_frozen(self, member_id: str, *, frozen: bool, actor: str, reason: str) -> MemberRecord:
        """Freeze a member, whose servers are then ordered to stop, or undo it. Idempotent.

        Raises
        ------
        LedgerError
            If there is no such member (``unknown_member``).
        """
        return self._write(
            membership.set_frozen, member_id, frozen=frozen, actor=actor, reason=reason
        )

    # --- starting and running -------------------------------------------------------------

    def admit(
        self,
        member_id: str,
        *,
        server_name: str,
        start_key: str,
        profile: str,
        image: str | None = None,
        gpu_model: str | None = None,
        hub: str = "hub",
    ) -> tuple[SessionRecord, NotAdmitted | None]:
        """Admit a start; the same key gives the same answer.

        In shadow mode (`Catalogue.enforce` false) the second item is the refusal that the rules
        would have given.

        Raises
        ------
        NotAdmitted
            If the start is refused; nothing was written.
        LedgerError
            If the key was used for another start, or there is no such member.
        """
        return self._write(
            sessions.admit,
            member_id,
            server_name=server_name,
            start_key=start_key,
            profile=profile,
            image=image,
            gpu_model=gpu_model,
            hub=hub,
        )

    def observe(self, snapshot: Snapshot) -> ObserveReport:
        """Take in a complete snapshot of a hub's servers, with the facts since the last one."""
        return self._write(observe.observe, snapshot)

    def advance_due(self, limit: int = 200) -> AdvanceReport:
        """Advance up to `limit` wallets whose deadline has come, those that burn first."""
        return self._write(warden_pass, limit)

    def standing_stops(self) -> tuple[StopOrderRecord, ...]:
        """Return the stop orders that stand, the oldest first."""
        orders, s = schema.stop_orders, schema.sessions
        query = (
            select(orders.c.order_id, orders.c.reason, orders.c.issued_ms, s)
            .join(s, s.c.session_id == orders.c.session_id)
            .where(orders.c.closed_ms.is_(None))
            .order_by(orders.c.issued_ms, orders.c.order_id)
        )
        found = []
        with self._translated(), self._store.read() as connection:
            for row in connection.execute(query).mappings().all():
                member = membership.find_member(
                    connection, schema.members.c.member_id == row["member_id"]
                )
                assert member is not None
                found.append(
                    StopOrderRecord(
                        row["order_id"],
                        sessions.session_record(row),
                        membership.member_record(member),
                        row["reason"],
                        row["issued_ms"],
                    )
                )
        return tuple(found)

    def record_stop_failure(self, order_id: str, detail: str) -> None:
        """Note why a stop order could not be carried out; it stands and is tried again."""
        orders = schema.stop_orders
        noting = update(orders).where(orders.c.order_id == order_id)
        with self._translated(), self._store.write() as connection:
            connection.execute(noting.values(detail=detail[:500]))

    # --- money ----------------------------------------------------------------------------

    def grant(
        self,
        member_id: str,
        *,
        amount_grains: int,
        kind: str,
        actor: str,
        reason: str,
        caller: str,
        key: str,
    ) -> GrantBooked:
        """Credit a member, or take back with a negative adjustment; idempotent by caller and key.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``bad_kind``, ``zero_amount``, ``fraction``, ``too_much``,
            ``negative_topup``, ``no_reason``, ``insufficient`` or ``idempotency_conflict``;
            nothing was written.
        """
        return self._write(
            credits.grant,
            member_id,
            amount_grains=amount_grains,
            kind=kind,
            actor=actor,
            reason=reason,
            caller=caller,
            key=key,
        )

    # --- reads ----------------------------------------------------------------------------

    def wallet_view(self, member_id: str) -> WalletView:
        """Return a member's wallet, projected to now; raises `LedgerError` if there is none."""
        return self._read(reads.wallet_view, member_id)

    def prospects(self, member_id: str, profiles: Sequence[Profile]) -> dict[str, Prospect]:
        """Tell for each profile, by name, whether a start is carried and how long it lasts."""
        return self._read(reads.prospects, member_id, profiles)

    def statement(self, member_id: str, from_ms: int, to_ms: int) -> StatementView:
        """Return the statement of [`from_ms`, `to_ms`): opening plus lines is closing."""
        return self._read(statements.statement, member_id, from_ms, to_ms)

    def periods(self, member_id: str) -> tuple[tuple[int, int], ...]:
        """Return start and end of the member's periods so far, newest first."""
        return self._read(statements.periods, member_id)

    def members(
        self, *, search: str = "", state: str = "", page: int = 1, page_size: int = 50
    ) -> tuple[tuple[MemberSummary, ...], int]:
        """Return a page of members and how many there are in all.

        `search` is part of a name; `state` is active, frozen, running or dry.
        """
        return self._read(
            reads.member_page, search=search, state=state, page=page, page_size=page_size
        )

    def notices(
        self, member_id: str, *, unseen_only: bool = False, limit: int = 20
    ) -> tuple[NoticeRecord, ...]:
        """Return a member's notices, newest first."""
        table = schema.notices
        query = select(table).where(table.c.member_id == member_id)
        if unseen_only:
            query = query.where(table.c.seen_ms.is_(None))
        query = query.order_by(table.c.created_ms.desc(), table.c.notice_id).limit(limit)
        with self._translated(), self._store.read() as connection:
            return tuple(
                NoticeRecord(
                    row["notice_id"],
                    row["member_id"],
                    row["kind"],
                    row["params"],
                    row["created_ms"],
                )
                for row in connection.execute(query).mappings()
            )

    def mark_notices_seen(self, member_id: str, notice_ids: Iterable[str]) -> None:
        """Note that a member has seen these notices."""
        table = schema.notices
        seen = update(table).where(
            table.c.member_id == member_id,
            table.c.notice_id.in_(list(notice_ids)),
            table.c.seen_ms.is_(None),
        )
        with self._translated(), self._store.write() as connection:
            connection.execute(seen.values(seen_ms=self._clock.now_ms()))

    def totals(self) -> dict[str, int]:
        """Return counts and the system's totals in grains, as booked."""
        with self._translated(), self._store.read() as connection:
            return reads.totals(connection)

    def audit(self) -> tuple[Finding, ...]:
        """Derive every balance and charge again from the entries; empty: the books are clean."""
        with self._translated(), self._store.read() as connection:
            return audit(connection)

    def close(self) -> None:
        """Close the database."""
        self._store.close()


def warden_pass(
    connection: Connection, catalogue: Catalogue, now_ms: int, limit: int
) -> AdvanceReport:
    """Advance due wallets within one transaction; see `Ledger.advance_due`."""
    wallets, hubs = schema.wallets, schema.hubs
    heard_ms = connection.execute(select(func.max(hubs.c.observed_ms))).scalar()
    burning = wallets.c.open_sessions > 0
    # An idle wallet renews only up to when a hub was last heard: a clock that jumped forward
    # renews and expires nothing by itself.
    due = and_(
        wallets.c.next_deadline_ms <= now_ms,
        or_(burning, wallets.c.next_deadline_ms <= (heard_ms or 0)),
    )
    query = (
        select(wallets.c.member_id)
        .where(due)
        .order_by(burning.desc(), wallets.c.next_deadline_ms)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    member_ids = connection.execute(query).scalars().all()
    notices = stops = 0
    for member_id in member_ids:

        def advance(member_id: str = member_id) -> tuple[int, int]:
            wallet = membership.load_wallet(connection, catalogue, now_ms, member_id)
            wallet.advance()
            return membership.close_wallet(wallet, catalogue)

        done = isolated(connection, now_ms, member_id, advance)
        if done is not None:
            notices += done[0]
            stops += done[1]
    # What is due and was left for the next pass counts as well.
    upcoming = select(func.min(wallets.c.next_deadline_ms)).where(
        or_(
            burning,
            wallets.c.next_deadline_ms > now_ms,
            wallets.c.next_deadline_ms <= (heard_ms or 0),
        )
    )
    return AdvanceReport(len(member_ids), connection.execute(upcoming).scalar(), stops, notices)
