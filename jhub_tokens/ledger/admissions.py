"""Admission: whether a start may go through, by what is asked for and what the balance carries."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, select

from jhub_tokens import burndown
from jhub_tokens.catalogue import Catalogue, Profile
from jhub_tokens.i18n import N_, _, ngettext
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.limits import Limit, tightest
from jhub_tokens.ledger.loading import load_team_wallet, load_wallet
from jhub_tokens.ledger.records import (
    LedgerError,
    NotAdmitted,
    NotAdmittedCode,
    SessionRecord,
)
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.sessions import (
    BY_START_KEY,
    end_session,
    is_used,
    lock_start,
    profile_needs,
    session_needs,
    session_record,
    start_session,
)
from jhub_tokens.ledger.teams import find_team, is_in_team
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.units import format_tokens

__all__ = ["admit", "paying_wallet"]

#: Refusals by the economy's rules; shadow mode reports them but admits.
RULES = ("plan", "frozen", "limit", "gpus", "spending_limit", "team_cap", "balance")
_STATE = select(schema.members.c.state).where(schema.members.c.member_id == bindparam("member_id"))
#: A run shorter than this is no choice but a slip.
SHORTEST_RUN_MS = 60_000


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
            "%(profile)s is free of charge, so no team pays for it.",
            profile=chosen[0].spoken().title,
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
        message = _("You are not in the team %(team)s.", team=catalogue.teams[payer].spoken().title)
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
            "%(profile)s runs for %(hours)s hours at most.",
            profile=profile.spoken().title,
            hours=hours,
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
    row = connection.execute(BY_START_KEY, {"start_key": start_key}).mappings().first()
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
                "The image %(title)s (%(image)s) is retired.",
                title=version.spoken().title,
                image=image,
            )
            if version.successor:
                message += " " + _("Use %(image)s instead.", image=version.successor)
            code = "retired_image"
        else:
            message = _(
                "The image %(image)s is not made for %(profile)s.",
                image=image,
                profile=profile.spoken().title,
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
                profile=profile.spoken().title,
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
            plan=plan.spoken().title,
            profile=profile.spoken().title,
        )
        return NotAdmitted("plan", message)
    # An earlier server of this name is over, even if its end has yet to be reported.
    others = [s for s in wallet.open_sessions() if not _is_at(s, member_id, server_name)]
    files = [s for s in others if s["files"]]
    if profile.files:
        # It costs nothing and is there for when nothing else can start.
        message = _("%(profile)s runs once at a time.", profile=profile.spoken().title)
        return NotAdmitted("limit", message) if files else None
    others = [s for s in others if not s["files"]]
    if len(others) >= plan.max_servers:
        message = ngettext(
            "The plan %(plan)s runs one server at a time.",
            "The plan %(plan)s runs %(count)s servers at a time.",
            plan.max_servers,
            plan=plan.spoken().title,
        )
        return NotAdmitted("limit", message)
    gpus = profile.gpus + sum(s["gpus"] for s in others)
    if profile.gpus and plan.max_gpus is not None and gpus > plan.max_gpus:
        message = _(
            "The plan %(plan)s runs on %(most)s GPUs at a time; this makes %(gpus)s.",
            plan=plan.spoken().title,
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
                profile=profile.spoken().title,
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
            profile=profile.spoken().title,
        ),
        missing_grains=missing_grains,
        until_ms=limit.until_ms,
    )
