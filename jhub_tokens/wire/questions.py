"""Questions about a charge, and what is answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from jhub_tokens.wire.base import Amount, Period, Wire

__all__ = ["AnswerOrder", "QuestionAnswer", "QuestionOrder", "QuestionPage", "QuestionRow"]

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=2000)]


class QuestionOrder(Wire):
    """Ask about what a session cost in a period; asked again in the same words, it is one."""

    session_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    period: Period = "current"
    category: Literal["not_mine", "too_long", "did_not_work", "wrong_rate", "other"]
    text: Words


class AnswerOrder(Wire):
    """Answer a question, and give the charge back with it: all that can be, or `tokens` of it."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]
    refund: bool = False
    tokens: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        default=None, description="How much to refund; missing: all that can be."
    )


class QuestionAnswer(Wire):
    """What an administrator answered."""

    outcome: Literal["answered", "refunded"]
    text: str
    actor: str
    answered_at_ms: int
    answered_at: str
    refunded: Amount


class QuestionRow(Wire):
    """A question about a session's charge."""

    question_id: str
    member_id: str
    name: str
    session_id: str
    server_name: str
    profile: str
    title: str  # of the profile
    period: str  # the day on which it began
    category: str
    category_title: str
    text: str
    asked_at_ms: int
    asked_at: str
    charged: Amount  # what the session costs now
    answer: QuestionAnswer | None = None


class QuestionPage(Wire):
    """One page of all questions."""

    questions: list[QuestionRow]
    total: int
    page: int
    page_size: int
