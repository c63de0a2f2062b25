"""Snapshots: what the hub sees becomes readiness, proof of life and ends in the books.

A snapshot is complete, so it proves three things: what it shows alive was alive at that
instant, what it shows and the books do not know has to be metered from now on, and what the
books hold open and it does not show has ended. Each fact may arrive late, twice or never; the
books end up the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.deadlines import order_stops
from jhub_tokens.ledger.isolation import isolated
from jhub_tokens.ledger.membership import (
    close_wallet,
    ensure_member,
    find_member,
    known_member,
    load_wallet,
)
from jhub_tokens.ledger.records import ObserveReport
from jhub_tokens.ledger.sessions import bury, end_session, session_record, start_session
from jhub_tokens.ledger.wallet import OpenWallet, new_id
from jhub_tokens.wire import EndSeen, ServerSeen, Snapshot

__all__ = ["observe"]

#: A start admitted this short a time before the list was taken may be missing from it.
ADMISSION_RACE_MS = 5_000
#: How many earlier hub processes are remembered, to refuse their delayed snapshots.
PAST_EPOCHS_MAX = 20

#: How the keys of adopted sessions begin.
ADOPTED = "adopted-"

Change = Callable[[OpenWallet], None]


def observe(
    connection: Connection, catalogue: Catalogue, now_ms: int, snapshot: Snapshot
) -> ObserveReport:
    """Take in a snapshot; see `Ledger.observe`."""
    return _Observation(connection, catalogue, now_ms, snapshot).run()


class _Observation:
    """One snapshot on its way into the books; single use."""

    def __init__(
        self, connection: Connection, catalogue: Catalogue, now_ms: int, snapshot: Snapshot
    ) -> None:
        self.connection = connection
        self.catalogue = catalogue
        self.now_ms = now_ms
        self.snapshot = snapshot
        self.changes: dict[str, list[Change]] = defaultdict(list)  # by member
        self.alive: dict[str, int] = {}  # session → proof of life
        self.seen: list[str] = []  # a start key for each server of the snapshot
        self.known: dict[str, dict[str, Any]] = {}  # open sessions by start key
        self.told: dict[str, str] = {}  # start key → member, of the ends and cancellations
        self.failed: set[str] = set()  # members whose wallets could not take it in

    def run(self) -> ObserveReport:
        current = self._is_current()
        for identity in self.snapshot.members:
            self._member_id(identity)
        self._load_open_sessions()
        for end in self.snapshot.ended:
            self._ended(end)
        for start_key in self.snapshot.cancelled:
            self._cancelled(start_key)
        if current:
            finished = {e.start_key for e in self.snapshot.ended} | set(self.snapshot.cancelled)
            for server in self.snapshot.servers:
                if server.start_key in finished:
                    self.seen.append(str(server.start_key))
                else:
                    self._server(server)
            self._missing(finished)
        else:
            self.seen = [s.start_key or "" for s in self.snapshot.servers]
        self._write()
        return self._report()

    # --- what the snapshot is worth -------------------------------------------------------

    def _is_current(self) -> bool:
        """Tell whether this is news: a late or repeated list proves nothing about now."""
        hubs = schema.hubs
        here = hubs.c.hub == self.snapshot.hub
        row = self.connection.execute(select(hubs).where(here)).mappings().first()
        values = {
            "epoch": self.snapshot.epoch,
            "sequence": self.snapshot.sequence,
            "observed_ms": self.now_ms,
        }
        if row is None:
            first = {"hub": self.snapshot.hub, "past_epochs": [], **values}
            self.connection.execute(insert(hubs), first)
            return True
        if self.snapshot.epoch == row["epoch"]:
            if self.snapshot.sequence <= row["sequence"]:
                return False
        elif self.snapshot.epoch in row["past_epochs"]:
            return False
        else:
            past = [row["epoch"], *row["past_epochs"]][:PAST_EPOCHS_MAX]
            values["past_epochs"] = past
        self.connection.execute(update(hubs).where(here).values(values))
        return True

    def _ago_ms(self, age_ms: int) -> int:
        return max(0, self.now_ms - age_ms)

    def _member_id(self, identity: Any) -> str:
        member = known_member(self.connection, self.catalogue, identity)
        if member is None:
            member = ensure_member(self.connection, self.catalogue, self.now_ms, identity)
        return member.member_id

    def _load_open_sessions(self) -> None:
        sessions = schema.sessions
        query = select(sessions).where(
            sessions.c.settled.is_(False),
            sessions.c.hub == self.snapshot.hub,
            sessions.c.ended_ms.is_(None),
        )
        for row in self.connection.execute(query).mappings():
            self.known[row["start_key"]] = dict(row)

    # --- facts ----------------------------------------------------------------------------

    def _ended(self, end: EndSeen) -> None:
        session = self.known.pop(end.start_key, None)
        if session is not None:
            self.told[end.start_key] = session["member_id"]
            if session["ready_ms"] is None and end.ready_age_ms is not None:
                # It became ready and ended since the last receipt.
                self._ready(session, self._ago_ms(end.ready_age_ms), None)
            self._end(session, self._ago_ms(end.ended_age_ms), end.reason)
        elif end.reason in ("cancelled", "failed"):
            self._bury(end.start_key)

    def _cancelled(self, start_key: str) -> None:
        session = self.known.pop(start_key, None)
        if session is None:
            self._bury(start_key)
        else:
            self.told[start_key] = session["member_id"]
            self._end(session, self.now_ms, "cancelled")

    def _bury(self, start_key: str) -> None:
        sessions = schema.sessions
        over = select(sessions.c.session_id).where(sessions.c.start_key == start_key)
        if self.connection.execute(over).first() is None:
            bury(self.connection, self.now_ms, start_key)

    def _end(self, session: dict[str, Any], ended_ms: int, reason: str) -> None:
        session_id = session["session_id"]

        def end(wallet: OpenWallet) -> None:
            # It may have been ended by somebody else before the wallet was locked.
            if session_id in wallet.sessions:
                end_session(wallet, wallet.sessions[session_id], ended_ms, reason)

        self.changes[session["member_id"]].append(end)

    def _ready(self, session: dict[str, Any], ready_ms: int, alive_ms: int | None) -> None:
        session_id = session["session_id"]
        self.changes[session["member_id"]].append(
            lambda wallet: _mark_ready(wallet, session_id, ready_ms, alive_ms)
        )

    def _server(self, server: ServerSeen) -> None:
        session = self.known.pop(server.start_key, None) if server.start_key else None
        if session is None:
            session = self._by_place(server)
        alive_ms = None if server.alive_age_ms is None else self._ago_ms(server.alive_age_ms)
        ready_ms = None if server.ready_age_ms is None else self._ago_ms(server.ready_age_ms)
        if session is None:
            self._adopt(server, alive_ms, ready_ms)
            return
        self.seen.append(session["start_key"])
        session_id = session["session_id"]
        if ready_ms is not None and session["ready_ms"] is None:
            self._ready(session, ready_ms, alive_ms)
        elif session["ready_ms"] is None:
            # Seen still starting: until then nothing burned.
            self.alive[session_id] = self._ago_ms(self.snapshot.age_ms)
        elif alive_ms is not None:
            self.alive[session_id] = alive_ms

    def _by_place(self, server: ServerSeen) -> dict[str, Any] | None:
        """Find the adopted session of a server that does not know its own key (any more)."""
        if server.start_key is not None and not self._is_spent(server.start_key):
            return None
        member_id = self._member_id(server.member)
        for start_key, session in self.known.items():
            if not start_key.startswith(ADOPTED):
                continue
            here = (session["member_id"], session["server_name"]) == (
                member_id,
                server.server_name,
            )
            if here and (server.start_key or session["hub_started"] == server.started):
                return self.known.pop(start_key)
        return None

    def _adopt(self, server: ServerSeen, alive_ms: int | None, ready_ms: int | None) -> None:
        """Meter a server that runs without a session, from the instant it was first seen."""
        if ready_ms is None and alive_ms is None:
            # Still starting and unknown: its admission is on its way, or will be refused.
            self.seen.append(server.start_key or "")
            return
        member_id = self._member_id(server.member)
        start_key = server.start_key
        if start_key is None or self._is_spent(start_key):
            start_key = f"{ADOPTED}{new_id()}"
        self.seen.append(start_key)
        named = self.catalogue.profiles.get(server.profile or "")
        profile = named or self.catalogue.profiles[self.catalogue.adopt_profile]
        since_ms = self.now_ms if alive_ms is None else alive_ms

        def start(wallet: OpenWallet) -> None:
            session = start_session(
                wallet,
                self.catalogue,
                profile,
                server.server_name,
                start_key,
                hub=self.snapshot.hub,
                hub_started=server.started,
            )
            _mark_ready(wallet, session["session_id"], since_ms, since_ms)
            member = find_member(self.connection, schema.members.c.member_id == member_id)
            if member is not None and member["state"] == "frozen" and self.catalogue.enforce:
                order_stops(wallet, [session], "frozen")

        self.changes[member_id].append(start)

    def _is_spent(self, start_key: str) -> bool:
        """Tell whether a key names a session that has ended, or a cancelled start."""
        sessions, tombstones = schema.sessions, schema.tombstones
        ended = select(sessions.c.start_key).where(sessions.c.start_key == start_key)
        buried = select(tombstones.c.start_key).where(tombstones.c.start_key == start_key)
        return self.connection.execute(ended.union(buried)).first() is not None

    def _missing(self, finished: set[str]) -> None:
        """End what the books hold open and the hub does not know any more."""
        taken_ms = self._ago_ms(self.snapshot.age_ms)
        for start_key, session in self.known.items():
            if start_key in finished or session["admitted_ms"] > taken_ms - ADMISSION_RACE_MS:
                continue
            if session["ready_ms"] is None:
                self._end(session, self.now_ms, "cancelled")
            else:
                # Charged up to its last proof of life: nobody knows that it lived longer.
                self._end(session, session["alive_to_ms"] or session["ready_ms"], "lost")

    # --- writing --------------------------------------------------------------------------

    def _write(self) -> None:
        # In one order for everybody, so that two replicas cannot wait for each other.
        for member_id in sorted(self.changes):
            change = partial(self._change, member_id)
            if isolated(self.connection, self.now_ms, member_id, change) is None:
                self.failed.add(member_id)
        sessions = schema.sessions
        if self.alive:
            prove = (
                update(sessions)
                .where(
                    sessions.c.session_id == bindparam("key"),
                    (sessions.c.alive_to_ms.is_(None)) | (sessions.c.alive_to_ms < bindparam("at")),
                )
                .values(alive_to_ms=bindparam("at"))
            )
            proofs = [{"key": key, "at": self.alive[key]} for key in sorted(self.alive)]
            self.connection.execute(prove, proofs)

    def _change(self, member_id: str) -> bool:
        """Apply what the snapshot tells of one member's servers."""
        wallet = load_wallet(self.connection, self.catalogue, self.now_ms, member_id)
        for session in wallet.open_sessions():
            alive_ms = self.alive.get(session["session_id"])
            if alive_ms is not None:
                session["alive_to_ms"] = max(alive_ms, session["alive_to_ms"] or 0)
        for change in self.changes[member_id]:
            change(wallet)
        wallet.advance()
        close_wallet(wallet, self.catalogue)
        members = schema.members
        self.connection.execute(
            update(members).where(members.c.member_id == member_id).values(last_used_ms=self.now_ms)
        )
        return True

    def _is_booked(self, start_key: str) -> bool:
        return self.told.get(start_key) not in self.failed

    def _report(self) -> ObserveReport:
        servers = dict(zip(self.seen, self.snapshot.servers, strict=True))
        keys = [key for key in servers if key]
        sessions, wallets = schema.sessions, schema.wallets
        query = (
            select(sessions, wallets.c.dry_ms)
            .join(wallets, wallets.c.wallet_id == sessions.c.wallet_id)
            .where(sessions.c.start_key.in_(keys), sessions.c.ended_ms.is_(None))
        )
        rows = {r["start_key"]: r for r in self.connection.execute(query).mappings()}
        found = [rows[key] for key in keys if key in rows]
        shown = tuple(servers[row["start_key"]] for row in found)
        stops = [
            r["dry_ms"] - r["stop_time_ms"]
            if r["dry_ms"] is not None and r["ready_ms"] is not None and self.catalogue.enforce
            else None
            for r in found
        ]
        return ObserveReport(
            shown,
            tuple(session_record(row) for row in found),
            tuple(stops),
            tuple(e.start_key for e in self.snapshot.ended if self._is_booked(e.start_key)),
            tuple(key for key in self.snapshot.cancelled if self._is_booked(key)),
        )


def _mark_ready(wallet: OpenWallet, session_id: str, ready_ms: int, alive_ms: int | None) -> None:
    """Start metering from when the hub first saw the server ready.

    Not before it was last seen starting (an adopted server: not before it was first seen); the
    wallet is settled no further than that, see `OpenWallet.provable_to_ms`.
    """
    session = wallet.sessions.get(session_id)
    if session is None or session["ready_ms"] is not None or session["ended_ms"] is not None:
        return
    earliest_ms = max(session["alive_to_ms"] or 0, wallet.row["settled_to_ms"])
    # Never before what is settled, even if this clock is behind the one that settled it.
    ready_ms = max(min(ready_ms, wallet.now_ms), earliest_ms)
    session["ready_ms"] = ready_ms
    session["alive_to_ms"] = max(ready_ms, alive_ms or 0)
    if len(wallet.running_sessions()) == 1:
        wallet.forget_warnings()
