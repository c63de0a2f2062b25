"""Questions about a charge as they travel, and the words for what is refused."""

from __future__ import annotations

from collections.abc import Mapping

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import N_, _
from jhub_tokens.ledger.questions import OPEN_MAX, Question
from jhub_tokens.service import texts, views
from jhub_tokens.wire import Amount, QuestionAnswer, QuestionRow

__all__ = ["CATEGORY_TITLES", "refusal_text", "row_of"]

#: What a member may say is wrong with a charge.
CATEGORY_TITLES: Mapping[str, str] = {
    "too_long": N_("It ran longer than I used it"),
    "did_not_work": N_("The server did not work"),
    "not_mine": N_("I did not start this server"),
    "wrong_rate": N_("The rate is not what I chose"),
    "other": N_("Something else"),
}
#: What people are told in place of the books' words.
_REFUSALS: Mapping[str, str] = {
    "no_reason": N_("Write a few words, so that somebody can understand it."),
    "bad_category": N_("Choose one of those listed."),
    "unknown_session": N_("There is no such server on this statement."),
    "nothing_charged": N_("This server cost nothing in this period."),
    "asked_before": N_("You have asked about this charge before; see its line."),
    "too_many_open": N_(
        "%(count)s of your questions wait for an answer. Ask again when one is answered."
    ),
    "answered_before": N_("Somebody has answered this question meanwhile."),
    "nothing_to_refund": N_("Nothing of this charge is left to give back."),
    "more_than_charged": N_("That is more than what this server was charged."),
}


def row_of(question: Question, catalogue: Catalogue, now_ms: int) -> QuestionRow:
    """Return a question as it travels."""
    zone = catalogue.zone
    profile = catalogue.profiles.get(question.profile)
    title = CATEGORY_TITLES.get(question.category)
    answered = question.answer
    return QuestionRow(
        question_id=question.question_id,
        member_id=question.member_id,
        name=question.member_name,
        session_id=question.session_id,
        server_name=question.server_name,
        profile=question.profile,
        title=profile.title if profile else question.profile,
        period=views.local_date(question.period_start_ms, zone).isoformat(),
        category=question.category,
        category_title=_(title) if title else question.category,
        text=question.text,
        asked_at_ms=question.asked_ms,
        asked_at=texts.instant_text(question.asked_ms, now_ms, zone),
        charged=Amount.of(question.charged_grains),
        answer=None
        if answered is None
        else QuestionAnswer(
            outcome=answered.outcome,
            text=answered.text,
            actor=answered.actor,
            answered_at_ms=answered.answered_ms,
            answered_at=texts.instant_text(answered.answered_ms, now_ms, zone),
            refunded=Amount.of(answered.refunded_grains),
        ),
    )


def refusal_text(code: str, message: str) -> str:
    """Return what people are told when the books refuse, in their language where it is ours."""
    known = _REFUSALS.get(code)
    return message if known is None else _(known, count=OPEN_MAX)
