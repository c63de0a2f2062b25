"""What may be started while nobody can be asked: the last known catalogue, and an operator's act.

Pure: it decides from what it is given, and says no in the words of any other refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from jhub_tokens import wire
from jhub_tokens.hub.acts import Act
from jhub_tokens.i18n import N_, _

__all__ = ["Wanted", "admission_of", "allowed_profiles", "decide"]

_AGAIN = N_("Try again once balances can be checked, or ask the operator of this hub.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a member wants to start."""

    profile: str
    image: str | None
    gpu_model: str | None
    payer: str | None
    max_run_ms: int | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is started, with the defaults filled in."""

    profile: wire.KnownProfile
    image: wire.KnownImage | None
    gpu_model: str | None
    payer: str | None
    max_run_ms: int | None


def allowed_profiles(act: Act, catalogue: wire.HubCatalogue) -> list[wire.KnownProfile]:
    """Return the profiles that go through: those that the act names, else the default plan's."""
    names = catalogue.default_profiles if act.profiles is None else act.profiles
    return [profile for profile in catalogue.profiles if profile.profile in names]


def offered_images(
    profile: wire.KnownProfile, catalogue: wire.HubCatalogue, now_ms: int
) -> list[wire.KnownImage]:
    """Return the images of a profile that have not retired since they were last heard of."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(catalogue.zone)).date()
    return [i for i in profile.images if i.until is None or today.isoformat() < i.until]


def decide(
    wanted: Wanted,
    act: Act,
    catalogue: wire.HubCatalogue,
    member: wire.Identity,
    running: Sequence[tuple[int, str]],
    now_ms: int,
) -> Chosen | wire.Refusal:
    """Return what to start, or why not.

    Parameters
    ----------
    running
        Hub user id and creation of the owner of each server that was let through and runs.
    """
    who = (member.hub_user_id, member.created)
    if any((known.hub_user_id, known.created) == who for known in catalogue.frozen):
        return _no("frozen", _("Your membership is frozen: nothing can be started."))
    allowed = [profile.spoken() for profile in allowed_profiles(act, catalogue)]
    names = ", ".join(profile.title for profile in allowed) or _("nothing")
    if not wanted.profile and len(allowed) == 1:
        profile = allowed[0]
    else:
        found = [profile for profile in allowed if profile.profile == wanted.profile]
        if not found:
            known = any(p.profile == wanted.profile for p in catalogue.profiles)
            message = _(
                "While balances cannot be checked, this can be started: %(names)s.", names=names
            )
            return _no("plan" if known else "unknown_profile", message)
        profile = found[0]
    chosen = _choose(wanted, profile, offered_images(profile, catalogue, now_ms))
    if isinstance(chosen, wire.Refusal):
        return chosen
    if wanted.payer:
        groups = [team.group for team in catalogue.teams if team.team == wanted.payer]
        if not groups:
            return _no("unknown_team", _("There is no team “%(team)s”.", team=wanted.payer[:80]))
        if groups[0] not in member.groups:
            return _no(
                "not_in_team", _("You are not in the team %(team)s.", team=wanted.payer[:80])
            )
    if running.count(who) >= act.member_servers_max:
        message = _("While balances cannot be checked, you cannot start another server.")
        return _no("limit", message)
    if act.servers_max is not None and len(running) >= act.servers_max:
        message = _("As many servers were started as can be while balances cannot be checked.")
        return _no("limit", message)
    return chosen


def _choose(
    wanted: Wanted, profile: wire.KnownProfile, images: list[wire.KnownImage]
) -> Chosen | wire.Refusal:
    by_tag = {image.tag: image for image in images}
    if wanted.image and wanted.image not in by_tag:
        message = _(
            "The image “%(image)s” cannot be started with %(profile)s.",
            image=wanted.image[:80],
            profile=profile.title,
        )
        return _no("unknown_image", message)
    models = profile.hardware.gpu_models
    if wanted.gpu_model and wanted.gpu_model not in models:
        message = _(
            "%(profile)s has no GPU model “%(model)s”.",
            profile=profile.title,
            model=wanted.gpu_model[:80],
        )
        return _no("bad_choice", message)
    longest_ms = profile.max_run_ms
    if wanted.max_run_ms is not None and longest_ms is not None and wanted.max_run_ms > longest_ms:
        message = _(
            "%(profile)s runs for %(hours)s hours at most.",
            profile=profile.title,
            hours=f"{longest_ms / 3_600_000:g}",
        )
        return _no("bad_choice", message)
    return Chosen(
        profile,
        by_tag[wanted.image] if wanted.image else next(iter(images), None),
        wanted.gpu_model or next(iter(models), None),
        wanted.payer or None,
        wanted.max_run_ms or longest_ms,
    )


def _no(code: wire.RefusalCode, message: str) -> wire.Refusal:
    return wire.Refusal(code=code, message=message, remedy=_(_AGAIN))


def admission_of(chosen: Chosen, start_key: str) -> wire.Admission:
    """Return the admission that the service would have given, without balance and session."""
    profile, image = chosen.profile, chosen.image
    return wire.Admission(
        session_id="",
        start_key=start_key,
        profile=profile.profile,
        title=profile.title,
        rate_mtok_h=profile.rate_mtok_h,
        hardware=profile.hardware,
        gpu_model=chosen.gpu_model,
        image=None
        if image is None
        else wire.ImageChoice(**image.model_dump(exclude={"reference"})),
        image_reference=None if image is None else image.reference,
        node_selector=profile.node_selector,
        pool=next((p for p in profile.pools if p.gpu_model in (None, chosen.gpu_model)), None),
        shm_bytes=profile.shm_bytes,
        environment=profile.environment,
        files=profile.files,
        balance=wire.Amount.of(0),
    )
