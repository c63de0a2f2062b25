"""Routes of questions about a charge: members ask, administrators answer."""

from __future__ import annotations

from jhub_tokens.i18n import _
from jhub_tokens.service import questions
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.models import QuestionsQuery
from jhub_tokens.service.operations import operation
from jhub_tokens.wire import AnswerOrder, QuestionOrder, QuestionPage, QuestionRow

__all__ = ["AnswerHandler", "MemberQuestionsHandler", "QuestionsHandler"]


class MemberQuestionsHandler(PeopleHandler):
    """One member's questions."""

    @operation(
        summary="A member's questions",
        access="own",
        answer=QuestionPage,
        errors={404: "No such member"},
    )
    async def get(self, member_id: str) -> QuestionPage:
        """Return the latest hundred with their answers, the latest first; `me` is the caller."""
        return await questions.of_member(self.service, self.person, member_id)

    @operation(
        summary="Ask about a charge",
        access="own",
        body=QuestionOrder,
        answer=QuestionRow,
        status=201,
        errors={
            404: "No such session or period on the statement, or no membership yet",
            409: "Asked before, nothing was charged, or too many questions wait",
        },
    )
    async def post(self, member_id: str, *, body: QuestionOrder) -> QuestionRow:
        """Ask about what a session cost in a period; `member_id` is `me`."""
        if member_id != "me":
            raise Problem(
                403,
                "forbidden",
                _("Members ask about their own charges."),
                remedy=_("Write me."),
            )
        return await questions.ask(self.service, self.person, body)


class QuestionsHandler(PeopleHandler):
    """All members' questions."""

    @operation(summary="List questions", access="read", query=QuestionsQuery, answer=QuestionPage)
    async def get(self, *, query: QuestionsQuery) -> QuestionPage:
        """Return one page: of the open ones those that have waited longest come first."""
        return await questions.listed(self.service, self.person, query)


class AnswerHandler(PeopleHandler):
    """Answering a question."""

    @operation(
        summary="Answer a question",
        access="grant",
        body=AnswerOrder,
        answer=QuestionRow,
        errors={
            404: "No such question",
            409: "Answered before, there is less to refund, or the caller's limit is reached",
        },
    )
    async def post(self, question_id: str, *, body: AnswerOrder) -> QuestionRow:
        """Answer in words, or with a refund; the same answer again changes nothing."""
        caller = await self.recheck()
        return await questions.answer(self.service, caller, question_id, body)
