"""Sessions: admission, readiness, proof of life and the end of one run of one server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, select

from jhub_tokens import burndown
from jhub_tokens.catalogue import Catalogue, Profile
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.deadlines import close_stop_orders
from jhub_tokens.ledger.membership import (
    close_wallet,
    current_plan,
    find_member,
    load_wallet,
)
from jhub_tokens.ledger.records import LedgerError, NotAdmitted, SessionRecord
from jhub_tokens.ledger.returns import return_charge
from jhub_tokens.ledger.wallet import OpenWallet, new_id
from jhub_tokens.units import format_tokens

__all__ = ["admit", "bury", "end_session", "session_needs", "session_record", "start_session"]

#: Refusals by the economy's rules; shadow mode reports them but admits.
RULES = ("plan", "frozen", "limit", "balance")


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
    hub: str,
) -> tuple[SessionRecord, NotAdmitted | None]:
    """Admit a start, decided under the wallet's lock, or raise; see `Ledger.admit`."""
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    known = _known_start(connection, member_id, start_key, server_name, profile)
    if known is not None:
        return known, None
    chosen = _choose(catalogue, now_ms, profile, image, gpu_model)
    wallet.advance()
    refusal = _refusal(connection, catalogue, wallet, chosen[0], server_name)
    if refusal is not None and catalogue.enforce:
        raise refusal
    for session in wallet.open_sessions():
        if session["server_name"] == server_name and session["ready_ms"] is None:
            # The hub runs one server of a name: an earlier start of it came to nothing.
            end_session(wallet, session, now_ms, "superseded")
    wallet.advance()  # what was given up is settled with this very operation
    session = start_session(
        wallet,
        catalogue,
        chosen[0],
        server_name,
        start_key,
        hub=hub,
        image=chosen[1],
        gpu=chosen[2],
    )
    close_wallet(wallet, catalogue)
    return session_record(session), refusal


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
    sessions = schema.sessions
    query = select(sessions).where(sessions.c.start_key == start_key)
    row = connection.execute(query).mappings().first()
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
    tombstones = schema.tombstones
    buried = select(tombstones).where(tombstones.c.start_key == start_key)
    if row is not None or connection.execute(buried).first() is not None:
        raise NotAdmitted("cancelled", "This start was cancelled. Start the server again.")
    return None


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
            f"There is no profile “{profile_name[:80]}”. Choose one of: {names}.",
            field="profile",
        )
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(catalogue.zone)).date()
    offered = [version.tag for version in catalogue.images_for(profile_name, today)]
    if not image:
        image = offered[0] if offered else None
    elif image not in offered:
        version = catalogue.images.get(image)
        if version is None:
            message = f"There is no image “{image[:80]}”."
            code = "unknown_image"
        elif version.is_retired(today):
            instead = f" Use {version.successor} instead." if version.successor else ""
            message = f"The image {version.title} ({image}) is retired.{instead}"
            code = "retired_image"
        else:
            message = f"The image {image} is not made for {profile.title}."
            code = "bad_choice"
        if offered and code != "retired_image":
            message += f" Choose one of: {', '.join(offered)}."
        raise NotAdmitted(code, message, field="image")  # type: ignore[arg-type]
    if not gpu:
        gpu = profile.gpu_models[0] if profile.gpu_models else None
    elif gpu not in profile.gpu_models:
        models = ", ".join(profile.gpu_models) or "none"
        raise NotAdmitted(
            "bad_choice",
            f"{profile.title} has no GPU model “{gpu[:80]}”. It has: {models}.",
            field="gpu_model",
        )
    return profile, image, gpu


def _refusal(
    connection: Connection,
    catalogue: Catalogue,
    wallet: OpenWallet,
    profile: Profile,
    server_name: str,
) -> NotAdmitted | None:
    """Return why the economy's rules refuse this start, None if they don't."""
    member = find_member(connection, schema.members.c.member_id == wallet.row["member_id"])
    assert member is not None
    plan = current_plan(connection, catalogue, member["member_id"])
    if member["state"] == "frozen":
        return NotAdmitted("frozen", "This membership is frozen.")
    if profile.name not in plan.profiles:
        return NotAdmitted("plan", f"The plan {plan.title} does not include {profile.title}.")
    # An earlier server of this name is over, even if its end has yet to be reported.
    others = [s for s in wallet.open_sessions() if s["server_name"] != server_name]
    if len(others) >= plan.max_servers:
        servers = "one server" if plan.max_servers == 1 else f"{plan.max_servers} servers"
        return NotAdmitted("limit", f"The plan {plan.title} runs {servers} at a time.")
    needs = [session_needs(s, wallet.now_ms) for s in others]
    needs.append(profile_needs(catalogue, profile))
    missing = burndown.shortfall(wallet.projected(), needs)
    if missing:
        return NotAdmitted(
            "balance",
            f"The balance is {format_tokens(missing)} tokens short of what {profile.title} needs.",
            missing_grains=missing,
        )
    return None


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
    server_name: str,
    start_key: str,
    *,
    hub: str,
    image: str | None = None,
    gpu: str | None = None,
    hub_started: str | None = None,
) -> dict[str, Any]:
    """Open a session in the wallet at the catalogue's present rate, which it keeps to its end."""
    policy = catalogue.policy
    session = {
        "session_id": new_id(),
        "wallet_id": wallet.wallet_id,
        "member_id": wallet.row["member_id"],
        "hub": hub,
        "server_name": server_name,
        "start_key": start_key,
        "hub_started": hub_started,
        "profile": profile.name,
        "image": image,
        "gpu_model": gpu,
        "rate_mtok_h": profile.rate_mtok_h,
        "minimum_run_ms": policy.minimum_run_ms,
        "grace_ms": policy.grace_ms,
        "stop_time_ms": policy.stop_time_ms,
        "age": max((s["age"] for s in wallet.sessions.values()), default=0) + 1,
        "admitted_ms": wallet.now_ms,
        "ready_ms": None,
        "alive_to_ms": None,
        "ended_ms": None,
        "end_reason": None,
        "settled": False,
        "charged_grains": 0,
    }
    wallet.sessions[session["session_id"]] = session
    return session


def end_session(wallet: OpenWallet, session: dict[str, Any], ended_ms: int, reason: str) -> None:
    """End a session at `ended_ms`, clamped between what is known and now.

    A session that was never ready costs nothing. If more was booked than it lived, the
    difference is returned to the grants that paid.
    """
    if session["ended_ms"] is not None:
        return
    earliest_ms = session["ready_ms"] or session["admitted_ms"]
    ended_ms = max(earliest_ms, min(ended_ms, wallet.now_ms))
    session["ended_ms"] = ended_ms
    order = wallet.connection.execute(
        select(schema.stop_orders.c.reason).where(
            schema.stop_orders.c.session_id == session["session_id"],
            schema.stop_orders.c.closed_ms.is_(None),
        )
    ).scalar()
    # A server that we ordered to stop ended for our reason, however the hub words it.
    session["end_reason"] = order or reason
    if order:
        close_stop_orders(wallet, [session], "ended")
    overbooked_ms = wallet.row["settled_to_ms"] - max(ended_ms, session["ready_ms"] or 0)
    if session["ready_ms"] is not None and overbooked_ms > 0 and session["rate_mtok_h"]:
        amount = session["rate_mtok_h"] * overbooked_ms
        reason = "the server had ended earlier than was known"
        return_charge(wallet, session, amount, reason)


def bury(connection: Connection, now_ms: int, start_key: str) -> None:
    """Leave a tombstone that refuses the delayed admission of a cancelled start."""
    tombstones = schema.tombstones
    query = select(tombstones).where(tombstones.c.start_key == start_key)
    if connection.execute(query).first() is None:
        connection.execute(insert(tombstones), {"start_key": start_key, "cancelled_ms": now_ms})
