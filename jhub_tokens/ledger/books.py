"""The ledger: every operation on the books, each one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from jhub_tokens.catalogue import Catalogue, Profile
from jhub_tokens.clock import Clock, SystemClock
from jhub_tokens.ledger import (
    admissions,
    credits,
    due,
    membership,
    migrate,
    notices,
    observe,
    own_data,
    plans,
    reads,
    refunds,
    schema,
    stamps,
    statements,
    stop_orders,
    teams,
)
from jhub_tokens.ledger.audit import Finding, audit
from jhub_tokens.ledger.break_glass import BreakGlassBooks
from jhub_tokens.ledger.directory import DirectoryBooks
from jhub_tokens.ledger.ends import ClusterBooks
from jhub_tokens.ledger.exported_seals import ExportedSeals
from jhub_tokens.ledger.finance import FinanceBooks
from jhub_tokens.ledger.finance_records import Basis
from jhub_tokens.ledger.itemised import ItemisedStatement, itemised
from jhub_tokens.ledger.member_settings import MemberSettingsBooks
from jhub_tokens.ledger.money_records import RefundBooked
from jhub_tokens.ledger.outbox import Outbox
from jhub_tokens.ledger.oversight import OversightBooks
from jhub_tokens.ledger.owned_teams import TeamBooks
from jhub_tokens.ledger.payments import PaymentBooks
from jhub_tokens.ledger.questions import QuestionBooks
from jhub_tokens.ledger.records import (
    AdvanceReport,
    GrantBooked,
    MemberRecord,
    MemberSummary,
    NotAdmitted,
    NoticeRecord,
    ObserveReport,
    Payer,
    PlanChange,
    Prospect,
    SessionRecord,
    StatementView,
    StopOrderRecord,
    WalletView,
)
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.seals import SealBooks
from jhub_tokens.ledger.self_service import SelfServiceBooks
from jhub_tokens.ledger.servers import ServerBooks
from jhub_tokens.ledger.ssh_keys import SshKeyBooks
from jhub_tokens.ledger.store import DatabaseProblem, Store, describe_failure, open_engine, unbound
from jhub_tokens.ledger.usage import UsageBooks
from jhub_tokens.ledger.vouchers import VoucherBooks
from jhub_tokens.wire import Identity, Snapshot

__all__ = ["Ledger", "open_ledger"]


def open_ledger(
    url: str,
    clock: Clock | None = None,
    catalogue: Callable[[], Catalogue] | None = None,
    *,
    may_migrate: bool = True,
) -> Ledger:
    """Open the books at `url`, creating or upgrading the schema if allowed and the role owns it.

    Without a catalogue the books can be read and audited, but nothing that needs plans.

    Raises
    ------
    DatabaseProblem
        If the database cannot be used, with the reason and the remedy.
    """
    store = Store(open_engine(url))
    try:
        migrate.upgrade(store, may_change=may_migrate)
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
        #: What is on its way to members by e-mail and webhook.
        self.outbox = Outbox(runner)
        #: How members want to be told.
        self.member_settings = MemberSettingsBooks(runner)
        #: Seals of all chains' heads, to be kept outside the database.
        self.seals = SealBooks(runner)
        #: What was let through while the service was away.
        self.break_glass = BreakGlassBooks(runner)
        #: What a sign-in provider's directory says of members.
        self.directory = DirectoryBooks(runner)
        #: Vouchers: made in batches, redeemed by members.
        self.vouchers = VoucherBooks(runner)
        #: Finance: reports, closed months, exports, erasure.
        self.finance = FinanceBooks(runner)
        #: Payments: invoices, what providers tell of them, fees past due.
        self.payments = PaymentBooks(runner)
        #: Running servers' own matters: their state, keep-running, stops their members ask for.
        self.servers = ServerBooks(runner)
        #: What the cluster itself tells of servers.
        self.cluster = ClusterBooks(runner)
        #: Teams as their owners see them, and invitations.
        self.teams = TeamBooks(runner)
        #: What members do with their plan themselves.
        self.self_service = SelfServiceBooks(runner)
        #: SSH public keys that open members' servers.
        self.ssh_keys = SshKeyBooks(runner)
        #: What administrators see and do across all members.
        self.oversight = OversightBooks(runner)
        #: What servers consumed, by day, hour and profile.
        self.usage = UsageBooks(runner)
        #: Members' questions about a charge, and their answers.
        self.questions = QuestionBooks(runner)

    def ping(self) -> None:
        """Ask the database whether it is there."""
        with self._translated(), self._store.read() as connection:
            connection.execute(select(1))

    # --- members --------------------------------------------------------------------------

    def ensure_member(self, identity: Identity) -> MemberRecord:
        """Make sure that a member and this period's grant exist; follows renames. Idempotent."""
        with self._translated(), self._store.read() as connection:
            known = membership.known_members(connection, self._catalogue(), [identity])
        found = known.get((identity.hub_user_id, identity.created))
        return found or self._write(membership.ensure_member, identity)

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

    def own_data(self, member_id: str) -> dict[str, list[dict[str, Any]]]:
        """Return everything the books hold about a member, by table.

        Raises
        ------
        LedgerError
            If there is no such member (``unknown_member``).
        """
        return self._read(own_data.own_data, member_id)

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

    # --- plans and teams ------------------------------------------------------------------

    def change_plan(
        self,
        member_id: str,
        plan: str,
        *,
        when: plans.When | None = None,
        actor: str,
        reason: str = "",
    ) -> PlanChange:
        """Change a member's plan, ``"now"`` (pro rata) or from the ``"next"`` period on.

        Without `when`, a plan with more tokens begins as the catalogue says and any other one
        with the next period. The catalogue's rules leave a chosen plan alone.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``unknown_plan``, ``same_plan``, ``not_an_upgrade``, or ``wait``
            while a renewal waits to be booked; nothing was written.
        """
        return self._write(
            plans.change_plan, member_id, plan=plan, when=when, actor=actor, reason=reason
        )

    def start_trial(self, member_id: str, plan: str, *, actor: str) -> PlanChange:
        """Lend a member a plan's profiles and limits, with the trial's own tokens.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``unknown_plan``, ``no_trial``, ``same_plan``, ``tried_before``,
            ``trial_runs`` or ``wait``; nothing was written.
        """
        return self._write(plans.start_trial, member_id, plan=plan, actor=actor)

    def cancel_plan(self, member_id: str, *, actor: str, reason: str = "") -> PlanChange:
        """Let a plan end with its period; the catalogue's default plan follows.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``nothing_to_cancel`` or ``wait``; nothing was written.
        """
        return self._write(plans.cancel_plan, member_id, actor=actor, reason=reason)

    def revoke_change(self, member_id: str, change_id: str) -> PlanChange:
        """Take a scheduled change of plan back. Idempotent.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``unknown_change``, ``change_done`` or ``wait``.
        """
        return self._write(plans.revoke_change, member_id, change_id)

    def follow_rules(self, member_id: str) -> None:
        """Let the catalogue's rules decide the plan again, from the next sign-in on.

        Raises
        ------
        LedgerError
            ``unknown_member`` or ``wait``.
        """
        self._write(plans.follow_rules, member_id)

    def plan_changes(self, member_id: str) -> tuple[PlanChange, ...]:
        """Return a member's changes of plan, the latest first; raises `LedgerError` if unknown."""
        return self._read(plans.plan_changes, member_id)

    def set_team_cap(self, team: str, member_id: str, cap_grains: int | None) -> None:
        """Set what one member may spend of a team in a period; None: the catalogue's cap.

        Raises
        ------
        LedgerError
            ``unknown_team`` or ``not_in_team``.
        """
        self._write(teams.set_cap, team, member_id, cap_grains)

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
        payer: str | None = None,
        max_run_ms: int | None = None,
        hub: str = "hub",
    ) -> tuple[SessionRecord, NotAdmitted | None]:
        """Admit a start; the same key gives the same answer.

        `payer` names the team that pays, None: the member's own wallet. `max_run_ms` bounds the
        run, from ready on, within what the profile allows.

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
            admissions.admit,
            member_id,
            server_name=server_name,
            start_key=start_key,
            profile=profile,
            image=image,
            gpu_model=gpu_model,
            payer=payer,
            max_run_ms=max_run_ms,
            hub=hub,
        )

    def observe(self, snapshot: Snapshot) -> ObserveReport:
        """Take in a complete snapshot of a hub's servers, with the facts since the last one."""
        return self._write(observe.observe, snapshot)

    def advance_due(self, limit: int = 200) -> AdvanceReport:
        """Advance up to `limit` wallets whose deadline has come, those that burn first."""
        return self._write(due.advance_due, limit)

    def standing_stops(self) -> tuple[StopOrderRecord, ...]:
        """Return the stop orders that stand, the oldest first."""
        with self._translated(), self._store.read() as connection:
            return stop_orders.standing(connection)

    def record_stop_failure(self, order_id: str, detail: str) -> None:
        """Note why a stop order could not be carried out; it stands and is tried again."""
        with self._translated(), self._store.write() as connection:
            stop_orders.record_failure(connection, order_id, detail)

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
            ``negative_topup``, ``no_reason``, ``insufficient``, ``admin_limit`` or
            ``idempotency_conflict``; nothing was written.
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

    def refund_session(
        self,
        session_id: str,
        *,
        amount_grains: int | None = None,
        actor: str,
        reason: str,
        caller: str,
        key: str,
    ) -> RefundBooked:
        """Give a session's charge back, None: all that can be; idempotent by caller and key.

        It goes back to the grants that paid; what a grant paid that has expired since comes as
        tokens to the end of the present period. What overran was never paid and is left alone.

        Raises
        ------
        LedgerError
            ``unknown_session``, ``zero_amount``, ``no_reason``, ``nothing_to_refund``,
            ``more_than_charged``, ``too_much``, ``admin_limit``, ``wait`` or
            ``idempotency_conflict``; nothing was written.
        """
        return self._write(
            refunds.refund_session,
            session_id,
            amount_grains=amount_grains,
            actor=actor,
            reason=reason,
            caller=caller,
            key=key,
        )

    # --- reads ----------------------------------------------------------------------------

    def wallet_view(self, member_id: str) -> WalletView:
        """Return a member's wallet, projected to now; raises `LedgerError` if there is none."""
        return self._read(reads.wallet_view, member_id)

    def prospects(
        self, member_id: str, profiles: Sequence[Profile], payer: str | None = None
    ) -> dict[str, Prospect]:
        """Tell for each profile, by name, whether a start is carried and how long it lasts.

        `payer` names the team that would pay; raises `LedgerError` if the member is not in it.
        """
        return self._read(reads.prospects, member_id, profiles, payer)

    def payers(self, member_id: str) -> tuple[Payer, ...]:
        """Return the team wallets that a member may start servers on, by name."""
        return self._read(reads.payers, member_id)

    def statement(self, member_id: str, from_ms: int, to_ms: int) -> StatementView:
        """Return the statement of [`from_ms`, `to_ms`): opening plus lines is closing."""
        return self._read(statements.statement, member_id, from_ms, to_ms)

    def itemised(self, member_id: str, from_ms: int, to_ms: int) -> ItemisedStatement:
        """Return the statement of [`from_ms`, `to_ms`) with sessions' segments and questions."""
        return self._read(itemised, member_id, from_ms, to_ms)

    def statement_as_of(
        self, member_id: str, at_ms: int, basis: Basis = "effective"
    ) -> StatementView:
        """Return the statement of the period that holds a past instant, up to that instant.

        *effective*: what is true of that instant as far as is known now, projected where it is
        not booked yet. *booked*: what the books held at that instant, and nothing that was
        learned later.

        Raises
        ------
        LedgerError
            ``unknown_member`` or ``future_instant``.
        """
        return self._read(statements.statement_as_of, member_id, at_ms, basis)

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
        """Return a member's notices, newest first, with the member's language and zone."""
        with self._translated(), self._store.read() as connection:
            return notices.notices_of(connection, member_id, unseen_only=unseen_only, limit=limit)

    def wallet_stamps(self, member_ids: Collection[str]) -> dict[str, Hashable]:
        """Return for each of up to `stamps.MEMBERS_MAX` members what changes with each write.

        Equal stamps: nothing that the member's page shows was written in between. Who has none
        is no member.
        """
        return self._read(stamps.wallet_stamps, member_ids)

    def mark_notices_seen(self, member_id: str, notice_ids: Iterable[str]) -> None:
        """Note that a member has seen these notices."""
        with self._translated(), self._store.write() as connection:
            notices.mark_seen(connection, self._clock.now_ms(), member_id, notice_ids)

    def now_ms(self) -> int:
        """Return what time it is by the books' clock."""
        return self._clock.now_ms()

    def totals(self) -> dict[str, int]:
        """Return counts and the system's totals in grains, as booked."""
        with self._translated(), self._store.read() as connection:
            return reads.totals(connection)

    def audit(self, exported: ExportedSeals | None = None) -> tuple[Finding, ...]:
        """Derive every projection again from the entries; empty: the books are clean.

        With seals that were kept outside the database it also finds what was done by somebody
        who could write to all of it.
        """
        with self._translated(), self._store.read() as connection:
            unbound(connection)
            return tuple(audit(connection, self._clock.now_ms(), exported))

    def close(self) -> None:
        """Close the database."""
        self._store.close()
