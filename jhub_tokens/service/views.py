"""From the books' records to what travels: the only place where the two shapes meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue, ImageVersion, Plan, Pool, Profile
from jhub_tokens.i18n import _
from jhub_tokens.ledger.finance_records import Basis
from jhub_tokens.ledger.records import (
    Language,
    MemberSummary,
    NotAdmitted,
    NoticeRecord,
    ObserveReport,
    Payer,
    SessionRecord,
    StatementEntry,
    StatementView,
    StopOrderRecord,
    WalletView,
)
from jhub_tokens.service import texts
from jhub_tokens.service.notice_texts import notice_severity, notice_text
from jhub_tokens.service.refusals import Situation, alternatives, closed_because, explain
from jhub_tokens.ssh_keys import keys_digest
from jhub_tokens.units import rounded_differences
from jhub_tokens.wire import (
    Admission,
    Amount,
    Availability,
    HardwareModel,
    ImageChoice,
    KnownImage,
    KnownProfile,
    MemberPage,
    MemberRow,
    NodePool,
    NoticeItem,
    Offer,
    Offers,
    PayerChoice,
    RunningSession,
    SessionKnown,
    SnapshotReceipt,
    Standing,
    Statement,
    StatementLine,
    StopOrder,
    TeamStanding,
    Toleration,
)

__all__ = [
    "admission",
    "known_profile",
    "local_date",
    "member_page",
    "node_pool",
    "notice_items",
    "offers",
    "receipt",
    "running",
    "standing",
    "statement",
    "stop_order",
]


def local_date(at_ms: int, zone: str) -> date:
    """Return the calendar day of an instant in `zone`."""
    epoch = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))
    return (epoch + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone)).date()


def standing(
    wallet: WalletView,
    notices: Sequence[NoticeRecord],
    catalogue: Catalogue,
    payers: Sequence[Payer] = (),
    language: str | None = None,
) -> Standing:
    """Return a member's balance and what burns it; `language` is what they have chosen."""
    now_ms, zone, member = wallet.as_of_ms, catalogue.zone, wallet.member
    return Standing(
        member_id=member.member_id,
        name=member.name,
        state=member.state,
        plan=member.plan,
        plan_title=wallet.plan.title,
        balance=Amount.of(wallet.balance_grains),
        allotment=Amount.of(wallet.allotment_grains),
        used=Amount.of(wallet.used_grains),
        period_start_ms=wallet.period_start_ms,
        period_end_ms=wallet.period_end_ms,
        period_end=texts.instant_text(wallet.period_end_ms, now_ms, zone),
        burn_mtok_h=wallet.burn_mtok_h,
        runs_out_at_ms=wallet.dry_at_ms,
        runs_out_at=_instant(wallet.dry_at_ms, now_ms, zone),
        sessions=[running(session, catalogue, now_ms) for session in wallet.sessions],
        teams=[_team(payer, catalogue) for payer in payers],
        notices=notice_items(notices, catalogue, now_ms),
        as_of_ms=now_ms,
        zone=zone,
        banner=catalogue.banner,
        enforced=catalogue.enforce,
        language=language,
    )


def notice_items(
    notices: Iterable[NoticeRecord], catalogue: Catalogue, now_ms: int
) -> list[NoticeItem]:
    """Return notices with their texts, in the language of whoever looks."""
    language = cast("Language", i18n.language())
    spoken = [replace(notice, language=language) for notice in notices]
    return [
        NoticeItem(
            notice_id=notice.notice_id,
            kind=notice.kind,
            severity=notice_severity(notice.kind),
            text=notice_text(notice, catalogue, now_ms),
            created_at_ms=notice.created_ms,
            created_at=texts.instant_text(
                notice.created_ms, now_ms, notice.zone or catalogue.zone, notice.language
            ),
        )
        for notice in spoken
    ]


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
        standing=standing(own.wallet, notices, own.catalogue, payers, language),
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
        pool=node_pool(pool) if pool else None,
        shm_bytes=profile.shm_bytes,
        workspace_bytes=own.workspace_bytes,
        environment=profile.environment,
        authorized_keys=list(keys),
        files=profile.files,
        stop_time_ms=session.stop_time_ms,
        balance=Amount.of(situation.wallet.balance_grains),
        shadow_refusal=explain(shadow.code, situation, profile, refused=shadow) if shadow else None,
    )


def receipt(
    report: ObserveReport,
    stops: Iterable[StopOrderRecord],
    keys: Mapping[str, Sequence[str]],
    now_ms: int,
) -> SnapshotReceipt:
    """Return the receipt of a snapshot; `keys` are the SSH keys of each member in it."""
    known = [
        SessionKnown(
            hub_user_id=seen.member.hub_user_id,
            created=seen.member.created,
            server_name=seen.server_name,
            start_key=session.start_key,
            session_id=session.session_id,
            stop_in_ms=None if stop_at is None else max(0, stop_at - now_ms),
            keys_digest=keys_digest(keys.get(session.member_id, ())),
        )
        for seen, session, stop_at in zip(
            report.servers, report.sessions, report.stop_at_ms, strict=True
        )
    ]
    return SnapshotReceipt(
        at_ms=now_ms,
        sessions=known,
        ended=list(report.ended),
        cancelled=list(report.cancelled),
        stops=[stop_order(order) for order in stops],
    )


def stop_order(order: StopOrderRecord) -> StopOrder:
    """Return a stop order for the agent."""
    return StopOrder(
        order_id=order.order_id,
        session_id=order.session.session_id,
        start_key=order.session.start_key,
        hub_user_id=order.member.hub_user_id,
        created=order.member.hub_created,
        name=order.member.name,
        server_name=order.session.server_name,
        reason=texts.stop_text(order.reason),
        issued_at_ms=order.issued_ms,
    )


def statement(view: StatementView, catalogue: Catalogue, basis: Basis = "effective") -> Statement:
    """Return a statement whose shown lines add up to its shown closing balance."""
    now_ms, zone = view.as_of_ms, catalogue.zone
    # The opening balance is the first difference, so that it is part of what adds up.
    shown = rounded_differences(
        [view.opening_grains, *(entry.amount_grains for entry in view.entries)]
    )
    balance, lines = view.opening_grains, []
    for entry, tokens in zip(view.entries, shown[1:], strict=True):
        balance += entry.amount_grains
        lines.append(
            StatementLine(
                at_ms=entry.at_ms,
                at=texts.instant_text(entry.at_ms, now_ms, zone),
                kind=entry.kind,
                text=_line_text(entry, catalogue),
                amount=Amount.of(entry.amount_grains),
                balance=Amount.of(balance),
                tokens=f"{tokens:+,f}",
                session_id=entry.session_id,
                profile=entry.profile,
                from_ms=entry.from_ms,
                to_ms=entry.to_ms,
                rate_mtok_h=entry.rate_mtok_h,
                actor=entry.actor,
                reason=entry.reason,
                break_glass=entry.break_glass,
            )
        )
    assert balance == view.closing_grains, "opening + lines must be the closing balance"
    return Statement(
        member_id=view.member.member_id,
        name=view.member.name,
        period_start_ms=view.from_ms,
        period_end_ms=view.to_ms,
        period_start=texts.instant_text(view.from_ms, now_ms, zone),
        period_end=texts.instant_text(view.to_ms, now_ms, zone),
        as_of_ms=now_ms,
        opening=Amount.of(view.opening_grains),
        lines=lines,
        closing=Amount.of(view.closing_grains),
        zone=zone,
        basis=basis,
    )


def member_page(
    rows: Iterable[MemberSummary],
    *,
    total: int,
    page: int,
    page_size: int,
    now_ms: int,
    catalogue: Catalogue,
) -> MemberPage:
    """Return one page of the admin's list."""
    return MemberPage(
        members=[_member_row(row, now_ms, catalogue) for row in rows],
        total=total,
        page=page,
        page_size=page_size,
    )


def _instant(at_ms: int | None, now_ms: int, zone: str) -> str | None:
    return None if at_ms is None else texts.instant_text(at_ms, now_ms, zone)


def running(session: SessionRecord, catalogue: Catalogue, now_ms: int) -> RunningSession:
    """Return a session that is metered or about to be."""
    profile = catalogue.profiles.get(session.profile)
    return RunningSession(
        session_id=session.session_id,
        server_name=session.server_name,
        profile=session.profile,
        title=profile.title if profile else session.profile,
        rate_mtok_h=session.rate_mtok_h,
        admitted_at_ms=session.admitted_ms,
        ready_at_ms=session.ready_ms,
        cost=Amount.of(session.cost_grains),
        ends_at_ms=session.cut_ms,
        ends_at=_instant(session.cut_ms, now_ms, catalogue.zone),
    )


def _team(payer: Payer, catalogue: Catalogue) -> TeamStanding:
    wallet, zone = payer.wallet, catalogue.zone
    now_ms = wallet.as_of_ms
    team = catalogue.teams.get(payer.team)
    return TeamStanding(
        team=payer.team,
        title=team.title if team else payer.team,
        balance=Amount.of(wallet.balance_grains),
        cap=None if payer.cap_grains is None else Amount.of(payer.cap_grains),
        left=None if payer.left_grains is None else Amount.of(payer.left_grains),
        period_end_ms=wallet.period_end_ms,
        period_end=texts.instant_text(wallet.period_end_ms, now_ms, zone),
        runs_out_at_ms=wallet.dry_at_ms,
        runs_out_at=_instant(wallet.dry_at_ms, now_ms, zone),
        sessions=[
            running(session, catalogue, now_ms)
            for session in wallet.sessions
            if session.member_id == wallet.member.member_id
        ],
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
            for image in catalogue.images_for(profile.name, local_date(now_ms, catalogue.zone))
        ],
        open=bool(carried),
        refusal=explain(code, own, profile) if code else None,
        lasts_until_ms=until_ms,
        lasts_until=_instant(until_ms, now_ms, catalogue.zone),
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
        lasts_until=_instant(until_ms, wallet.as_of_ms, catalogue.zone),
    )


def known_profile(profile: Profile, catalogue: Catalogue, now_ms: int) -> KnownProfile:
    """Return a profile as the hub keeps it for when it cannot ask."""
    today = local_date(now_ms, catalogue.zone)
    return KnownProfile(
        profile=profile.name,
        title=profile.title,
        description=profile.description,
        rate_mtok_h=profile.rate_mtok_h,
        rate=texts.rate_text(profile.rate_mtok_h),
        hardware=_hardware(profile, catalogue),
        images=[
            KnownImage(**_image(image).model_dump(), reference=image.reference)
            for image in catalogue.images_for(profile.name, today)
        ],
        node_selector=profile.node_selector,
        pools=[node_pool(catalogue.pools[name]) for name in profile.pools],
        shm_bytes=profile.shm_bytes,
        environment=profile.environment,
        max_run_ms=profile.max_run_ms,
        files=profile.files,
    )


def node_pool(pool: Pool) -> NodePool:
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


def _line_text(entry: StatementEntry, catalogue: Catalogue) -> str:
    parts: list[str] = []
    if entry.profile:
        profile = catalogue.profiles.get(entry.profile)
        title = profile.title if profile else entry.profile
        parts.append(f"{title} “{entry.server_name}”" if entry.server_name else title)
    if entry.kind == "overrun" and entry.amount_grains > 0:
        parts.append(_("the server ran on after the balance was used up"))
        waived = catalogue.policy.overrun == "waive"
        parts.append(_("not charged") if waived else _("deducted from the next allotment"))
    if entry.from_ms is not None and entry.to_ms is not None:
        duration = texts.duration_text(entry.to_ms - entry.from_ms)
        if entry.rate_mtok_h is None:
            parts.append(duration)
        else:
            rate = texts.rate_text(entry.rate_mtok_h)
            parts.append(_("%(duration)s at %(rate)s", duration=duration, rate=rate))
    if entry.break_glass:
        parts.append(_("started while balances could not be checked"))
    if entry.waived:
        parts.append(_("not charged"))
    if entry.end_reason:
        parts.append(texts.end_text(entry.end_reason))
    elif entry.kind == "usage":
        parts.append(_("running"))
    if entry.reason:
        parts.append(entry.reason)
    return " · ".join(parts) or texts.kind_text(entry.kind)


def _member_row(row: MemberSummary, now_ms: int, catalogue: Catalogue) -> MemberRow:
    plan = catalogue.plans.get(row.member.plan)
    return MemberRow(
        member_id=row.member.member_id,
        name=row.member.name,
        state=row.member.state,
        plan=plan.title if plan else row.member.plan,
        balance=Amount.of(row.balance_grains),
        allotment=Amount.of(row.allotment_grains),
        burn_mtok_h=row.burn_mtok_h,
        running=row.running,
        runs_out_at_ms=row.dry_at_ms,
        runs_out_at=_instant(row.dry_at_ms, now_ms, catalogue.zone),
        last_used_at_ms=row.last_used_ms,
    )
