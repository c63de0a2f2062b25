"""Why a start is closed: what is missing, when that changes, and what to do instead.

The ledger decides; this module explains. The spawn page asks beforehand (`closed_because`), an
admission is refused afterwards, and both go through `explain`, so that they say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jhub_tokens.catalogue import Catalogue, Plan, Profile
from jhub_tokens.i18n import N_, _, ngettext
from jhub_tokens.ledger.records import NotAdmitted, Prospect, WalletView
from jhub_tokens.service.cluster.availability import Board
from jhub_tokens.service.texts import instant_text, rate_text, tokens_text
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import Alternative, Amount, Refusal, RefusalCode

__all__ = ["STATUS_OF_REFUSAL", "Situation", "alternatives", "closed_because", "explain"]

#: The HTTP status of each refusal.
STATUS_OF_REFUSAL: Mapping[str, int] = {
    "balance": 403,
    "plan": 403,
    "limit": 403,
    "frozen": 403,
    "gpus": 403,
    "spending_limit": 403,
    "team_cap": 403,
    "unknown_team": 404,
    "not_in_team": 403,
    "unknown_profile": 404,
    "unknown_image": 422,
    "retired_image": 422,
    "bad_choice": 422,
    "cancelled": 409,
    "unavailable": 503,
}

_CENT = GRAINS_PER_TOKEN // 100


@dataclass(frozen=True, slots=True)
class Situation:
    """A wallet, what each profile would do to it, and the rules in force."""

    catalogue: Catalogue
    wallet: WalletView
    prospects: Mapping[str, Prospect]
    payer: str | None = None  # the team whose wallet it is; None: the member's own
    board: Board | None = None  # what is free in the cluster; None: that is not known

    @property
    def plan(self) -> Plan:
        """The plan that holds: the member's or the team's, or that of a trial."""
        return self.wallet.plan.spoken()

    @property
    def whose(self) -> str:
        """Whose plan and balance it is, to begin a sentence with."""
        if self.payer is None:
            return _("Your")
        team = self.catalogue.teams.get(self.payer)
        return _("%(team)s’s", team=team.title if team else self.payer)

    @property
    def running(self) -> int:
        """How many servers count for the plan's limit: those for files only do not."""
        return sum(not session.files for session in self.wallet.sessions)

    @property
    def reset_text(self) -> str:
        """When the present period ends, for people."""
        return instant_text(self.wallet.period_end_ms, self.wallet.as_of_ms, self.catalogue.zone)


def closed_because(profile: Profile, situation: Situation) -> RefusalCode | None:
    """Return why `profile` cannot be started now, None if it can; the ledger's own order."""
    if situation.wallet.member.state == "frozen":
        return "frozen"
    if profile.name not in situation.plan.profiles:
        return "plan"
    if profile.files:
        # The ledger admits it whatever the balance; one at a time.
        return "limit" if any(s.files for s in situation.wallet.sessions) else None
    if situation.running >= situation.plan.max_servers:
        return "limit"
    if _gpus(situation, profile) is not None:
        return "gpus"
    prospect = situation.prospects.get(profile.name)
    if prospect is not None and prospect.limit is not None:
        return "team_cap" if prospect.limit == "team_cap" else "spending_limit"
    if prospect is not None and not prospect.carried:
        return "balance"
    return None


def explain(
    code: str,
    situation: Situation,
    profile: Profile | None,
    *,
    refused: NotAdmitted | None = None,
    asked: str = "",
) -> Refusal:
    """Return the refusal with everything a member needs to go on.

    Parameters
    ----------
    code
        Why, as the ledger or `closed_because` says.
    situation
        The member's wallet and the rules.
    profile
        What was to be started, None if there is no such profile.
    refused
        The ledger's own refusal, if there was an attempt.
    asked
        The profile's name as the member gave it, for one that does not exist.
    """
    match code:
        case "balance" if profile is not None:
            return _balance(situation, profile, refused)
        case "plan" if profile is not None:
            others = alternatives(situation, situation.catalogue.profiles.values())
            return Refusal(
                code="plan",
                message=_(
                    "%(whose)s plan “%(plan)s” does not include “%(profile)s”.",
                    whose=situation.whose,
                    plan=situation.plan.title,
                    profile=profile.title,
                ),
                alternatives=others,
                remedy=_instead(others, _("Ask your administrator for a plan that includes it.")),
            )
        case "limit" if profile is not None and profile.files:
            return Refusal(
                code="limit",
                message=_("“%(profile)s” is running already.", profile=profile.title),
                remedy=_("Open it on the hub's home page, or stop it first."),
            )
        case "limit":
            limit, running = situation.plan.max_servers, situation.running
            return Refusal(
                code="limit",
                message=ngettext(
                    "%(whose)s plan “%(plan)s” allows one server at a time; running now: "
                    "%(running)s.",
                    "%(whose)s plan “%(plan)s” allows %(count)s servers at a time; running now: "
                    "%(running)s.",
                    limit,
                    whose=situation.whose,
                    plan=situation.plan.title,
                    running=running,
                ),
                remedy=_("Stop a running server first."),
            )
        case "gpus" if profile is not None:
            return Refusal(
                code="gpus",
                message=_gpus(situation, profile) or (refused.message if refused else ""),
                alternatives=alternatives(situation, situation.catalogue.profiles.values()),
                remedy=_("Stop a running GPU server first, or start one with fewer GPUs."),
            )
        case "spending_limit" | "team_cap" if profile is not None:
            return _limit(code, situation, profile, refused)
        case "unknown_team" | "not_in_team":
            return Refusal(
                code="unknown_team" if code == "unknown_team" else "not_in_team",
                message=refused.message if refused else _("That team cannot pay."),
                remedy=_("Choose who pays on the start page, or leave it out to pay yourself."),
            )
        case "frozen":
            return Refusal(
                code="frozen",
                message=_("Your membership is frozen, so no server can start."),
                remedy=_("Ask your administrator why and until when."),
            )
        case "unknown_profile":
            message = _("There is no profile “%(name)s”.", name=_short(asked))
            return _choose(situation, "unknown_profile", message)
        case "no_profile":
            return _choose(situation, "bad_choice", _("Say which profile to start."))
        case "unknown_image" | "retired_image":
            return _image(code, situation, profile, refused)
        case "cancelled":
            return Refusal(
                code="cancelled",
                message=_("This start was cancelled before it was admitted."),
                remedy=_("Start the server again."),
            )
        case "bad_choice":
            message = refused.message if refused else _("This choice is not on offer.")
            return Refusal(
                code="bad_choice", message=message, remedy=_("Choose one of the options shown.")
            )
    return Refusal(
        code="unavailable",
        message=refused.message if refused else _("The start could not be decided."),
        remedy=_("Try again in a moment."),
    )


def _balance(situation: Situation, profile: Profile, refused: NotAdmitted | None) -> Refusal:
    prospect = situation.prospects.get(profile.name)
    missing = refused.missing_grains if refused else 0
    if not missing and prospect is not None:
        missing = prospect.missing_grains
    others = alternatives(situation, situation.catalogue.smaller_than(profile))
    told = {
        "whose": situation.whose,
        "balance": tokens_text(situation.wallet.balance_grains),
        "profile": profile.title,
        "rate": rate_text(profile.rate_mtok_h),
        "reset": situation.reset_text,
    }
    # Rounded up: with what is shown as missing, the start must be admitted.
    told["missing"] = tokens_text(-(-missing // _CENT) * _CENT)
    if situation.wallet.sessions:
        message = _(
            "%(whose)s balance of %(balance)s cannot carry “%(profile)s” at %(rate)s with what "
            "already runs: for the shortest run, %(missing)s too little. "
            "New tokens arrive %(reset)s.",
            **told,
        )
    else:
        message = _(
            "%(whose)s balance of %(balance)s cannot carry “%(profile)s” at %(rate)s: for the "
            "shortest run, %(missing)s too little. New tokens arrive %(reset)s.",
            **told,
        )
    return Refusal(
        code="balance",
        message=message,
        missing=Amount.of(missing),
        resets_at_ms=situation.wallet.period_end_ms,
        resets_at=situation.reset_text,
        alternatives=others,
        remedy=_instead(
            others, situation.catalogue.top_up or _("Ask your administrator to top up.")
        ),
    )


def _gpus(situation: Situation, profile: Profile) -> str | None:
    """Return what to say if `profile` has more GPUs than the plan leaves, else None."""
    limit = situation.plan.max_gpus
    in_use = sum(session.gpus for session in situation.wallet.sessions)
    if limit is None or not profile.gpus or in_use + profile.gpus <= limit:
        return None
    return ngettext(
        "%(whose)s plan “%(plan)s” allows one GPU at a time; in use: %(in_use)s, and "
        "“%(profile)s” needs %(gpus)s.",
        "%(whose)s plan “%(plan)s” allows %(count)s GPUs at a time; in use: %(in_use)s, and "
        "“%(profile)s” needs %(gpus)s.",
        limit,
        whose=situation.whose,
        plan=situation.plan.title,
        in_use=in_use,
        profile=profile.title,
        gpus=profile.gpus,
    )


def _limit(
    code: str, situation: Situation, profile: Profile, refused: NotAdmitted | None
) -> Refusal:
    others = alternatives(situation, situation.catalogue.smaller_than(profile))
    if refused is None:
        text = (
            N_("Your share of the team’s tokens leaves too little for “%(profile)s”.")
            if code == "team_cap"
            else N_("Your spending limit leaves too little for “%(profile)s”.")
        )
        message = _(text, profile=profile.title)
    else:
        message = refused.message
    until_ms = refused.until_ms if refused else None
    until = None
    if until_ms is not None:
        until = instant_text(until_ms, situation.wallet.as_of_ms, situation.catalogue.zone)
        message += " " + _("It begins anew %(until)s.", until=until)
    return Refusal(
        code="team_cap" if code == "team_cap" else "spending_limit",
        message=message,
        missing=Amount.of(refused.missing_grains) if refused else None,
        resets_at_ms=until_ms,
        resets_at=until,
        alternatives=others,
        remedy=_instead(others, _("Start a smaller profile, or wait until it begins anew.")),
    )


def _choose(situation: Situation, code: RefusalCode, message: str) -> Refusal:
    catalogue = situation.catalogue
    others = alternatives(situation, catalogue.profiles.values())
    names = ", ".join(
        f"{name} ({catalogue.profiles[name].title})"
        for name in situation.plan.profiles
        if name in catalogue.profiles
    )
    whose = situation.whose
    remedy = (
        _("%(whose)s plan has: %(names)s.", whose=whose, names=names)
        if names
        else _("%(whose)s plan includes no profile.", whose=whose)
    )
    return Refusal(code=code, message=message, alternatives=others, remedy=remedy)


def _image(
    code: str, situation: Situation, profile: Profile | None, refused: NotAdmitted | None
) -> Refusal:
    images = situation.catalogue.images_for(profile.name) if profile is not None else []
    tags = ", ".join(image.tag for image in images)
    # For an image that is not there, the ledger's own message names the others.
    retired = code == "retired_image"
    remedy = _("Choose one of: %(tags)s.", tags=tags) if tags and retired else ""
    return Refusal(
        code="retired_image" if code == "retired_image" else "unknown_image",
        message=refused.message if refused else _("This image is not on offer."),
        remedy=remedy,
    )


def alternatives(situation: Situation, profiles: Iterable[Profile]) -> list[Alternative]:
    """Return those of `profiles` that this member could start now, and that have a place."""
    return [
        Alternative(
            profile=profile.name,
            title=profile.title,
            rate_mtok_h=profile.rate_mtok_h,
            lasts_until_ms=prospect.lasts_until_ms
            if (prospect := situation.prospects.get(profile.name))
            else None,
            files=profile.files,
        )
        for profile in profiles
        if closed_because(profile, situation) is None and not _is_full(profile, situation)
    ]


def _is_full(profile: Profile, situation: Situation) -> bool:
    """Tell whether a server of a profile would have to wait for a node, as far as is known."""
    return situation.board is not None and situation.board.has_place(profile) is False


def _instead(others: list[Alternative], otherwise: str) -> str:
    said = [otherwise]
    best = next((other for other in others if not other.files), None)
    if best is not None:
        instead = _(
            "Start “%(profile)s” (%(rate)s) instead.",
            profile=best.title,
            rate=rate_text(best.rate_mtok_h),
        )
        said.insert(0, instead)
    files = next((other for other in others if other.files), None)
    if files is not None:
        said.append(_("Meanwhile, open your files with “%(profile)s”.", profile=files.title))
    return " ".join(said)


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[:length] + "…"
