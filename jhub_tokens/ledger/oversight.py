"""What administrators see and do across all members: lists, the fleet, the log, acts on many."""

from __future__ import annotations

from collections.abc import Sequence

from jhub_tokens.ledger import acts, bulk, fleet, member_list
from jhub_tokens.ledger.acts import ActFilter
from jhub_tokens.ledger.oversight_records import (
    Action,
    ActKind,
    ActsPage,
    BulkAct,
    BulkLine,
    Figures,
    Fleet,
    MemberFilter,
    MemberList,
    Place,
    SessionPast,
    Sort,
    TopConsumer,
)
from jhub_tokens.ledger.pulse import Pulse, pulse
from jhub_tokens.ledger.records import MemberSummary
from jhub_tokens.ledger.runner import Runner

__all__ = ["OversightBooks"]


class OversightBooks:
    """The operations of administrators' pages; every method is one transaction.

    Parameters
    ----------
    runner
        Runs operations on the books.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    # --- reading --------------------------------------------------------------------------

    def members(
        self,
        which: MemberFilter | None = None,
        *,
        sort: Sort = "name",
        size: int = 50,
        after: Place | None = None,
        before: Place | None = None,
    ) -> MemberList:
        """Return a page of the members that match: the one after a place, or before it."""
        chosen = which or MemberFilter()
        return self._runner.read(
            member_list.list_members, chosen, sort, size, after=after, before=before
        )

    def matching(self, which: MemberFilter, limit: int) -> tuple[str, ...]:
        """Return the ids of the members that match, by name, `limit` of them at most."""
        return self._runner.read(member_list.matching_members, which, limit)

    def named(self, wanted: Sequence[str]) -> dict[str, str]:
        """Return the member id of each word that is a name that is held, or a member id."""
        return self._runner.read(member_list.named_members, tuple(wanted))

    def summaries(self, member_ids: Sequence[str]) -> tuple[MemberSummary, ...]:
        """Return those of these members whom there are, in this order."""
        return self._runner.read(member_list.summaries_of, tuple(member_ids))

    def fleet(
        self,
        *,
        profiles: tuple[str, ...] | None = None,
        size: int = 100,
        after: Place | None = None,
    ) -> Fleet:
        """Return what runs (of some profiles, if told), what ends soonest first."""
        return self._runner.read(fleet.fleet, profiles, size, after)

    def figures(self) -> Figures:
        """Return the key figures."""
        return self._runner.read(fleet.figures)

    def sessions(self, member_id: str, limit: int = 50) -> tuple[SessionPast, ...]:
        """Return a member's latest sessions, whoever pays."""
        return self._runner.read(fleet.past_sessions, member_id, limit)

    def top_consumers(self, from_ms: int, to_ms: int, limit: int = 50) -> tuple[TopConsumer, ...]:
        """Return who consumed most in a span as booked, whoever pays."""
        return self._runner.read(fleet.top_consumers, from_ms, to_ms, limit)

    def acts(
        self, which: ActFilter | None = None, *, size: int = 50, after: Place | None = None
    ) -> ActsPage:
        """Return a page of who did what to whom, the latest first."""
        return self._runner.read(acts.list_acts, which or ActFilter(), size, after)

    def pulse(self) -> Pulse:
        """Return whether the books are alive: who tells them, what is due, what waits."""
        return self._runner.read(pulse)

    def bulk_act(self, act_id: str, limit: int = 500) -> BulkAct | None:
        """Return an act on many members with `limit` of its lines, None if there is none such."""
        return self._runner.read(bulk.read_act, act_id, limit)

    def waiting_lines(self, act_id: str) -> tuple[int, ...]:
        """Return the lines of an act on many members that nothing has become of yet."""
        return self._runner.read(bulk.waiting_lines, act_id)

    # --- writing --------------------------------------------------------------------------

    def note(
        self,
        kind: ActKind,
        actor: str,
        *,
        member_id: str | None = None,
        subject: str = "",
        once_in_ms: int = 0,
    ) -> None:
        """Write down an act that no other table tells of; the same one once within a while."""
        self._runner.write(acts.note, kind, actor, member_id, subject, once_in_ms)

    def begin_bulk(
        self,
        action: Action,
        lines: Sequence[BulkLine],
        *,
        actor: str,
        reason: str,
        caller: str,
        key: str,
    ) -> str:
        """Write an act on many members down and return its id; the same key: the same act.

        Raises
        ------
        LedgerError
            ``bad_count``, ``unknown_member``, ``unknown_plan`` or ``idempotency_conflict``;
            nothing was written.
        """
        return self._runner.write(
            bulk.begin, action, tuple(lines), actor, reason, caller=caller, key=key
        )

    def carry_out(self, act_id: str, line: int) -> bool:
        """Carry out one line of an act on many members, once; return whether it was now.

        What the books refuse is noted at the line.
        """
        return self._runner.write(bulk.carry_out, act_id, line)
