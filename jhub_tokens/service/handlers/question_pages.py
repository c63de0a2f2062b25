"""Pages of questions about a charge: the form on the statement, and administrators' list."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from pydantic import ValidationError

from jhub_tokens.i18n import N_, _
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.service import members, questions
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.service.handlers.pages import statement_view
from jhub_tokens.service.models import PeriodQuery, QuestionsQuery
from jhub_tokens.service.operations import query_values
from jhub_tokens.service.question_views import CATEGORY_TITLES, refusal_text
from jhub_tokens.service.texts import tokens_text
from jhub_tokens.units import AmountError
from jhub_tokens.wire import AnswerOrder, QuestionOrder

__all__ = ["AdminAnswerPage", "AdminQuestionsPage", "AskPage"]

#: What people are told at a field, in place of the parser's words.
_FIELD_TEXTS = {
    "category": N_("Choose one of those listed."),
    "text": N_("Write 3 to 2000 characters."),
    "answer": N_("Write 3 to 500 characters; the member reads them."),
    "tokens": N_("Write a number of tokens, such as 12 or 0.5, or leave it empty for all."),
}
Failure = ValidationError | LedgerError | AmountError | Problem


class AskPage(PageHandler):
    """The target of the form at a line of the statement."""

    active = "statement"

    async def post(self) -> None:
        """Take the question and go back to the line, or show the form with what is wrong."""
        kept = {name: self.field(name) for name in ("session_id", "period", "category", "text")}
        try:
            order = QuestionOrder.model_validate(kept)
            asked = await questions.ask(self.service, self.person, order)
        except (ValidationError, LedgerError) as error:
            period = PeriodQuery.model_validate({"period": kept["period"] or "current"}).period
            member = await members.own_member(self.service, self.person)
            self.show(
                "statement.html",
                problem_from(error).status,
                view=await statement_view(self.service, member, period),
                member=None,
                categories=CATEGORY_TITLES,
                errors=_errors(error, ("category", "text"), "text"),
                kept=kept,
            )
            return
        self.redirect_with(
            f"statement?period={asked.period}#{asked.session_id}",
            _("Your question is sent. The answer appears at this charge, and as a notice."),
        )


class _AdminPage(PageHandler):
    """A page for those who may read every member's books."""

    active = "questions"
    area = "admin"

    async def prepare(self) -> None:
        """Let administrators through only."""
        await super().prepare()
        if self.caller is not None and not self.caller.may_read_all:
            raise Problem(403, "forbidden", _("This page is for administrators."))

    async def show_list(
        self,
        query: QuestionsQuery,
        *,
        status: int = 200,
        errors: Mapping[str, str] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """Show the list; `kept` is what was typed, `errors` what is wrong in it."""
        page = await questions.listed(self.service, self.person, query)
        self.show(
            "admin/questions.html",
            status,
            page=page,
            pages=max(1, ceil(page.total / page.page_size)),
            query=query,
            errors=errors or {},
            kept=kept or {},
        )


class AdminQuestionsPage(_AdminPage):
    """All questions, those that wait first."""

    async def get(self) -> None:
        """Show one page of the list."""
        query = QuestionsQuery.model_validate(query_values(QuestionsQuery, self.request))
        await self.show_list(query)


class AdminAnswerPage(_AdminPage):
    """The target of an answer's form."""

    async def post(self, question_id: str) -> None:
        """Answer and go back to the list, or show the form with what is wrong."""
        caller = await self.recheck()
        if not caller.may_grant:
            raise Problem(403, "forbidden", _("You may not do this any more; nothing was done."))
        refund = self.field("act") == "refund"
        kept = {"answer": self.field("answer"), "tokens": self.field("tokens")}
        try:
            order = AnswerOrder.model_validate(
                {
                    "text": kept["answer"],
                    "refund": refund,
                    "tokens": (kept["tokens"] or None) if refund else None,
                }
            )
            answered = await questions.answer(self.service, caller, question_id, order)
        except (ValidationError, LedgerError, AmountError, Problem) as error:
            problem = problem_from(error)
            if problem.status in (403, 404, 500, 503):
                raise
            await self.show_list(
                QuestionsQuery(),
                status=problem.status,
                errors=_errors(error, ("text", "tokens"), "tokens" if refund else "answer"),
                kept={**kept, "question_id": question_id},
            )
            return
        assert answered.answer is not None
        done = _("The question of %(name)s is answered.", name=answered.name)
        if refund:
            amount = tokens_text(answered.answer.refunded.exact_grains)
            done = _(
                "%(tokens)s given back to %(name)s, with your answer.",
                tokens=amount,
                name=answered.name,
            )
        self.redirect_with("admin/questions", done)


def _errors(error: Failure, fields: tuple[str, ...], otherwise: str) -> dict[str, str]:
    """Return what to show at which field of the form."""
    if isinstance(error, ValidationError):
        wrong = {str(item["loc"][0]) for item in error.errors() if item["loc"]} & set(fields)
        named = {"answer" if otherwise != "text" and n == "text" else n for n in wrong}
        return {name: _(_FIELD_TEXTS[name]) for name in named or {otherwise}}
    problem = problem_from(error)
    if isinstance(error, AmountError):
        amount = _FIELD_TEXTS["tokens"]
        return {"tokens": _(amount)}
    field = problem.field if problem.field in fields else otherwise
    if field == "text" and otherwise != "text":
        field = "answer"
    return {field: refusal_text(problem.code, problem.message)}
