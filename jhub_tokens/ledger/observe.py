"""Snapshots: what the hub sees becomes readiness, proof of life and ends in the books.

A snapshot is complete, so it proves three things: what it shows alive was alive at that
instant, what it shows and the books do not know has to be metered from now on, and what the
books hold open and it does not show has ended. Each fact may arrive late, twice or never; the
books end up the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, func, insert, select, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.batches import change_wallets
from jhub_tokens.ledger.deadlines import set_end
from jhub_tokens.ledger.loading import rows_of
from jhub_tokens.ledger.membership import ensure_member, find_member, known_members
from jhub_tokens.ledger.records import ObserveReport, StopEnded
from jhub_tokens.ledger.rows import Row, new_id
from jhub_tokens.ledger.sessions import (
    bury,
    end_session,
    is_used,
    lock_start,
    mark_ready,
    open_session,
    session_record,
    start_session,
)
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.wire import EndSeen, Identity, ServerSeen, Snapshot

__all__ = ["observe"]

#: A start admitted this short a time before the list was taken may be missing from it.
ADMISSION_RACE_MS = 5_000
#: How many earlier hub processes are remembered, to refuse their delayed snapshots.
PAST_EPOCHS_MAX = 20

#: How the keys of adopted sessions begin.
ADOPTED = "adopted-"

Change = Callable[[OpenWallet], None]

_OPEN = select(schema.sessions).where(
    schema.sessions.c.settled.is_(False),
    schema.sessions.c.hub == bindparam("hub"),
    schema.sessions.c.ended_ms.is_(None),
)
_PROVE = (
    update(schema.sessions)
    .where(
        schema.sessions.c.session_id == bindparam("key"),
        (schema.sessions.c.alive_to_ms.is_(None))
        | (schema.sessions.c.alive_to_ms < bindparam("at")),
    )
    .values(
        alive_to_ms=bindparam("at"),
        hub_active_ms=func.coalesce(
            bindparam("used", type_=BigInteger), schema.sessions.c.hub_active_ms
        ),
    )
)
_STOPPED = (
    update(schema.sessions)
    .where(
        schema.sessions.c.start_key == bindparam("key"),
        schema.sessions.c.end_reason == "deleted",
    )
    .values(end_reason="stopped")
)
_ENDED_BY_CLUSTER = (
    select(schema.cluster_ends.c.session_id)
    .join(schema.sessions)
    .where(
        schema.sessions.c.start_key == bindparam("key"),
        schema.sessions.c.ended_ms.is_not(None),
    )
)
_USED = (
    update(schema.members)
    .where(schema.members.c.member_id == bindparam("of_member"))
    .values(last_used_ms=bindparam("now_ms"))
)


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
        self.members: dict[tuple[int, str], str] = {}  # by hub user id and creation
        self.wallets: dict[str, str] = {}  # each member's own wallet
        self.changes: dict[str, list[Change]] = defaultdict(list)  # by wallet
        self.used: set[str] = set()  # members something happened to
        self.alive: dict[str, int] = {}  # session → proof of life
        self.in_use: dict[str, int] = {}  # session → when the hub last saw it in use
        self.seen: list[str] = []  # a start key for each server of the snapshot
        self.known: dict[str, dict[str, Any]] = {}  # open sessions by start key
        self.told: dict[str, str] = {}  # start key → wallet, of the ends and cancellations
        self.failed: set[str] = set()  # wallets that could not take it in
        self.stops_ended: tuple[StopEnded, ...] = ()

    def run(self) -> ObserveReport:
        current = self._is_current()
        self._load_members()
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
        # Under lock: two replicas that compare with the same past would both call it news.
        query = select(hubs).where(here).with_for_update()
        row = self.connection.execute(query).mappings().first()
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
        elif self._ago_ms(self.snapshot.age_ms) < row["observed_ms"]:
            # Taken before the present hub was last heard: of a process that died before it.
            return False
        else:
            past = [row["epoch"], *row["past_epochs"]][:PAST_EPOCHS_MAX]
            values["past_epochs"] = past
        self.connection.execute(update(hubs).where(here).values(values))
        return True

    def _ago_ms(self, age_ms: int) -> int:
        return max(0, self.now_ms - age_ms)

    def _load_members(self) -> None:
        """Know everybody in the snapshot; only those about whom something is news cost more."""
        identities = [*self.snapshot.members, *(server.member for server in self.snapshot.servers)]
        known = known_members(self.connection, self.catalogue, identities)
        for identity in identities:
            key = (identity.hub_user_id, identity.created)
            if key in self.members:
                continue
            member = known.get(key) or ensure_member(
                self.connection, self.catalogue, self.now_ms, identity
            )
            self.members[key] = member.member_id
            self.wallets[member.member_id] = member.wallet_id

    def _member_id(self, identity: Identity) -> str:
        return self.members[identity.hub_user_id, identity.created]

    def _load_open_sessions(self) -> None:
        for row in rows_of(self.connection.execute(_OPEN, {"hub": self.snapshot.hub})):
            self.known[row["start_key"]] = row

    # --- facts ----------------------------------------------------------------------------

    def _ended(self, end: EndSeen) -> None:
        session = self.known.pop(end.start_key, None)
        if session is not None:
            self.told[end.start_key] = session["wallet_id"]
            if session["ready_ms"] is None and end.ready_age_ms is not None:
                # It became ready and ended since the last receipt.
                self._ready(session, self._ago_ms(end.ready_age_ms), None)
            self._end(session, self._ago_ms(end.ended_age_ms), end.reason)
        elif end.reason in ("cancelled", "failed"):
            self._cancelled(end.start_key)
        elif end.reason == "stopped":
            self._stopped(end.start_key)

    def _cancelled(self, start_key: str) -> None:
        session = self.known.pop(start_key, None) or self._just_admitted(start_key)
        if session is None:
            self._bury(start_key)
        else:
            self.told[start_key] = session["wallet_id"]
            self._end(session, self.now_ms, "cancelled")

    def _just_admitted(self, start_key: str) -> Row | None:
        """Return the session that another replica has admitted while this one looked."""
        lock_start(self.connection, start_key)
        return open_session(self.connection, start_key)

    def _bury(self, start_key: str) -> None:
        if not is_used(self.connection, start_key):
            bury(self.connection, self.now_ms, start_key)

    def _end(self, session: dict[str, Any], ended_ms: int, reason: str) -> None:
        session_id = session["session_id"]

        def end(wallet: OpenWallet) -> None:
            locked = wallet.sessions.get(session_id)
            if locked is not None and locked["ended_ms"] is None:
                end_session(wallet, locked, ended_ms, reason)
            elif reason == "stopped":
                # Ended by somebody else before the wallet was locked.
                self._stopped(session["start_key"])
                if locked is not None and locked["end_reason"] == "deleted":
                    locked["end_reason"] = reason

        self._change(session, end)

    def _stopped(self, start_key: str) -> None:
        """Note that the pod which the cluster saw deleted was deleted by the hub itself."""
        self.connection.execute(_STOPPED, {"key": start_key})

    def _ready(self, session: dict[str, Any], ready_ms: int, alive_ms: int | None) -> None:
        session_id = session["session_id"]
        self._change(session, lambda wallet: mark_ready(wallet, session_id, ready_ms, alive_ms))

    def _change(self, session: Row, change: Change) -> None:
        self.changes[session["wallet_id"]].append(change)
        self.used.add(session["member_id"])

    def _server(self, server: ServerSeen) -> None:
        session = self.known.pop(server.start_key, None) if server.start_key else None
        if session is None:
            session = self._by_place(server)
        alive_ms = None if server.alive_age_ms is None else self._ago_ms(server.alive_age_ms)
        ready_ms = None if server.ready_age_ms is None else self._ago_ms(server.ready_age_ms)
        if session is None and self._is_over(server):
            self.seen.append(str(server.start_key))
            return
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
            self._in_use(session, server)

    def _in_use(self, session: Row, server: ServerSeen) -> None:
        """Note when the hub last saw a server in use."""
        if server.active_age_ms is None:
            return
        self.in_use[session["session_id"]] = self._ago_ms(server.active_age_ms)
        if session["idle_stop_ms"] is not None and session["hub_active_ms"] is None:
            # From now on something is known of it: its wallet is to look when that matters.
            self.changes[session["wallet_id"]].append(lambda wallet: None)

    def _by_place(self, server: ServerSeen) -> dict[str, Any] | None:
        """Find the adopted session of a server that does not know its own key (any more)."""
        if server.start_key is not None and not is_used(self.connection, server.start_key):
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

    def _is_over(self, server: ServerSeen) -> bool:
        """Tell whether the cluster has seen the end of a server that the hub still shows."""
        if server.start_key is None:
            return False
        asked = {"key": server.start_key}
        return self.connection.execute(_ENDED_BY_CLUSTER, asked).first() is not None

    def _adopt(self, server: ServerSeen, alive_ms: int | None, ready_ms: int | None) -> None:
        """Meter a server that runs without a session, from the instant it was first seen."""
        if ready_ms is None and alive_ms is None:
            # Still starting and unknown: its admission is on its way, or will be refused.
            self.seen.append(server.start_key or "")
            return
        member_id = self._member_id(server.member)
        start_key = server.start_key
        if start_key is None or is_used(self.connection, start_key):
            start_key = f"{ADOPTED}{new_id()}"
        self.seen.append(start_key)
        named = self.catalogue.profiles.get(server.profile or "")
        profile = named or self.catalogue.profiles[self.catalogue.adopt_profile]
        since_ms = self.now_ms if alive_ms is None else alive_ms

        member = find_member(self.connection, schema.members.c.member_id == member_id)
        assert member is not None
        frozen = member["state"] == "frozen"

        def start(wallet: OpenWallet) -> None:
            session = start_session(
                wallet,
                self.catalogue,
                profile,
                member_id,
                server.server_name,
                start_key,
                hub=self.snapshot.hub,
                hub_started=server.started,
            )
            mark_ready(wallet, session["session_id"], since_ms, since_ms)
            if frozen:
                set_end(session, self.now_ms + session["stop_time_ms"], "frozen")

        # Nobody said who pays: the member does.
        self.changes[self.wallets[member_id]].append(start)
        self.used.add(member_id)

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
        changed = change_wallets(
            self.connection, self.catalogue, self.now_ms, list(self.changes), self._apply
        )
        self.failed = changed.failed
        self.stops_ended = tuple(changed.stops_ended)
        if self.used:
            used = [{"of_member": key, "now_ms": self.now_ms} for key in sorted(self.used)]
            self.connection.execute(_USED, used)
        if self.alive:
            proofs = [
                {"key": key, "at": self.alive[key], "used": self.in_use.get(key)}
                for key in sorted(self.alive)
            ]
            self.connection.execute(_PROVE, proofs)

    def _apply(self, wallet: OpenWallet) -> None:
        """Apply what the snapshot tells of one wallet's servers."""
        for session in wallet.open_sessions():
            alive_ms = self.alive.get(session["session_id"])
            if alive_ms is not None:
                session["alive_to_ms"] = max(alive_ms, session["alive_to_ms"] or 0)
            in_use_ms = self.in_use.get(session["session_id"])
            if in_use_ms is not None:
                session["hub_active_ms"] = in_use_ms
        for change in self.changes[wallet.wallet_id]:
            change(wallet)
        wallet.advance()

    def _is_booked(self, start_key: str) -> bool:
        return self.told.get(start_key) not in self.failed

    def _report(self) -> ObserveReport:
        servers = {
            key: server for key, server in zip(self.seen, self.snapshot.servers, strict=True) if key
        }
        rows = {
            row["start_key"]: row
            for row in rows_of(self.connection.execute(_OPEN, {"hub": self.snapshot.hub}))
            if row["start_key"] in servers
        }
        found = [key for key in servers if key in rows]
        return ObserveReport(
            tuple(servers[key] for key in found),
            tuple(session_record(rows[key]) for key in found),
            tuple(self._stop_ms(rows[key]) for key in found),
            tuple(e.start_key for e in self.snapshot.ended if self._is_booked(e.start_key)),
            tuple(key for key in self.snapshot.cancelled if self._is_booked(key)),
            self.stops_ended,
        )

    def _stop_ms(self, session: Row) -> int | None:
        """Return when the hub is to stop a server if the service is away by then."""
        if session["cut_ms"] is None or not self.catalogue.enforce:
            return None
        return int(session["cut_ms"] - session["stop_time_ms"])
