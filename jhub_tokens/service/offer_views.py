"""What may be started, and what was admitted: profiles, images, pools and payers as they travel."""

from __future__ import annotations

from collections.abc import Sequence

from jhub_tokens.catalogue import Catalogue, ImageVersion, Plan, Pool, Profile
from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import (
    NotAdmitted,
    NoticeRecord,
    Payer,
    SessionRecord,
)
from jhub_tokens.service import texts, views
from jhub_tokens.service.refusals import Situation, alternatives, closed_because, explain
from jhub_tokens.wire import (
    Admission,
    Amount,
    Availability,
    HardwareModel,
    ImageChoice,
    KnownImage,
    KnownProfile,
    NodePool,
    Offer,
    Offers,
    PayerChoice,
    Toleration,
)

__all__ = ["admission", "known_profile", "offers"]


def offers(
    situations: Sequence[Situation],
    notices: Sequence[NoticeRecord],
    payers: Sequence[Payer],
    language: str | None = None,
) -> Offers:
    """Return every profile, open or closed with the reason, in the catalogue's order.

    `situations` begin with the member's own wallet; those of `payers` follow. `language` is what
    the member has chosen.
    """
    own = situations[0]
    return Offers(
        standing=views.standing(own.wallet, notices, own.catalogue, payers, language),
        offers=[_offer(profile, situations, payers) for profile in own.catalogue.profiles.values()],
    )


def admission(
    session: SessionRecord,
    shadow: NotAdmitted | None,
    situation: Situation,
    own: Plan,
    keys: Sequence[str] = (),
) -> Admission:
    """Return what to start.

    `own` is the member's own plan, whoever pays; `keys` are the member's SSH keys.
    """
    catalogue = situation.catalogue
    profile = catalogue.profiles[session.profile]
    image = catalogue.images.get(session.image) if session.image else None
    pool = catalogue.pool_for(profile, session.gpu_model)
    return Admission(
        session_id=session.session_id,
        start_key=session.start_key,
        profile=profile.name,
        title=profile.title,
        rate_mtok_h=session.rate_mtok_h,
        hardware=_hardware(profile, catalogue),
        gpu_model=session.gpu_model,
        image=_image(image) if image else None,
        image_reference=image.reference if image else None,
        node_selector=profile.node_selector,
        pool=_node_pool(pool) if pool else None,
        shm_bytes=profile.shm_bytes,
        workspace_bytes=own.workspace_bytes,
        environment=profile.environment,
        authorized_keys=list(keys),
        files=profile.files,
        stop_time_ms=session.stop_time_ms,
        balance=Amount.of(situation.wallet.balance_grains),
        shadow_refusal=explain(shadow.code, situation, profile, refused=shadow) if shadow else None,
    )


def _offer(profile: Profile, situations: Sequence[Situation], payers: Sequence[Payer]) -> Offer:
    own = situations[0]
    catalogue, now_ms = own.catalogue, own.wallet.as_of_ms
    code = closed_because(profile, own)
    carried = [
        _payer_choice(profile, situation, payer)
        for situation, payer in zip(situations, (None, *payers), strict=True)
        if not (payer and profile.files)  # free: nobody pays
        if not catalogue.enforce or closed_because(profile, situation) is None
    ]
    # A profile that cannot start lasts until nothing.
    until_ms = carried[0].lasts_until_ms if carried else None
    return Offer(
        profile=profile.name,
        title=profile.title,
        description=profile.description,
        hardware=_hardware(profile, catalogue),
        rate_mtok_h=profile.rate_mtok_h,
        rate=texts.rate_text(profile.rate_mtok_h),
        images=[
            _image(image)
            for image in catalogue.images_for(
                profile.name, views.local_date(now_ms, catalogue.zone)
            )
        ],
        open=bool(carried),
        refusal=explain(code, own, profile) if code else None,
        lasts_until_ms=until_ms,
        lasts_until=views.instant(until_ms, now_ms, catalogue.zone),
        lasts_ms=None if until_ms is None else max(0, until_ms - now_ms),
        payers=carried,
        max_run_ms=profile.max_run_ms,
        availability=_availability(profile, situations),
        files=profile.files,
        idle_stop_ms=profile.idle.stop_after_ms if profile.idle else None,
    )


def _availability(profile: Profile, situations: Sequence[Situation]) -> Availability | None:
    """Return where a profile has room; where it has none, what this member could start instead."""
    board = situations[0].board
    found = None if board is None else board.availability(profile)
    if found is None or any(pool.free for pool in found.pools):
        return found
    catalogue = situations[0].catalogue
    smaller = catalogue.smaller_than(profile)
    named = {profile.name, *(each.name for each in smaller)}
    larger = [each for each in catalogue.profiles.values() if each.name not in named]
    for situation in situations:  # the member's own wallet first
        instead = alternatives(situation, [*smaller, *larger])
        if instead:
            could = _(
                "you could start “%(profile)s” (%(rate)s) instead",
                profile=instead[0].title,
                rate=texts.rate_text(instead[0].rate_mtok_h),
            )
            changes = {"alternatives": instead, "text": f"{found.text} · {could}"}
            return found.model_copy(update=changes)
    return found


def _payer_choice(profile: Profile, situation: Situation, payer: Payer | None) -> PayerChoice:
    wallet, catalogue = situation.wallet, situation.catalogue
    prospect = situation.prospects.get(profile.name)
    until_ms = prospect.lasts_until_ms if prospect else None
    team = catalogue.teams.get(payer.team) if payer else None
    return PayerChoice(
        payer=payer.team if payer else "",
        title=team.title if team else _("Your own tokens"),
        balance=Amount.of(wallet.balance_grains),
        left=Amount.of(payer.left_grains) if payer and payer.left_grains is not None else None,
        lasts_until_ms=until_ms,
        lasts_until=views.instant(until_ms, wallet.as_of_ms, catalogue.zone),
    )


def known_profile(profile: Profile, catalogue: Catalogue, now_ms: int) -> KnownProfile:
    """Return a profile as the hub keeps it for when it cannot ask."""
    today = views.local_date(now_ms, catalogue.zone)
    return KnownProfile(
        profile=profile.name,
        title=profile.title,
        description=profile.description,
        others=profile.others,
        rate_mtok_h=profile.rate_mtok_h,
        rate=texts.rate_text(profile.rate_mtok_h),
        hardware=_hardware(profile, catalogue),
        images=[
            KnownImage(**_image(image).model_dump(), reference=image.reference)
            for image in catalogue.images_for(profile.name, today)
        ],
        node_selector=profile.node_selector,
        pools=[_node_pool(catalogue.pools[name]) for name in profile.pools],
        shm_bytes=profile.shm_bytes,
        environment=profile.environment,
        max_run_ms=profile.max_run_ms,
        files=profile.files,
    )


def _node_pool(pool: Pool) -> NodePool:
    """Return a node pool with all that a start on it needs."""
    return NodePool(
        pool=pool.name,
        title=pool.title,
        gpu_model=pool.gpu_model,
        selector=pool.selector,
        tolerations=[Toleration(**toleration.model_dump()) for toleration in pool.tolerations],
        affinity=pool.affinity,
        gpu_resource=pool.gpu_resource,
        spot=pool.spot,
        priority_class=pool.priority_class,
        runtime_class=pool.runtime_class,
    )


def _hardware(profile: Profile, catalogue: Catalogue) -> HardwareModel:
    spot = catalogue.is_spot(profile)
    return HardwareModel(
        cpu=profile.cpu,
        memory_bytes=profile.memory_bytes,
        gpus=profile.gpus,
        gpu_models=list(profile.gpu_models),
        spot=spot,
        text=texts.hardware_text(profile, spot=spot),
    )


def _image(image: ImageVersion) -> ImageChoice:
    return ImageChoice(
        tag=image.tag,
        title=image.title,
        lifecycle=image.lifecycle,
        until=image.until.isoformat() if image.until else None,
        successor=image.successor,
    )
