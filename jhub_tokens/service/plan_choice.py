"""A member's plan beside the others: what each holds, what may be done, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import MemberRecord, PlanChange
from jhub_tokens.ledger.self_service import Act, Choice, Choices
from jhub_tokens.service import members, texts
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.plan_confirmation import Confirmation, confirmation_of
from jhub_tokens.service.plan_words import (
    act_text,
    allotment_text,
    money_text,
    plan_facts,
    price_text,
    title_of,
)
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, format_tokens
from jhub_tokens.wire import Standing

__all__ = [
    "ChangeLine",
    "PlanCard",
    "PlanView",
    "choose",
    "confirmation",
    "keep",
    "plan_view",
]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PlanCard:
    """One plan as a card.

    Parameters
    ----------
    price
        What a period costs; empty where the catalogue says nothing.
    facts
        What it holds, a line each.
    mark
        Whether it is the member's own, the one to come, or one that is tried.
    acts
        What the member may do about it: the act, the words on the button.
    fee
        Whether it begins when its fee is paid here.
    """

    name: str
    title: str
    description: str
    price: str
    tokens: str
    facts: list[str]
    mark: str
    acts: Sequence[tuple[Act, str]]
    fee: bool


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """A change of plan as a line of the history."""

    at: str
    text: str
    state: str


@dataclass(frozen=True, slots=True)
class PlanView:
    """Everything on the page."""

    standing: Standing
    own_title: str
    own_price: str
    cards: list[PlanCard]
    may_choose: bool
    waiting: PlanChange | None
    waiting_text: str
    may_keep: bool
    trial_text: str
    paying: str | None
    pause: Choice | None
    history: list[ChangeLine]
    sells: bool
    top_ups: list[tuple[str, str, str]]  # tokens as asked, tokens, price
    top_up: str


async def plan_view(service: Service, member: MemberRecord) -> PlanView:
    """Read everything on the page Plan."""
    ledger, catalogue = service.books.ledger, service.books.catalogue
    standing = await members.standing(service, member)
    provider = service.payments

    def read() -> PlanView:
        choices = ledger.self_service.choices(member.member_id)
        changes = ledger.plan_changes(member.member_id)
        return _view(
            standing,
            catalogue,
            choices,
            changes,
            sells=provider is not None,
            fees=provider is not None and provider.collects_fees,
        )

    return await service.workers.read(read)


async def confirmation(service: Service, member: MemberRecord, act: str, plan: str) -> Confirmation:
    """Return what an act comes to, before it is done.

    Raises
    ------
    Problem
        If it is not open to the member.
    """
    ledger, catalogue = service.books.ledger, service.books.catalogue

    def read() -> Confirmation | None:
        choices = ledger.self_service.choices(member.member_id)
        choice = choices.find(act, plan)
        return None if choice is None else confirmation_of(choice, choices, catalogue)

    found = await service.workers.read(read)
    if found is None:
        raise Problem(
            409,
            "not_open",
            _("This change is not open to you now."),
            remedy=_("Look at your plan again; what is open is shown there."),
        )
    return found


async def choose(
    service: Service, caller: Caller, member: MemberRecord, act: Act, plan: str, key: str
) -> PlanChange:
    """Do an act that is open to the member.

    Raises
    ------
    LedgerError
        If it is not open any more.
    """
    books = service.books.ledger.self_service
    done = await service.workers.write(
        books.choose, member.member_id, act, plan, actor=caller.name, key=key
    )
    log.info("plan chosen", by=caller.label, member_id=member.member_id, act=act, plan=plan)
    service.written(may_stop=True)
    return done


async def keep(service: Service, member: MemberRecord, change_id: str) -> PlanChange:
    """Take back a change that the member wanted and that waits.

    Raises
    ------
    Problem
        If it is not the member's to take back.
    LedgerError
        If it has taken place meanwhile.
    """
    ledger = service.books.ledger
    choices = await service.workers.read(ledger.self_service.choices, member.member_id)
    waiting = choices.waiting
    if waiting is not None and waiting.change_id == change_id and not choices.may_keep:
        raise Problem(
            403,
            "forbidden",
            _("This change was not made by you."),
            remedy=_("Ask your administrator to take it back."),
        )
    if waiting is None or waiting.change_id != change_id:
        # Taken back before, or done: the books say which.
        changes = await service.workers.read(ledger.plan_changes, member.member_id)
        if not any(c.change_id == change_id and c.actor == member.name for c in changes):
            raise Problem(404, "unknown_change", _("There is no such change of plan."))
    done = await service.workers.write(ledger.revoke_change, member.member_id, change_id)
    service.written(may_stop=True)
    return done


# --- the page ----------------------------------------------------------------------------------


def _view(
    standing: Standing,
    catalogue: Catalogue,
    choices: Choices,
    changes: Sequence[PlanChange],
    *,
    sells: bool,
    fees: bool,
) -> PlanView:
    now_ms, zone = choices.now_ms, catalogue.zone
    waiting = choices.waiting
    coming = waiting.plan if waiting else None
    shown = [
        plan
        for plan in catalogue.plans.values()
        if plan.self_service or plan.name in (choices.present.name, coming, choices.trial)
    ]
    if choices.present.name not in catalogue.plans:
        shown.insert(0, choices.present)
    pause = next((choice for choice in choices.open if choice.act == "pause"), None)
    waiting_text = trial_text = ""
    if waiting is not None:
        waiting_text = _(
            "Your plan changes to %(plan)s %(when)s.",
            plan=title_of(catalogue, waiting.plan),
            when=texts.instant_text(waiting.at_ms, now_ms, zone),
        )
    if choices.trial is not None and choices.trial_until_ms is not None:
        trial_text = _(
            "You try %(plan)s until %(when)s; %(own)s goes on afterwards.",
            plan=title_of(catalogue, choices.trial),
            when=texts.instant_text(choices.trial_until_ms, now_ms, zone),
            own=choices.present.title,
        )
    return PlanView(
        standing=standing,
        own_title=choices.present.title,
        own_price=price_text(choices.present),
        cards=[_card(plan, catalogue, choices, fees=fees) for plan in shown],
        may_choose=bool(choices.open),
        waiting=waiting,
        waiting_text=waiting_text,
        may_keep=choices.may_keep,
        trial_text=trial_text,
        paying=choices.paying,
        pause=pause,
        history=[_line(change, catalogue, now_ms) for change in changes],
        sells=sells,
        top_ups=[
            (
                format_tokens(offer.amount_mtok * GRAINS_PER_MILLITOKEN, 3).replace(",", ""),
                texts.tokens_text(offer.amount_mtok * GRAINS_PER_MILLITOKEN),
                money_text(offer.price.amount_minor, offer.price.currency),
            )
            for offer in catalogue.top_ups
        ]
        if sells
        else [],
        top_up=catalogue.top_up,
    )


def _card(plan: Plan, catalogue: Catalogue, choices: Choices, *, fees: bool) -> PlanCard:
    mark = ""
    if plan.name == choices.present.name:
        mark = _("Your plan")
    elif choices.waiting is not None and plan.name == choices.waiting.plan:
        mark = _("From the next period on")
    elif plan.name == choices.trial:
        mark = _("On trial")
    acts = [
        (choice.act, act_text(choice.act))
        for choice in choices.open
        if choice.plan == plan.name and choice.act != "pause"
    ]
    may_pay = (
        fees
        and plan.price is not None
        and plan.self_service
        and choices.paying is None
        and plan.name != choices.present.name
    )
    return PlanCard(
        name=plan.name,
        title=plan.title,
        description=plan.description,
        price=price_text(plan),
        tokens=_("%(tokens)s a month", tokens=allotment_text(plan)),
        facts=plan_facts(plan, catalogue),
        mark=mark,
        acts=acts,
        fee=may_pay,
    )


def _line(change: PlanChange, catalogue: Catalogue, now_ms: int) -> ChangeLine:
    plan = title_of(catalogue, change.plan)
    if change.kind == "trial":
        text = _("Trial of %(plan)s", plan=plan)
    elif change.kind == "cancel":
        text = _("Paused: %(plan)s follows", plan=plan)
    else:
        text = _("Change to %(plan)s", plan=plan)
    if change.revoked_ms is not None:
        state = _("taken back")
    elif change.applied_ms is not None or change.at_ms <= now_ms:
        state = _("done")
    else:
        state = _("to come")
    return ChangeLine(texts.instant_text(change.at_ms, now_ms, catalogue.zone), text, state)
