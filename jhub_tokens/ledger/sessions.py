"""Sessions: admission, readiness, proof of life and the end of one run of one server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, func, insert, select

from jhub_tokens import burndown
from jhub_tokens.catalogue import Catalogue, Profile
from jhub_tokens.i18n import N_, _, ngettext
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.deadlines import close_stop_order, set_end
from jhub_tokens.ledger.limits import Limit, tightest
from jhub_tokens.ledger.loading import load_team_wallet, load_wallet
from jhub_tokens.ledger.records import (
    LedgerError,
    NotAdmitted,
    NotAdmittedCode,
    SessionRecord,
    StopEnded,
)
from jhub_tokens.ledger.returns import return_charge
from jhub_tokens.ledger.rows import Row, new_id
from jhub_tokens.ledger.teams import find_team, is_in_team
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.units import format_tokens

__all__ = [
    "admit",
    "bury",
    "end_session",
    "give_back_after",
    "is_used",
    "lock_start",
    "mark_ready",
    "open_session",
    "paying_wallet",
    "session_needs",
    "session_record",
    "start_session",
]

#: Refusals by the economy's rules; shadow mode reports them but admits.
RULES = ("plan", "frozen", "limit", "gpus", "spending_limit", "team_cap", "balance")

_STATE = select(schema.members.c.state).where(schema.members.c.member_id == bindparam("member_id"))
_BY_KEY = select(schema.sessions).where(schema.sessions.c.start_key == bindparam("start_key"))
_KEY_USED = (
    select(schema.sessions.c.start_key)
    .where(schema.sessions.c.start_key == bindparam("start_key"))
    .union_all(
        select(schema.tombstones.c.start_key).where(
            schema.tombstones.c.start_key == bindparam("start_key")
        )
    )
)
_LOCK_START = select(
    func.pg_advisory_xact_lock(
        func.hashtextextended(bindparam("start_key", type_=schema.sessions.c.start_key.type), 0)
    )
)
_ORDERED = select(schema.stop_orders.c.issued_ms).where(
    schema.stop_orders.c.session_id == bindparam("session_id"),
    schema.stop_orders.c.closed_ms.is_(None),
)
#: A run shorter than this is no choice but a slip.
SHORTEST_RUN_MS = 60_000


def session_record(row: Any, cost_grains: int | None = None) -> SessionRecord:
    """Return the record of a row; its cost is what is booked unless a projection is given."""
    return SessionRecord(
        row["session_id"],
        row["wallet_id"],
        row["member_id"],
        row["server_name"],
        row["start_key"],
        row["profile"],
        row["image"],
        row["gpu_model"],
        row["rate_mtok_h"],
        row["admitted_ms"],
        row["ready_ms"],
        row["ended_ms"],
        row["end_reason"],
        row["alive_to_ms"],
        row["charged_grains"],
        row["charged_grains"] if cost_grains is None else cost_grains,
        row["max_run_ms"],
        row["cut_ms"],
        row["gpus"],
        bool(row["files"]),
        row["stop_time_ms"],
    )


# --- admission -------------------------------------------------------------------------------


def admit(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    *,
    server_name: str,
    start_key: str,
    profile: str,
    image: str | None,
    gpu_model: str | None,
    payer: str | None,
    max_run_ms: int | None,
    hub: str,
) -> tuple[SessionRecord, NotAdmitted | None]:
    """Admit a start, decided under the wallet's lock, or raise; see `Ledger.admit`."""
    lock_start(connection, start_key)
    wallet = paying_wallet(connection, catalogue, now_ms, member_id, payer)
    known = _known_start(connection, member_id, start_key, server_name, profile)
    if known is not None:
        return known, None
    chosen = _choose(catalogue, now_ms, profile, image, gpu_model)
    if chosen[0].files and payer:
        message = _(
            "%(profile)s is free of charge, so no team pays for it.", profile=chosen[0].title
        )
        raise NotAdmitted("bad_choice", message, field="payer")
    longest_ms = _longest_run_ms(chosen[0], max_run_ms)
    wallet.advance()
    refusal = _refusal(connection, catalogue, wallet, chosen[0], member_id, server_name)
    if refusal is not None and catalogue.enforce:
        raise refusal
    superseded = [
        # The hub runs one server of a name: an earlier start of it came to nothing.
        session
        for session in wallet.open_sessions()
        if session["ready_ms"] is None and _is_at(session, member_id, server_name)
    ]
    for session in superseded:
        end_session(wallet, session, now_ms, "superseded")
    if superseded:
        wallet.advance()  # what was given up is settled with this very operation
    session = start_session(
        wallet,
        catalogue,
        chosen[0],
        member_id,
        server_name,
        start_key,
        hub=hub,
        image=chosen[1],
        gpu=chosen[2],
        max_run_ms=longest_ms,
    )
    close_wallet(wallet, catalogue)
    return session_record(session), refusal


def paying_wallet(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    payer: str | None,
    *,
    lock: bool = True,
) -> OpenWallet:
    """Return the wallet that pays: the member's own, or that of the team called `payer`.

    Raises
    ------
    LedgerError
        ``unknown_member``.
    NotAdmitted
        ``unknown_team`` or ``not_in_team``.
    """
    if not payer:
        return load_wallet(connection, catalogue, now_ms, member_id, lock=lock)
    team_id = find_team(connection, payer) if payer in catalogue.teams else None
    if team_id is None:
        message = _("There is no team “%(team)s”.", team=payer[:80])
        raise NotAdmitted("unknown_team", message, field="payer")
    wallet = load_team_wallet(connection, catalogue, now_ms, team_id, lock=lock)
    if not is_in_team(connection, team_id, member_id):
        message = _("You are not in the team %(team)s.", team=catalogue.teams[payer].title)
        raise NotAdmitted("not_in_team", message, field="payer")
    return wallet


def _is_at(session: Row, member_id: str, server_name: str) -> bool:
    return (session["member_id"], session["server_name"]) == (member_id, server_name)


def _longest_run_ms(profile: Profile, chosen_ms: int | None) -> int | None:
    """Return how long the session may run at most: the profile's bound, or less if chosen.

    Raises
    ------
    NotAdmitted
        ``bad_choice`` if the choice is longer than the profile allows, or no time at all.
    """
    if chosen_ms is None:
        return profile.max_run_ms
    if chosen_ms < SHORTEST_RUN_MS:
        message = _("The longest run must be one minute or more.")
        raise NotAdmitted("bad_choice", message, field="max_run_ms")
    if profile.max_run_ms is not None and chosen_ms > profile.max_run_ms:
        hours = f"{profile.max_run_ms / 3_600_000:g}"
        message = _(
            "%(profile)s runs for %(hours)s hours at most.", profile=profile.title, hours=hours
        )
        raise NotAdmitted("bad_choice", message, field="max_run_ms")
    return chosen_ms


def _known_start(
    connection: Connection, member_id: str, start_key: str, server_name: str, profile: str
) -> SessionRecord | None:
    """Return what this very start was answered before.

    Raises
    ------
    NotAdmitted
        If it was cancelled or is over.
    LedgerError
        If the key was used for another start (code ``idempotency_conflict``).
    """
    if not is_used(connection, start_key):
        return None
    row = connection.execute(_BY_KEY, {"start_key": start_key}).mappings().first()
    if row is not None:
        asked = (member_id, server_name, profile)
        if (row["member_id"], row["server_name"], row["profile"]) != asked:
            raise LedgerError(
                "idempotency_conflict",
                "This start key was used for another start; make a new key for each.",
                "start_key",
            )
        if row["ended_ms"] is None:
            return session_record(row)
    raise NotAdmitted("cancelled", _("This start was cancelled. Start the server again."))


def lock_start(connection: Connection, start_key: str) -> None:
    """Let a start and its cancel, asked of two replicas at once, wait for each other.

    Neither would see what the other has not committed yet. Take it before any wallet's lock.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(_LOCK_START, {"start_key": start_key})


def open_session(connection: Connection, start_key: str) -> Row | None:
    """Return the session of a key, None if there is none or it has ended."""
    row = connection.execute(_BY_KEY, {"start_key": start_key}).mappings().first()
    return None if row is None or row["ended_ms"] is not None else dict(row)


def is_used(connection: Connection, start_key: str) -> bool:
    """Tell whether a key names a session, open or not, or a cancelled start."""
    return connection.execute(_KEY_USED, {"start_key": start_key}).first() is not None


def _choose(
    catalogue: Catalogue, now_ms: int, profile_name: str, image: str | None, gpu: str | None
) -> tuple[Profile, str | None, str | None]:
    """Return profile, image tag and GPU model, with the defaults filled in.

    Raises
    ------
    NotAdmitted
        If something was chosen that is not on offer, with the field that names it.
    """
    profile = catalogue.profiles.get(profile_name)
    if profile is None:
        names = ", ".join(catalogue.profiles)
        raise NotAdmitted(
            "unknown_profile",
            _(
                "There is no profile “%(name)s”. Choose one of: %(names)s.",
                name=profile_name[:80],
                names=names,
            ),
            field="profile",
        )
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(catalogue.zone)).date()
    offered = [version.tag for version in catalogue.images_for(profile_name, today)]
    if not image:
        image = offered[0] if offered else None
    elif image not in offered:
        version = catalogue.images.get(image)
        if version is None:
            message = _("There is no image “%(image)s”.", image=image[:80])
            code = "unknown_image"
        elif version.is_retired(today):
            message = _(
                "The image %(title)s (%(image)s) is retired.", title=version.title, image=image
            )
            if version.successor:
                message += " " + _("Use %(image)s instead.", image=version.successor)
            code = "retired_image"
        else:
            message = _(
                "The image %(image)s is not made for %(profile)s.",
                image=image,
                profile=profile.title,
            )
            code = "bad_choice"
        if offered and code != "retired_image":
            message += " " + _("Choose one of: %(tags)s.", tags=", ".join(offered))
        raise NotAdmitted(code, message, field="image")  # type: ignore[arg-type]
    if not gpu:
        gpu = profile.gpu_models[0] if profile.gpu_models else None
    elif gpu not in profile.gpu_models:
        models = ", ".join(profile.gpu_models) or _("none")
        raise NotAdmitted(
            "bad_choice",
            _(
                "%(profile)s has no GPU model “%(model)s”. It has: %(models)s.",
                profile=profile.title,
                model=gpu[:80],
                models=models,
            ),
            field="gpu_model",
        )
    return profile, image, gpu


def _refusal(
    connection: Connection,
    catalogue: Catalogue,
    wallet: OpenWallet,
    profile: Profile,
    member_id: str,
    server_name: str,
) -> NotAdmitted | None:
    """Return why the economy's rules refuse this start, None if they don't."""
    plan = wallet.terms.plan
    if connection.execute(_STATE, {"member_id": member_id}).scalar_one() == "frozen":
        return NotAdmitted("frozen", _("This membership is frozen."))
    if profile.name not in plan.profiles:
        message = _(
            "The plan %(plan)s does not include %(profile)s.",
            plan=plan.title,
            profile=profile.title,
        )
        return NotAdmitted("plan", message)
    # An earlier server of this name is over, even if its end has yet to be reported.
    others = [s for s in wallet.open_sessions() if not _is_at(s, member_id, server_name)]
    files = [s for s in others if s["files"]]
    if profile.files:
        # It costs nothing and is there for when nothing else can start.
        message = _("%(profile)s runs once at a time.", profile=profile.title)
        return NotAdmitted("limit", message) if files else None
    others = [s for s in others if not s["files"]]
    if len(others) >= plan.max_servers:
        message = ngettext(
            "The plan %(plan)s runs one server at a time.",
            "The plan %(plan)s runs %(count)s servers at a time.",
            plan.max_servers,
            plan=plan.title,
        )
        return NotAdmitted("limit", message)
    gpus = profile.gpus + sum(s["gpus"] for s in others)
    if profile.gpus and plan.max_gpus is not None and gpus > plan.max_gpus:
        message = _(
            "The plan %(plan)s runs on %(most)s GPUs at a time; this makes %(gpus)s.",
            plan=plan.title,
            most=plan.max_gpus,
            gpus=gpus,
        )
        return NotAdmitted("gpus", message)
    need = profile_needs(catalogue, profile)
    mine = [session_needs(s, wallet.now_ms) for s in others if s["member_id"] == member_id]
    exceeded = tightest(wallet, member_id, [*mine, need])
    if exceeded is not None:
        return _over_limit(profile, *exceeded)
    needs = [session_needs(s, wallet.now_ms) for s in others]
    missing = burndown.shortfall(wallet.projected(), [*needs, need])
    if missing:
        return NotAdmitted(
            "balance",
            _(
                "The balance is %(missing)s tokens short of what %(profile)s needs.",
                missing=format_tokens(missing),
                profile=profile.title,
            ),
            missing_grains=missing,
        )
    return None


_LIMITS = {
    "day_limit": N_(
        "Today's spending limit of %(limit)s tokens is %(missing)s short of what %(profile)s needs."
    ),
    "week_limit": N_(
        "This week's spending limit of %(limit)s tokens is %(missing)s short of what %(profile)s "
        "needs."
    ),
    "team_cap": N_(
        "Your share of the team's tokens of %(limit)s tokens is %(missing)s short of what "
        "%(profile)s needs."
    ),
}


def _over_limit(profile: Profile, limit: Limit, missing_grains: int) -> NotAdmitted:
    code: NotAdmittedCode = "team_cap" if limit.reason == "team_cap" else "spending_limit"
    return NotAdmitted(
        code,
        _(
            _LIMITS[limit.reason],
            limit=format_tokens(limit.amount_grains),
            missing=format_tokens(missing_grains),
            profile=profile.title,
        ),
        missing_grains=missing_grains,
        until_ms=limit.until_ms,
    )


def profile_needs(catalogue: Catalogue, profile: Profile) -> burndown.Need:
    """Return what must stand behind a new session of `profile`."""
    policy = catalogue.policy
    duration_ms = policy.minimum_run_ms + policy.grace_ms + policy.stop_time_ms
    return burndown.Need(profile.rate_mtok_h, duration_ms)


def session_needs(session: dict[str, Any], now_ms: int) -> burndown.Need:
    """Return what must stand behind an open session; a starting one has run for nothing."""
    ready_ms = session["ready_ms"]
    elapsed_ms = 0 if ready_ms is None else now_ms - ready_ms
    minimum_ms = max(0, session["minimum_run_ms"] - elapsed_ms)
    duration_ms = minimum_ms + session["grace_ms"] + session["stop_time_ms"]
    return burndown.Need(session["rate_mtok_h"], duration_ms)


# --- life ------------------------------------------------------------------------------------


def start_session(
    wallet: OpenWallet,
    catalogue: Catalogue,
    profile: Profile,
    member_id: str,
    server_name: str,
    start_key: str,
    *,
    hub: str,
    image: str | None = None,
    gpu: str | None = None,
    max_run_ms: int | None = None,
    hub_started: str | None = None,
    session_id: str | None = None,
) -> Row:
    """Open a session in the wallet at the catalogue's present rate, which it keeps to its end."""
    policy = catalogue.policy
    session = {
        "session_id": session_id or new_id(),
        "wallet_id": wallet.wallet_id,
        "member_id": member_id,
        "hub": hub,
        "server_name": server_name,
        "start_key": start_key,
        "hub_started": hub_started,
        "profile": profile.name,
        "image": image,
        "gpu_model": gpu,
        "gpus": profile.gpus,
        "rate_mtok_h": profile.rate_mtok_h,
        "minimum_run_ms": policy.minimum_run_ms,
        "grace_ms": policy.grace_ms,
        "stop_time_ms": policy.stop_time_ms,
        "max_run_ms": max_run_ms,
        "age": max((s["age"] for s in wallet.sessions.values()), default=0) + 1,
        "admitted_ms": wallet.now_ms,
        "ready_ms": None,
        "alive_to_ms": None,
        "ended_ms": None,
        "end_reason": None,
        "stop_by_ms": None,
        "stop_by_reason": None,
        "cut_ms": None,
        "noticed_ms": None,
        "stop_reason": None,
        "idle_stop_ms": profile.idle.stop_after_ms if profile.idle else None,
        "idle_warn_ms": list(profile.idle.warn_before_ms) if profile.idle else None,
        "idle_warned_ms": None,
        "idle_noticed_ms": None,
        "hub_active_ms": None,
        "files": profile.files,
        "settled": False,
        "charged_grains": 0,
        "refunded_grains": 0,
    }
    wallet.sessions[session["session_id"]] = session
    return session


def mark_ready(wallet: OpenWallet, session_id: str, ready_ms: int, alive_ms: int | None) -> None:
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
    set_end(session, session["stop_by_ms"], session["stop_by_reason"])


def end_session(wallet: OpenWallet, session: Row, ended_ms: int, reason: str) -> None:
    """End a session at `ended_ms`, clamped between what is known and now.

    A session that was never ready costs nothing. If more was booked than it lived, the
    difference is returned to the grants that paid.
    """
    if session["ended_ms"] is not None:
        return
    earliest_ms = session["ready_ms"] or session["admitted_ms"]
    ended_ms = max(earliest_ms, min(ended_ms, wallet.now_ms))
    session["ended_ms"] = ended_ms
    # A server that we ordered to stop ended for our reason, however the hub words it.
    session["end_reason"] = session["stop_reason"] or reason
    if session["stop_reason"] is not None:
        _note_stop(wallet, session)
        close_stop_order(wallet, session, "ended")
    give_back_after(wallet, session, ended_ms, wallet.row["settled_to_ms"])


def give_back_after(wallet: OpenWallet, session: Row, ended_ms: int, booked_to_ms: int) -> None:
    """Return what a session was charged after its end, booked up to `booked_to_ms`."""
    overbooked_ms = booked_to_ms - max(ended_ms, session["ready_ms"] or 0)
    if session["ready_ms"] is not None and overbooked_ms > 0 and session["rate_mtok_h"]:
        amount = session["rate_mtok_h"] * overbooked_ms
        # What a refund gave back already is not given back twice: it was the return.
        refunded = max(0, amount - session["charged_grains"])
        session["refunded_grains"] -= refunded
        if amount > refunded:
            reason = "the server had ended earlier than was known"
            return_charge(wallet, session, amount - refunded, reason)


def _note_stop(wallet: OpenWallet, session: Row) -> None:
    """Note how long it took to stop a session's server since that was ordered."""
    asked = {"session_id": session["session_id"]}
    issued_ms = wallet.connection.execute(_ORDERED, asked).scalar()
    if issued_ms is not None:
        took_ms = max(0, session["ended_ms"] - issued_ms)
        late_ms = max(0, took_ms - session["stop_time_ms"])
        ended = StopEnded(session["session_id"], session["stop_reason"], took_ms, late_ms)
        wallet.batch.stops_ended.append(ended)


def bury(connection: Connection, now_ms: int, start_key: str) -> None:
    """Leave a tombstone that refuses the delayed admission of a cancelled start."""
    tombstones = schema.tombstones
    query = select(tombstones).where(tombstones.c.start_key == start_key)
    if connection.execute(query).first() is None:
        connection.execute(insert(tombstones), {"start_key": start_key, "cancelled_ms": now_ms})
