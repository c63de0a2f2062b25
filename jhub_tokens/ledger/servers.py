"""One server as seen from inside it: when it will stop and why, and what its member asks for.

What a member says about a running server ("keep running until 18:00") and what the server
reports about itself are no money: they stand in a table of their own, which no wallet's lock
guards. A stop that the member asks for is an end like any other, set under the wallet's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.acts import note_act
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.cuts import Cut, cuts_of, dry_at
from jhub_tokens.ledger.deadlines import set_end
from jhub_tokens.ledger.idle import (
    REPORT_AGAIN_MS,
    idle_of,
    report_again_ms,
    unheard_after_ms,
)
from jhub_tokens.ledger.loading import load_wallet, load_wallets, rows_of
from jhub_tokens.ledger.reads import project
from jhub_tokens.ledger.records import LedgerError, SessionRecord
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.sessions import session_record
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["ServerBooks", "ServerState"]

_reports = schema.server_reports
_OPEN = select(schema.sessions).where(
    schema.sessions.c.settled.is_(False), schema.sessions.c.ended_ms.is_(None)
)
_LOOK_NOW = (
    update(schema.wallets)
    .where(
        schema.wallets.c.wallet_id == bindparam("of_wallet"),
        schema.wallets.c.next_deadline_ms > bindparam("now_ms"),
    )
    .values(next_deadline_ms=bindparam("now_ms"))
)


@dataclass(frozen=True, slots=True)
class ServerState:
    """A running server and the wallet that pays for it, at one instant.

    Parameters
    ----------
    session
        Its session with the cost so far; None if none is open.
    team
        Whether a team pays.
    plan
        The plan whose limits hold.
    balance_grains, allotment_grains, burn_mtok_h, dry_ms
        The paying wallet's: what is left, what a period holds, what all its servers burn, and
        when it is used up as things stand.
    cut
        When and why this server will be stopped as things stand; None: nothing in sight. That
        nothing uses it is told once its member has been warned: until then any use puts it off.
    warn_before_ms
        How long before the cut it is warned of, the earliest first, as long as no order to stop
        is due.
    save_before_ms
        The one of these from which on documents are saved: only grace and stop time are left.
    stop_reason
        Why it is ordered to stop; None: it is not.
    keep_until_ms, keep_latest_ms
        Until when the member wants it to run even if idle; the latest instant that the plan
        allows, None if it allows none.
    now_ms
        The instant of all this.
    """

    session: SessionRecord | None
    team: bool
    plan: Plan
    balance_grains: int
    allotment_grains: int
    burn_mtok_h: int
    dry_ms: int | None
    cut: Cut | None
    warn_before_ms: tuple[int, ...]
    save_before_ms: int
    stop_reason: str | None
    keep_until_ms: int | None
    keep_latest_ms: int | None
    now_ms: int


class ServerBooks:
    """Running servers' own matters; every method is one transaction and blocks on the database.

    Parameters
    ----------
    runner
        Runs operations on the books.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def state(self, member_id: str, server_name: str) -> ServerState:
        """Return a server's state; raises `LedgerError` if there is no such member."""
        return self._runner.read(state, member_id, server_name)

    def report(
        self, member_id: str, server_name: str, busy: Sequence[str], active_ms: int | None
    ) -> bool:
        """Note what keeps a server busy, and when it last was; the latest instant stands.

        Returns whether the warden has something to look at now.
        """
        if not self._runner.read(_is_news, member_id, server_name, busy, active_ms):
            return False
        return self._runner.write(report, member_id, server_name, busy, active_ms)

    def keep_running(self, member_id: str, server_name: str, until_ms: int | None) -> ServerState:
        """Note until when a server shall run even if idle; None: no longer than others.

        Raises
        ------
        LedgerError
            ``not_running``, ``keep_not_allowed``, or ``keep_too_long`` if it is in the past or
            beyond what plan and longest run allow.
        """
        return self._runner.write(keep_running, member_id, server_name, until_ms)

    def ask_stop(self, member_id: str, server_name: str) -> ServerState:
        """Order a member's own server to stop now, in shadow mode as well. Idempotent.

        Raises
        ------
        LedgerError
            ``not_running``.
        """
        return self._runner.write(ask_stop, member_id, server_name)

    def order_stop(self, session_id: str, *, actor: str, reason: str = "") -> SessionRecord:
        """Order a server to stop now on an administrator's behalf. Idempotent.

        Raises
        ------
        LedgerError
            ``unknown_session`` or ``not_running``.
        """
        return self._runner.write(order_stop, session_id, actor=actor, reason=reason)


def state(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str, server_name: str
) -> ServerState:
    """Return a server's state; see `ServerBooks.state`."""
    session = _open_session(connection, member_id, server_name)
    wallet = _paying(connection, catalogue, now_ms, member_id, session, lock=False)
    return _state(connection, catalogue, wallet, session["session_id"] if session else None)


def report(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    server_name: str,
    busy: Sequence[str],
    active_ms: int | None,
) -> bool:
    """Note what keeps a server busy; see `ServerBooks.report`."""
    session = _open_session(connection, member_id, server_name)
    if session is None:
        return False
    # The wallet before the report, as for `keep_running`: nobody waits for each other.
    matters = _changes_idleness(connection, session, now_ms, active_ms)
    if matters:
        looking = {"of_wallet": session["wallet_id"], "now_ms": now_ms}
        connection.execute(_LOOK_NOW, looking)
    known = _report_of(connection, session["session_id"], lock=True)
    # Another machine's clock: never later than now, never back.
    seen = [ms for ms in (active_ms, known["active_ms"]) if ms is not None]
    active = min(now_ms, max(seen)) if seen else None
    values = {"busy": list(busy), "active_ms": active, "reported_ms": now_ms}
    _write_report(connection, session["session_id"], values)
    return matters


def _changes_idleness(
    connection: Connection, session: Row, now_ms: int, active_ms: int | None
) -> bool:
    """Tell whether a report changes more about a server's idleness than it puts off its stop.

    It is the first one for long, so that something is known again; or the server is used again
    after a warning, which is taken back.
    """
    if session["idle_stop_ms"] is None:
        return False
    reported_ms = _report_of(connection, session["session_id"])["reported_ms"]
    if reported_ms is None or now_ms - reported_ms > unheard_after_ms(session):
        return True
    warned_ms = session["idle_warned_ms"]
    return warned_ms is not None and active_ms is not None and active_ms >= warned_ms


def keep_running(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    server_name: str,
    until_ms: int | None,
) -> ServerState:
    """Note until when a server shall run; see `ServerBooks.keep_running`."""
    session = _running_session(connection, member_id, server_name)
    # The wallet's lock lets two requests about the same server wait for each other.
    wallet = _paying(connection, catalogue, now_ms, member_id, session, lock=True)
    if until_ms is not None:
        latest_ms = _keep_latest_ms(wallet, session)
        if latest_ms is None:
            raise LedgerError(
                "keep_not_allowed",
                _(
                    "The plan %(plan)s does not let idle servers run on.",
                    plan=wallet.terms.plan.spoken().title,
                ),
                "until_ms",
            )
        if not now_ms < until_ms <= latest_ms:
            raise LedgerError(
                "keep_too_long",
                _(
                    "This server can be kept running for %(minutes)s minutes from now at most.",
                    minutes=max(0, latest_ms - now_ms) // 60_000,
                ),
                "until_ms",
            )
    # Whoever asks is there: that is use as well.
    _write_report(
        connection, session["session_id"], {"keep_until_ms": until_ms, "active_ms": now_ms}
    )
    if session["idle_stop_ms"] is not None:
        reports = wallet.reports.setdefault(session["session_id"], {**_NOTHING})
        reports.update(keep_until_ms=until_ms, active_ms=now_ms)
        wallet.advance()
        close_wallet(wallet, catalogue)
    return _state(connection, catalogue, wallet, session["session_id"])


def ask_stop(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str, server_name: str
) -> ServerState:
    """Order a member's own server to stop; see `ServerBooks.ask_stop`."""
    session = _running_session(connection, member_id, server_name)
    wallet = _paying(connection, catalogue, now_ms, member_id, session, lock=True)
    locked = wallet.sessions[session["session_id"]]
    if locked["stop_reason"] is None:
        wallet.advance()
        set_end(locked, now_ms + locked["stop_time_ms"], "asked")
        close_wallet(wallet, catalogue)
    return _state(connection, catalogue, wallet, session["session_id"])


def order_stop(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    session_id: str,
    *,
    actor: str,
    reason: str,
) -> SessionRecord:
    """Order any member's server to stop; see `ServerBooks.order_stop`."""
    s = schema.sessions.c
    row = connection.execute(select(s.wallet_id).where(s.session_id == session_id)).first()
    if row is None:
        raise LedgerError("unknown_session", _("There is no such session."), "session_id")
    (wallet,) = load_wallets(connection, catalogue, now_ms, [row.wallet_id])
    session = wallet.sessions.get(session_id)
    if session is None or session["ended_ms"] is not None:
        raise _not_running()
    if session["stop_reason"] is None:
        wallet.advance()
        set_end(session, now_ms + session["stop_time_ms"], "ordered")
        close_wallet(wallet, catalogue)
        member_id = session["member_id"]
        note_act(
            connection, now_ms, "stopped", actor,
            member_id=member_id, subject=session_id, reason=reason,
        )  # fmt: skip
    return session_record(session)


def _open_session(connection: Connection, member_id: str, server_name: str) -> Row | None:
    s = schema.sessions.c
    query = _OPEN.where(s.member_id == member_id, s.server_name == server_name)
    # The hub runs one server of a name: of two, the earlier one has yet to be settled.
    rows = rows_of(connection.execute(query.order_by(s.admitted_ms.desc()).limit(1)))
    return rows[0] if rows else None


def _running_session(connection: Connection, member_id: str, server_name: str) -> Row:
    session = _open_session(connection, member_id, server_name)
    if session is None:
        raise _not_running()
    return session


def _not_running() -> LedgerError:
    message = _("This server does not run, as far as the books know.")
    return LedgerError("not_running", message)


def _paying(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    session: Row | None,
    *,
    lock: bool,
) -> OpenWallet:
    if session is None:
        return load_wallet(connection, catalogue, now_ms, member_id, lock=lock)
    wallets = load_wallets(connection, catalogue, now_ms, [session["wallet_id"]], lock=lock)
    assert wallets, "a session has a wallet"
    return wallets[0]


def _state(
    connection: Connection, catalogue: Catalogue, wallet: OpenWallet, session_id: str | None
) -> ServerState:
    view = project(wallet)
    session = wallet.sessions.get(session_id or "")
    running = wallet.running_sessions()
    dry_ms = dry_at(wallet, view.walked) if running else None
    cuts: list[Cut] = []
    warn_before_ms: list[int] = []
    save_before_ms = 0
    keep_until_ms = None
    if session is not None:
        if session["ready_ms"] is not None:
            cuts = cuts_of(wallet, dry_ms)[0].get(session["session_id"], [])
        save_before_ms = session["grace_ms"] + session["stop_time_ms"]
        thresholds = {ms for ms in catalogue.policy.warn_before_ms if ms > session["stop_time_ms"]}
        idle = idle_of(wallet, session)
        if idle is not None and idle.is_near(wallet.now_ms):
            cuts = sorted([*cuts, idle.cut], key=lambda cut: cut.at_ms)
            if cuts[0] is idle.cut:
                thresholds = set(idle.warn_before_ms)
        warn_before_ms = sorted(thresholds | {save_before_ms}, reverse=True)
        keep_until_ms = _report_of(connection, session["session_id"])["keep_until_ms"]
    return ServerState(
        session=None
        if session is None
        else session_record(session, session["charged_grains"] + view.charged(session_id or "")),
        team=wallet.row["member_id"] is None,
        plan=wallet.terms.plan,
        balance_grains=view.walked.balance(),
        allotment_grains=view.allotment_grains,
        burn_mtok_h=sum(s["rate_mtok_h"] for s in running),
        dry_ms=dry_ms,
        cut=cuts[0] if cuts else None,
        warn_before_ms=tuple(warn_before_ms),
        save_before_ms=save_before_ms,
        stop_reason=session["stop_reason"] if session else None,
        keep_until_ms=keep_until_ms,
        keep_latest_ms=_keep_latest_ms(wallet, session) if session else None,
        now_ms=wallet.now_ms,
    )


def _keep_latest_ms(wallet: OpenWallet, session: Row) -> int | None:
    """Return until when a server may be kept running: the plan's bound, and its longest run."""
    if not wallet.terms.plan.keep_running_ms:
        return None
    latest_ms: int = wallet.now_ms + wallet.terms.plan.keep_running_ms
    if session["max_run_ms"] is not None:
        begun_ms = session["ready_ms"] or wallet.now_ms
        latest_ms = min(latest_ms, begun_ms + session["max_run_ms"])
    return latest_ms


_NOTHING: Row = {"keep_until_ms": None, "active_ms": None, "busy": [], "reported_ms": None}


def _report_of(connection: Connection, session_id: str, *, lock: bool = False) -> Any:
    query = select(_reports).where(_reports.c.session_id == session_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return _NOTHING if row is None else row


def _write_report(connection: Connection, session_id: str, values: dict[str, Any]) -> None:
    # One statement: a server's report and its member's order may both be the first.
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(_reports)
    writing = insert.values(session_id=session_id, **values)
    connection.execute(
        writing.on_conflict_do_update(index_elements=[_reports.c.session_id], set_=values)
    )


def _is_news(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    server_name: str,
    busy: Sequence[str],
    active_ms: int | None,
) -> bool:
    session = _open_session(connection, member_id, server_name)
    if session is None:
        return False
    known = _report_of(connection, session["session_id"])
    if list(known["busy"]) != list(busy):
        return True
    if session["idle_stop_ms"] is not None:
        # What proves idleness must be recent.
        reported_ms = known["reported_ms"]
        if reported_ms is None or now_ms - reported_ms >= report_again_ms(session):
            return True
        if _changes_idleness(connection, session, now_ms, active_ms):
            return True
    if active_ms is None:
        return False
    return known["active_ms"] is None or active_ms - known["active_ms"] >= REPORT_AGAIN_MS
