"""What a change of plan comes to, told before it is done."""

from __future__ import annotations

from dataclasses import dataclass

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _, ngettext
from jhub_tokens.ledger.self_service import Choice, Choices
from jhub_tokens.service import texts
from jhub_tokens.service.plan_words import allotment_text

__all__ = ["Confirmation", "confirmation_of"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What is shown before something is done: the title, the facts, the words on the button."""

    title: str
    facts: list[tuple[str, str]]
    button: str
    remarks: list[str]


def confirmation_of(choice: Choice, choices: Choices, catalogue: Catalogue) -> Confirmation:
    """Return what an act that is open comes to."""
    present, target = choices.present, catalogue.plans[choice.plan]
    now_ms, zone = choices.now_ms, catalogue.zone
    end = texts.instant_text(choices.period_end_ms, now_ms, zone)
    facts = [(_("Now"), present.title)]
    remarks = []
    if choice.act == "trial":
        until_ms = choice.until_ms or now_ms
        facts += [
            (_("On trial"), target.title),
            (_("Until"), texts.instant_text(until_ms, now_ms, zone)),
            (_("Added at once"), texts.tokens_text(choice.added_grains)),
            (_("To pay"), _("Nothing")),
        ]
        remarks.append(
            _(
                "The tokens of the trial expire with it. Your plan %(plan)s goes on all the same. "
                "Each plan can be tried once.",
                plan=present.title,
            )
        )
        return Confirmation(
            _("Try %(plan)s", plan=target.title), facts, _("Start the trial"), remarks
        )
    facts += [
        (_("Afterwards"), target.title),
        (_("Begins"), _("at once") if choice.at_once else end),
    ]
    if choice.at_once:
        left = texts.duration_text(choices.period_end_ms - now_ms)
        added = _(
            "%(tokens)s, the difference for the %(left)s that are left of this period",
            tokens=texts.tokens_text(choice.added_grains),
            left=left,
        )
        facts.append((_("Added at once"), added))
    facts += [
        (_("From %(when)s", when=end), _("%(tokens)s a month", tokens=allotment_text(target))),
        (_("To pay"), _("Nothing")),
    ]
    if not choice.at_once:
        remarks.append(_("Until then everything stays as it is, and you can take the change back."))
    lost = [name for name in present.profiles if name not in target.profiles]
    if lost:
        titles = ", ".join(
            catalogue.profiles[name].title for name in lost if name in catalogue.profiles
        )
        remarks.append(_("No longer included: %(profiles)s.", profiles=titles))
    if target.max_servers < present.max_servers:
        remarks.append(
            ngettext(
                "At most %(count)s server can run at a time then.",
                "At most %(count)s servers can run at a time then.",
                target.max_servers,
            )
        )
    remarks.append(_("Servers that run keep their rate until they end."))
    if choice.act == "pause":
        if "pause" in catalogue.self_service:
            remarks.append(_("You can resume your plan at any time."))
        return Confirmation(
            _("Pause %(plan)s", plan=present.title), facts, _("Pause my plan"), remarks
        )
    if choice.act == "resume":
        title = _("Resume %(plan)s", plan=target.title)
    else:
        title = _("Change to %(plan)s", plan=target.title)
    return Confirmation(title, facts, _("Change my plan"), remarks)
