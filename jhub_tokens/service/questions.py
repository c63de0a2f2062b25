"""What happens when a member questions a charge, and when an administrator answers."""

from __future__ import annotations

import structlog

from jhub_tokens.i18n import _
from jhub_tokens.service import members
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import Problem, invalid
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.models import QuestionsQuery
from jhub_tokens.service.question_views import row_of
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, parse_tokens_mtok
from jhub_tokens.wire import AnswerOrder, QuestionOrder, QuestionPage, QuestionRow

__all__ = ["answer", "ask", "listed", "of_member"]

log = structlog.get_logger(__name__)


async def ask(service: Service, caller: Caller, order: QuestionOrder) -> QuestionRow:
    """Take a member's question.

    Raises
    ------
    Problem
        If the caller is not a member in person, or has no such period.
    LedgerError
        If the books refuse.
    """
    if not caller.may_change_own:
        message = _("Only members themselves ask about their charges.")
        raise Problem(403, "forbidden", message)
    member = await members.own_member(service, caller)
    ledger, catalogue = service.books.ledger, service.books.catalogue

    def work() -> QuestionRow:
        from_ms, to_ms = members.period_of(ledger, catalogue, member.member_id, order.period)
        asked = ledger.questions.ask(
            member.member_id,
            order.session_id,
            from_ms=from_ms,
            to_ms=to_ms,
            category=order.category,
            text=order.text,
        )
        return row_of(asked, catalogue, ledger.now_ms())

    asked = await service.workers.write(work)
    log.info("question asked", by=caller.label, question_id=asked.question_id)
    return asked


async def answer(
    service: Service, caller: Caller, question_id: str, order: AnswerOrder
) -> QuestionRow:
    """Answer a question, perhaps with a refund; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not, or the amount makes no sense.
    LedgerError
        If the books refuse.
    """
    members.may_grant(caller)
    amount_grains = None
    if order.tokens is not None:
        if not order.refund:
            raise invalid("tokens", _("Tokens are given back with a refund only."))
        amount_grains = parse_tokens_mtok(order.tokens) * GRAINS_PER_MILLITOKEN
    ledger, catalogue = service.books.ledger, service.books.catalogue
    answered = await service.workers.write(
        ledger.questions.answer,
        question_id,
        text=order.text,
        actor=caller.name,
        caller=caller.label,
        refund=order.refund,
        amount_grains=amount_grains,
    )
    log.info("question answered", by=caller.label, question_id=question_id, refund=order.refund)
    service.written()
    return row_of(answered, catalogue, service.clock.now_ms())


async def listed(service: Service, caller: Caller, query: QuestionsQuery) -> QuestionPage:
    """Return a page of all members' questions.

    Raises
    ------
    Problem
        If the caller may not read all.
    """
    if not caller.may_read_all:
        raise members.lacks_scope("custom:jhub-tokens:read")
    ledger, catalogue = service.books.ledger, service.books.catalogue
    found, total = await service.workers.read(
        ledger.questions.listed, state=query.state, page=query.page, page_size=query.page_size
    )
    now_ms = service.clock.now_ms()
    return QuestionPage(
        questions=[row_of(question, catalogue, now_ms) for question in found],
        total=total,
        page=query.page,
        page_size=query.page_size,
    )


async def of_member(service: Service, caller: Caller, member_id: str) -> QuestionPage:
    """Return a member's questions, the latest first, on one page.

    Raises
    ------
    Problem
        If the caller may not read that member's books.
    """
    member = await members.readable_member(service, caller, member_id)
    ledger, catalogue = service.books.ledger, service.books.catalogue
    found = await service.workers.read(ledger.questions.of_member, member.member_id)
    now_ms = service.clock.now_ms()
    rows = [row_of(question, catalogue, now_ms) for question in found]
    return QuestionPage(questions=rows, total=len(rows), page=1, page_size=max(1, len(rows)))
