"""From the books' records to what travels: here, and for what may be started in `offer_views`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger.finance_records import Basis
from jhub_tokens.ledger.records import (
    Language,
    MemberSummary,
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
from jhub_tokens.ssh_keys import keys_digest
from jhub_tokens.units import rounded_differences
from jhub_tokens.wire import (
    Amount,
    MemberPage,
    MemberRow,
    NoticeItem,
    RunningSession,
    SessionKnown,
    SnapshotReceipt,
    Standing,
    Statement,
    StatementLine,
    StopOrder,
    TeamStanding,
)

__all__ = [
    "instant",
    "local_date",
    "member_page",
    "notice_items",
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
        plan_title=wallet.plan.spoken().title,
        balance=Amount.of(wallet.balance_grains),
        allotment=Amount.of(wallet.allotment_grains),
        used=Amount.of(wallet.used_grains),
        period_start_ms=wallet.period_start_ms,
        period_end_ms=wallet.period_end_ms,
        period_end=texts.instant_text(wallet.period_end_ms, now_ms, zone),
        burn_mtok_h=wallet.burn_mtok_h,
        runs_out_at_ms=wallet.dry_at_ms,
        runs_out_at=instant(wallet.dry_at_ms, now_ms, zone),
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


def instant(at_ms: int | None, now_ms: int, zone: str) -> str | None:
    """Return an instant for people, None if there is none."""
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
        ends_at=instant(session.cut_ms, now_ms, catalogue.zone),
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
        runs_out_at=instant(wallet.dry_at_ms, now_ms, zone),
        sessions=[
            running(session, catalogue, now_ms)
            for session in wallet.sessions
            if session.member_id == wallet.member.member_id
        ],
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
        parts.append(i18n.retold(entry.reason))
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
        runs_out_at=instant(row.dry_at_ms, now_ms, catalogue.zone),
        last_used_at_ms=row.last_used_ms,
    )
