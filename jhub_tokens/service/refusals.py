"""Why a start is closed: what is missing, when that changes, and what to do instead.

The ledger decides; this module explains. The spawn page asks beforehand (`closed_because`), an
admission is refused afterwards, and both go through `explain`, so that they say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jhub_tokens.catalogue import Catalogue, Plan, Profile
from jhub_tokens.ledger.records import NotAdmitted, Prospect, WalletView
from jhub_tokens.service.texts import instant_text, rate_text, tokens_text
from jhub_tokens.units import GRAINS_PER_TOKEN
from jhub_tokens.wire import Alternative, Amount, Refusal, RefusalCode

__all__ = ["STATUS_OF_REFUSAL", "Situation", "closed_because", "explain"]

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

    @property
    def plan(self) -> Plan:
        """The plan that holds: the member's or the team's, or that of a trial."""
        return self.wallet.plan

    @property
    def whose(self) -> str:
        """Whose plan and balance it is, to begin a sentence with."""
        if self.payer is None:
            return "Your"
        team = self.catalogue.teams.get(self.payer)
        return f"{team.title if team else self.payer}’s"

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
    if len(situation.wallet.sessions) >= situation.plan.max_servers:
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
            others = _alternatives(situation, situation.catalogue.profiles.values())
            return Refusal(
                code="plan",
                message=f"{situation.whose} plan “{situation.plan.title}” does not include "
                f"“{profile.title}”.",
                alternatives=others,
                remedy=_instead(others, "Ask your administrator for a plan that includes it."),
            )
        case "limit":
            limit, running = situation.plan.max_servers, len(situation.wallet.sessions)
            return Refusal(
                code="limit",
                message=f"{situation.whose} plan “{situation.plan.title}” allows "
                f"{limit} server{'' if limit == 1 else 's'} at a time, and "
                f"{running} {'of yours ' if situation.payer is None else ''}"
                f"{'is' if running == 1 else 'are'} running.",
                remedy="Stop a running server first.",
            )
        case "gpus" if profile is not None:
            return Refusal(
                code="gpus",
                message=_gpus(situation, profile) or (refused.message if refused else ""),
                alternatives=_alternatives(situation, situation.catalogue.profiles.values()),
                remedy="Stop a running GPU server first, or start one with fewer GPUs.",
            )
        case "spending_limit" | "team_cap" if profile is not None:
            return _limit(code, situation, profile, refused)
        case "unknown_team" | "not_in_team":
            return Refusal(
                code="unknown_team" if code == "unknown_team" else "not_in_team",
                message=refused.message if refused else "That team cannot pay.",
                remedy="Choose who pays on the start page, or leave it out to pay yourself.",
            )
        case "frozen":
            return Refusal(
                code="frozen",
                message="Your membership is frozen, so no server can start.",
                remedy="Ask your administrator why and until when.",
            )
        case "unknown_profile":
            return _choose(situation, "unknown_profile", f"There is no profile “{_short(asked)}”.")
        case "no_profile":
            return _choose(situation, "bad_choice", "Say which profile to start.")
        case "unknown_image" | "retired_image":
            return _image(code, situation, profile, refused)
        case "cancelled":
            return Refusal(
                code="cancelled",
                message="This start was cancelled before it was admitted.",
                remedy="Start the server again.",
            )
        case "bad_choice":
            message = refused.message if refused else "This choice is not on offer."
            return Refusal(
                code="bad_choice", message=message, remedy="Choose one of the options shown."
            )
    return Refusal(
        code="unavailable",
        message=refused.message if refused else "The start could not be decided.",
        remedy="Try again in a moment.",
    )


def _balance(situation: Situation, profile: Profile, refused: NotAdmitted | None) -> Refusal:
    prospect = situation.prospects.get(profile.name)
    missing = refused.missing_grains if refused else 0
    if not missing and prospect is not None:
        missing = prospect.missing_grains
    others = _alternatives(situation, situation.catalogue.smaller_than(profile))
    balance = tokens_text(situation.wallet.balance_grains)
    running = " with what already runs" if situation.wallet.sessions else ""
    # Rounded up: with what is shown as missing, the start must be admitted.
    shown = tokens_text(-(-missing // _CENT) * _CENT)
    return Refusal(
        code="balance",
        message=f"{situation.whose} balance of {balance} cannot carry “{profile.title}” at "
        f"{rate_text(profile.rate_mtok_h)}{running}: {shown} "
        f"{'is' if shown.endswith('token') else 'are'} missing for the shortest run. "
        f"New tokens arrive {situation.reset_text}.",
        missing=Amount.of(missing),
        resets_at_ms=situation.wallet.period_end_ms,
        resets_at=situation.reset_text,
        alternatives=others,
        remedy=_instead(others, situation.catalogue.top_up or "Ask your administrator to top up."),
    )


def _gpus(situation: Situation, profile: Profile) -> str | None:
    """Return what to say if `profile` has more GPUs than the plan leaves, else None."""
    limit = situation.plan.max_gpus
    in_use = sum(session.gpus for session in situation.wallet.sessions)
    if limit is None or not profile.gpus or in_use + profile.gpus <= limit:
        return None
    return (
        f"{situation.whose} plan “{situation.plan.title}” allows {limit} "
        f"GPU{'' if limit == 1 else 's'} at a time; {in_use} "
        f"{'is' if in_use == 1 else 'are'} in use and “{profile.title}” needs {profile.gpus}."
    )


def _limit(
    code: str, situation: Situation, profile: Profile, refused: NotAdmitted | None
) -> Refusal:
    others = _alternatives(situation, situation.catalogue.smaller_than(profile))
    if refused is None:
        what = "share of the team’s tokens" if code == "team_cap" else "spending limit"
        message = f"Your {what} leaves too little for “{profile.title}”."
    else:
        message = refused.message
    until_ms = refused.until_ms if refused else None
    until = None
    if until_ms is not None:
        until = instant_text(until_ms, situation.wallet.as_of_ms, situation.catalogue.zone)
        message += f" It begins anew {until}."
    return Refusal(
        code="team_cap" if code == "team_cap" else "spending_limit",
        message=message,
        missing=Amount.of(refused.missing_grains) if refused else None,
        resets_at_ms=until_ms,
        resets_at=until,
        alternatives=others,
        remedy=_instead(others, "Start a smaller profile, or wait until it begins anew."),
    )


def _choose(situation: Situation, code: RefusalCode, message: str) -> Refusal:
    catalogue = situation.catalogue
    others = _alternatives(situation, catalogue.profiles.values())
    names = ", ".join(
        f"{name} ({catalogue.profiles[name].title})"
        for name in situation.plan.profiles
        if name in catalogue.profiles
    )
    whose = situation.whose
    remedy = f"{whose} plan has: {names}." if names else f"{whose} plan includes no profile."
    return Refusal(code=code, message=message, alternatives=others, remedy=remedy)


def _image(
    code: str, situation: Situation, profile: Profile | None, refused: NotAdmitted | None
) -> Refusal:
    images = situation.catalogue.images_for(profile.name) if profile is not None else []
    tags = ", ".join(image.tag for image in images)
    # For an image that is not there, the ledger's own message names the others.
    remedy = f"Choose one of: {tags}." if tags and code == "retired_image" else ""
    return Refusal(
        code="retired_image" if code == "retired_image" else "unknown_image",
        message=refused.message if refused else "This image is not on offer.",
        remedy=remedy,
    )


def _alternatives(situation: Situation, profiles: Iterable[Profile]) -> list[Alternative]:
    return [
        Alternative(
            profile=profile.name,
            title=profile.title,
            rate_mtok_h=profile.rate_mtok_h,
            lasts_until_ms=prospect.lasts_until_ms
            if (prospect := situation.prospects.get(profile.name))
            else None,
        )
        for profile in profiles
        if closed_because(profile, situation) is None
    ]


def _instead(others: list[Alternative], otherwise: str) -> str:
    if not others:
        return otherwise
    best = others[0]
    return f"Start “{best.title}” ({rate_text(best.rate_mtok_h)}) instead. {otherwise}"


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[:length] + "…"
