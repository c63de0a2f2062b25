"""Words about plans and their prices."""

from __future__ import annotations

from decimal import Decimal

from babel.numbers import format_currency, get_currency_precision

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.i18n import _, ngettext
from jhub_tokens.ledger.self_service import Act
from jhub_tokens.service import texts
from jhub_tokens.units import GRAINS_PER_MILLITOKEN
from jhub_tokens.wire.payments import InvoiceRow

__all__ = [
    "act_text",
    "allotment_text",
    "invoice_state",
    "money_text",
    "plan_facts",
    "price_text",
    "title_of",
]

_GIB = 1 << 30


def money_text(amount_minor: int, currency: str) -> str:
    """Return an amount of money as people write it in their language: ``€29.90``."""
    places = get_currency_precision(currency)
    locale = "zh_CN" if i18n.language() == "zh" else "en"
    return str(format_currency(Decimal(amount_minor).scaleb(-places), currency, locale=locale))


def price_text(plan: Plan) -> str:
    """Return what a period of a plan costs, empty where the catalogue says nothing."""
    if plan.price is None:
        return ""
    price = money_text(plan.price.amount_minor, plan.price.currency)
    return _("%(price)s a month", price=price)


def act_text(act: Act) -> str:
    """Return what the button of an act says."""
    return {
        "upgrade": _("Change to this plan"),
        "downgrade": _("Change to this plan"),
        "resume": _("Resume this plan"),
        "pause": _("Pause"),
        "trial": _("Try it"),
    }[act]


def plan_facts(plan: Plan, catalogue: Catalogue) -> list[str]:
    """Return what a plan holds, a line each."""
    facts = []
    for name in plan.profiles:
        profile = catalogue.profiles.get(name)
        if profile is not None:
            if profile.rate_mtok_h:
                rate = texts.rate_text(profile.rate_mtok_h)
                facts.append(_("%(profile)s at %(rate)s", profile=profile.title, rate=rate))
            else:
                facts.append(_("%(profile)s: free", profile=profile.title))
    servers = plan.max_servers
    facts.append(ngettext("%(count)s server at a time", "%(count)s servers at a time", servers))
    if plan.max_gpus is not None:
        gpus = plan.max_gpus
        facts.append(ngettext("%(count)s GPU at a time", "%(count)s GPUs at a time", gpus))
    if plan.workspace_bytes is not None:
        size = f"{plan.workspace_bytes / _GIB:.4g} GB"
        facts.append(_("Workspace of %(size)s", size=size))
    if plan.spend_per_day_mtok is not None:
        day = texts.tokens_text(plan.spend_per_day_mtok * GRAINS_PER_MILLITOKEN)
        facts.append(_("At most %(tokens)s a day", tokens=day))
    if plan.spend_per_week_mtok is not None:
        week = texts.tokens_text(plan.spend_per_week_mtok * GRAINS_PER_MILLITOKEN)
        facts.append(_("At most %(tokens)s a week", tokens=week))
    if plan.rollover_cap_mtok:
        kept = texts.tokens_text(plan.rollover_cap_mtok * GRAINS_PER_MILLITOKEN)
        facts.append(_("Keeps up to %(tokens)s for the next month", tokens=kept))
    return facts


def allotment_text(plan: Plan) -> str:
    """Return what a plan gives each month."""
    return texts.tokens_text(plan.allotment_mtok * GRAINS_PER_MILLITOKEN)


def title_of(catalogue: Catalogue, name: str) -> str:
    """Return what a plan is called, one that has left the catalogue as well."""
    plan = catalogue.plans.get(name)
    return plan.title if plan else name


def invoice_state(invoice: InvoiceRow) -> str:
    """Return where an invoice stands, for people."""
    if invoice.paid_at_ms is not None:
        return _("paid back") if invoice.taken_back.exact_grains > 0 else _("paid")
    return _("to be paid")
