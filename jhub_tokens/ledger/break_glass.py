"""Break-glass in the books: what was let through while the service was away, metered afterwards.

The hub tells of its acts and starts until a receipt names them, so that each may come any number
of times and with more facts each time. A start becomes a session like any other, ready and ended
when it truly was, at the rate that held when it was let through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from jhub_tokens.catalogue import Catalogue, Profile
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.admissions import paying_wallet
from jhub_tokens.ledger.batches import change_wallets
from jhub_tokens.ledger.deadlines import set_end
from jhub_tokens.ledger.late import charge_late
from jhub_tokens.ledger.membership import ensure_member, find_member
from jhub_tokens.ledger.observe import ADOPTED
from jhub_tokens.ledger.records import NotAdmitted
from jhub_tokens.ledger.rows import Row, new_id
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.sessions import (
    end_session,
    lock_start,
    mark_ready,
    start_session,
)
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.wire import ActTold, BreakGlassReport, StartTold

__all__ = ["BookedAct", "BookedStart", "BreakGlassBooks", "Taken"]

_acts, _ends, _starts = (
    schema.break_glass_acts,
    schema.break_glass_ends,
    schema.break_glass_starts,
)
_sessions, _members = schema.sessions, schema.members
#: How a waived run ends where it was taken over by a metered one.
TAKEN_OVER = "taken_over"
#: How many acts are listed.
ACTS_MAX = 100


@dataclass(frozen=True, slots=True)
class Taken:
    """What of a report is in the books now."""

    acts: tuple[str, ...]
    starts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BookedStart:
    """A start that was let through, with its session's facts."""

    session_id: str
    member_id: str
    name: str
    server_name: str
    profile: str
    rate_mtok_h: int
    admitted_ms: int
    ready_ms: int | None
    ended_ms: int | None
    charged: bool
    charged_grains: int


@dataclass(frozen=True, slots=True)
class BookedAct:
    """An act with the starts that it let through; `ended_ms` only if it was ended early."""

    act_id: str
    hub: str
    opened_ms: int
    until_ms: int
    ended_ms: int | None
    ended_by: str
    actor: str
    how: str
    reason: str
    profiles: tuple[str, ...] | None
    servers_max: int | None
    starts: tuple[BookedStart, ...]


class BreakGlassBooks:
    """What went on while the service was away; every method is one transaction.

    Parameters
    ----------
    runner
        Runs operations on the books.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def take(self, report: BreakGlassReport) -> Taken:
        """Book what a hub tells; what is booked already is not booked again."""
        return self._runner.write(_take, report)

    def acts(self) -> tuple[BookedAct, ...]:
        """Return the latest acts with their starts, newest first."""
        return self._runner.read(_list)

    def frozen(self) -> tuple[tuple[int, str], ...]:
        """Return the hub id and creation of each frozen member, for whom nothing is let through."""
        return self._runner.read(_frozen)


def _take(
    connection: Connection, catalogue: Catalogue, now_ms: int, report: BreakGlassReport
) -> Taken:
    return _Taking(connection, catalogue, now_ms, report).run()


class _Taking:
    """One report on its way into the books; single use."""

    def __init__(
        self, connection: Connection, catalogue: Catalogue, now_ms: int, report: BreakGlassReport
    ) -> None:
        self.connection = connection
        self.catalogue = catalogue
        self.now_ms = now_ms
        self.report = report
        self.left_ms = report.left_ms(now_ms)
        self.waives = catalogue.policy.break_glass == "waive"
        self.changes: dict[str, list[Callable[[OpenWallet], None]]] = defaultdict(list)
        self.wallet_of: dict[str, str] = {}  # start key → wallet
        self.fresh: dict[str, Row] = {}  # start key → the row that marks its session

    def run(self) -> Taken:
        for act in self.report.acts:
            self._act(act)
        # In one order for everybody, so that two replicas cannot wait for each other.
        for key in sorted(start.start_key for start in self.report.starts):
            lock_start(self.connection, key)
        for start in sorted(self.report.starts, key=lambda s: (-s.started_age_ms, s.start_key)):
            self._start(start)
        failed = change_wallets(
            self.connection, self.catalogue, self.now_ms, list(self.changes), self._apply
        ).failed
        booked = [
            start.start_key
            for start in self.report.starts
            if self.wallet_of.get(start.start_key) not in failed
        ]
        marks = [self.fresh[key] for key in booked if key in self.fresh]
        if marks:
            self.connection.execute(insert(_starts), marks)
        return Taken(tuple(act.act_id for act in self.report.acts), tuple(booked))

    def _ago_ms(self, age_ms: int) -> int:
        return max(0, self.left_ms - age_ms)

    # --- acts -----------------------------------------------------------------------------

    def _act(self, act: ActTold) -> None:
        opened_ms = self._ago_ms(act.opened_age_ms)
        if not self._is_in(_acts.c.act_id, act.act_id):
            row = {
                "act_id": act.act_id,
                "hub": self.report.hub,
                "opened_ms": opened_ms,
                "until_ms": opened_ms + act.duration_ms,
                "actor": act.actor,
                "how": act.how,
                "reason": act.reason,
                "profiles": act.profiles,
                "servers_max": act.servers_max,
                "told_ms": self.now_ms,
            }
            self.connection.execute(insert(_acts), row)
        if act.ended_age_ms is not None and not self._is_in(_ends.c.act_id, act.act_id):
            ended_ms = self._ago_ms(act.ended_age_ms)
            row = {"act_id": act.act_id, "ended_ms": ended_ms, "actor": act.ended_by}
            self.connection.execute(insert(_ends), {**row, "told_ms": self.now_ms})

    def _is_in(self, column: Any, value: str) -> bool:
        return self.connection.execute(select(column).where(column == value)).first() is not None

    # --- starts ---------------------------------------------------------------------------

    def _start(self, start: StartTold) -> None:
        member = ensure_member(self.connection, self.catalogue, self.now_ms, start.member)
        known = select(_sessions).where(_sessions.c.start_key == start.start_key)
        session = self.connection.execute(known).mappings().first()
        if session is not None:
            # Told before, or found running and adopted: what is news is its end, or readiness.
            session_id, wallet_id = session["session_id"], session["wallet_id"]
            if session["ended_ms"] is None:
                self.changes[wallet_id].append(lambda w: self._more(w, session_id, start))
        else:
            session_id, wallet_id = new_id(), self._wallet_id(member.member_id, start)
            self.changes[wallet_id].append(
                lambda w: self._begin(w, session_id, member.member_id, start)
            )
        self.wallet_of[start.start_key] = wallet_id
        if not self._is_in(_starts.c.start_key, start.start_key):
            self.fresh[start.start_key] = {
                "start_key": start.start_key,
                "act_id": start.act_id,
                "session_id": session_id,
                "rate_mtok_h": start.rate_mtok_h,
                "charged": not (session is None and self._is_waived(start)),
                "told_ms": self.now_ms,
            }

    def _is_waived(self, start: StartTold) -> bool:
        """Tell whether a run is waived; one that is still starting has consumed nothing yet."""
        return self.waives and start.ready_age_ms is not None

    def _wallet_id(self, member_id: str, start: StartTold) -> str:
        """Return the wallet that pays: the team's that was chosen if it may be, else the own."""
        try:
            wallet = paying_wallet(
                self.connection, self.catalogue, self.now_ms, member_id, start.payer, lock=False
            )
        except NotAdmitted:
            wallet = paying_wallet(
                self.connection, self.catalogue, self.now_ms, member_id, None, lock=False
            )
        return wallet.wallet_id

    def _apply(self, wallet: OpenWallet) -> None:
        for change in self.changes[wallet.wallet_id]:
            change(wallet)
        wallet.advance()

    def _more(self, wallet: OpenWallet, session_id: str, start: StartTold) -> None:
        session = wallet.sessions.get(session_id)
        if session is None or session["ended_ms"] is not None:
            return  # ended by somebody else before the wallet was locked
        if start.ready_age_ms is not None:
            mark_ready(wallet, session_id, self._ago_ms(start.ready_age_ms), None)
        if start.ended_age_ms is not None:
            ended_ms = self._ago_ms(start.ended_age_ms)
            if start.reason == "lost":  # snapshots may have proven it alive since
                ended_ms = max(ended_ms, session["alive_to_ms"] or 0)
            end_session(wallet, session, ended_ms, start.reason)

    def _begin(self, wallet: OpenWallet, session_id: str, member_id: str, start: StartTold) -> None:
        """Open the session of a start that is told for the first time, as far as it has come."""
        waived = self._is_waived(start)
        session = self._open(
            wallet, start, member_id, start.start_key, session_id=session_id, waived=waived
        )
        session["admitted_ms"] = min(self._ago_ms(start.started_age_ms), wallet.now_ms)
        ready_ms = ended_ms = None
        if start.ready_age_ms is not None:
            ready_ms = min(self._ago_ms(start.ready_age_ms), wallet.now_ms)
            alive_ms = 0 if start.alive_age_ms is None else self._ago_ms(start.alive_age_ms)
            session["ready_ms"] = ready_ms
            session["alive_to_ms"] = max(ready_ms, min(alive_ms, wallet.now_ms))
        if start.ended_age_ms is not None:
            ended_ms = min(self._ago_ms(start.ended_age_ms), wallet.now_ms)
            ended_ms = max(ended_ms, ready_ms or session["admitted_ms"])
            session["ended_ms"], session["end_reason"] = ended_ms, start.reason
        elif waived:
            # From here on it is metered like any other.
            session["ended_ms"] = ended_ms = session["alive_to_ms"]
            session["end_reason"] = TAKEN_OVER
            follower = self._open(wallet, start, member_id, f"{ADOPTED}{new_id()}")
            mark_ready(wallet, follower["session_id"], ended_ms, ended_ms)
            self._bound(follower, member_id)
        if session["ended_ms"] is None:
            self._bound(session, member_id)
        settled_ms = wallet.row["settled_to_ms"]
        if ready_ms is not None and session["rate_mtok_h"]:
            late_to_ms = settled_ms if ended_ms is None else min(settled_ms, ended_ms)
            if late_to_ms > ready_ms:
                charge_late(wallet, session, ready_ms, late_to_ms)

    def _open(
        self,
        wallet: OpenWallet,
        start: StartTold,
        member_id: str,
        start_key: str,
        *,
        session_id: str | None = None,
        waived: bool = False,
    ) -> Row:
        rate = 0 if waived else start.rate_mtok_h
        return start_session(
            wallet,
            self.catalogue,
            self._profile(start).model_copy(update={"rate_mtok_h": rate, "gpus": start.gpus}),
            member_id,
            start.server_name,
            start_key,
            hub=self.report.hub,
            image=start.image,
            gpu=start.gpu_model,
            max_run_ms=start.max_run_ms,
            session_id=session_id,
        )

    def _profile(self, start: StartTold) -> Profile:
        """Return the profile, or one of its name if it has left the catalogue since."""
        known = self.catalogue.profiles.get(start.profile)
        if known is not None:
            return known
        stand_in = self.catalogue.profiles[self.catalogue.adopt_profile]
        return stand_in.model_copy(update={"name": start.profile, "title": start.profile})

    def _bound(self, session: Row, member_id: str) -> None:
        """Set the end of a run that goes on: its longest run, or at once if frozen meanwhile."""
        member = find_member(self.connection, _members.c.member_id == member_id)
        assert member is not None
        if member["state"] == "frozen":
            set_end(session, self.now_ms + session["stop_time_ms"], "frozen")
        else:
            set_end(session, None, None)


# --- reading ---------------------------------------------------------------------------------


def _list(connection: Connection, _catalogue: Catalogue, _now_ms: int) -> tuple[BookedAct, ...]:
    query = (
        select(_acts, _ends.c.ended_ms, _ends.c.actor.label("ended_by"))
        .outerjoin(_ends, _ends.c.act_id == _acts.c.act_id)
        .order_by(_acts.c.opened_ms.desc(), _acts.c.act_id)
        .limit(ACTS_MAX)
    )
    acts = connection.execute(query).mappings().all()
    of_act = (
        select(
            _starts.c.act_id,
            _starts.c.rate_mtok_h,
            _starts.c.charged,
            _sessions.c.session_id,
            _sessions.c.member_id,
            _sessions.c.server_name,
            _sessions.c.profile,
            _sessions.c.admitted_ms,
            _sessions.c.ready_ms,
            _sessions.c.ended_ms,
            _sessions.c.charged_grains,
            _members.c.name,
        )
        .join(_sessions, _sessions.c.session_id == _starts.c.session_id)
        .join(_members, _members.c.member_id == _sessions.c.member_id)
        .where(_starts.c.act_id.in_([act["act_id"] for act in acts]))
        .order_by(_sessions.c.admitted_ms, _starts.c.start_key)
    )
    starts: dict[str, list[BookedStart]] = defaultdict(list)
    for row in connection.execute(of_act).mappings():
        facts = dict(row)
        starts[facts.pop("act_id")].append(BookedStart(**facts))
    return tuple(
        BookedAct(
            act["act_id"],
            act["hub"],
            act["opened_ms"],
            act["until_ms"],
            act["ended_ms"],
            act["ended_by"] or "",
            act["actor"],
            act["how"],
            act["reason"],
            None if act["profiles"] is None else tuple(act["profiles"]),
            act["servers_max"],
            tuple(starts[act["act_id"]]),
        )
        for act in acts
    )


def _frozen(
    connection: Connection, _catalogue: Catalogue, _now_ms: int
) -> tuple[tuple[int, str], ...]:
    query = select(_members.c.hub_user_id, _members.c.hub_created).where(
        _members.c.state == "frozen"
    )
    return tuple((row.hub_user_id, row.hub_created) for row in connection.execute(query))
