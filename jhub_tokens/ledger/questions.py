"""Questions: a member doubts a charge of the statement, an administrator answers or refunds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.engine import RowMapping

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.loading import load_wallet, load_wallets
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.refunds import refund_session
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.runner import Runner

__all__ = [
    "CATEGORIES",
    "OPEN_MAX",
    "Answer",
    "Category",
    "Question",
    "QuestionBooks",
    "questions_about",
]

Category = Literal["not_mine", "too_long", "did_not_work", "wrong_rate", "other"]
#: What a member may say is wrong with a charge.
CATEGORIES: tuple[Category, ...] = ("not_mine", "too_long", "did_not_work", "wrong_rate", "other")
#: How many questions of one member may wait for an answer.
OPEN_MAX = 3
#: Of a member's own list.
_OWN_MAX = 100

_q, _a, _s, _m = (
    schema.questions,
    schema.question_answers,
    schema.sessions,
    schema.members,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an administrator answered."""

    outcome: Literal["answered", "refunded"]
    text: str
    actor: str
    answered_ms: int
    refunded_grains: int
    transaction_id: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """A member's question about a session's charge within a period."""

    question_id: str
    member_id: str
    member_name: str
    session_id: str
    server_name: str
    profile: str
    period_start_ms: int
    category: str
    text: str
    asked_ms: int
    charged_grains: int  # what the session costs now, less what was given back
    answer: Answer | None  # None: it waits for one


class QuestionBooks:
    """Operations on questions. Thread-safe; every method blocks on the database."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def ask(
        self,
        member_id: str,
        session_id: str,
        *,
        from_ms: int,
        to_ms: int,
        category: str,
        text: str,
    ) -> Question:
        """Ask about what a session cost in the period [`from_ms`, `to_ms`). Idempotent.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``unknown_session``, ``nothing_charged``, ``bad_category``,
            ``no_reason``, ``asked_before`` or ``too_many_open``; nothing was written.
        """
        return self._runner.write(
            _ask, member_id, session_id, from_ms=from_ms, to_ms=to_ms, category=category, text=text
        )

    def answer(
        self,
        question_id: str,
        *,
        text: str,
        actor: str,
        caller: str,
        refund: bool = False,
        amount_grains: int | None = None,
    ) -> Question:
        """Answer a question; with `refund` give the charge back, None: all that can be. Idempotent.

        The member is told, and sees the answer at the line of the statement.

        Raises
        ------
        LedgerError
            ``unknown_question``, ``no_reason``, ``answered_before``, or what a refund is refused
            for; nothing was written.
        """
        return self._runner.write(
            _answer,
            question_id,
            text=text,
            actor=actor,
            caller=caller,
            refund=refund,
            amount_grains=amount_grains,
        )

    def find(self, question_id: str) -> Question | None:
        """Return a question, None if there is none of this id."""
        return self._runner.read(_find, question_id)

    def of_member(self, member_id: str) -> tuple[Question, ...]:
        """Return a member's questions, the latest first."""
        return self._runner.read(_of_member, member_id)

    def listed(
        self, *, state: str = "open", page: int = 1, page_size: int = 50
    ) -> tuple[tuple[Question, ...], int]:
        """Return a page of all questions and how many there are in all.

        `state` is ``open`` (those that have waited longest first), ``answered`` or empty for
        both (the latest first).
        """
        return self._runner.read(_listed, state=state, page=page, page_size=page_size)


def questions_about(
    connection: Connection, member_id: str, period_start_ms: int
) -> dict[str, Question]:
    """Return a member's questions about one period's lines, by session."""
    of_period = (_q.c.member_id == member_id, _q.c.period_start_ms == period_start_ms)
    rows = connection.execute(_selected().where(*of_period)).mappings()
    return {row["session_id"]: _question(row) for row in rows}


# --- asking and answering ----------------------------------------------------------------------


def _ask(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    session_id: str,
    *,
    from_ms: int,
    to_ms: int,
    category: str,
    text: str,
) -> Question:
    _check_text(text)
    if category not in CATEGORIES:
        raise LedgerError("bad_category", _("Choose what is wrong from the list."), "category")
    # The wallet's lock: two tabs that ask at once wait for each other.
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    this = (_s.c.session_id == session_id, _s.c.member_id == member_id)
    of_wallet = _s.c.wallet_id == wallet.wallet_id
    session = connection.execute(select(_s).where(*this, of_wallet)).mappings().first()
    if session is None:
        message = _("There is no such server on your statement.")
        raise LedgerError("unknown_session", message, "session_id")
    asked = (_q.c.session_id == session_id, _q.c.period_start_ms == from_ms)
    known = connection.execute(_selected().where(*asked)).mappings().first()
    if known is not None:
        if (known["category"], known["text"]) == (category, text.strip()):
            return _question(known)
        message = _("You have asked about this charge before.")
        raise LedgerError("asked_before", message, "text")
    _refuse_free(session, from_ms, to_ms)
    waiting = select(func.count()).select_from(_q.outerjoin(_a)).where(
        _q.c.member_id == member_id, _a.c.question_id.is_(None)
    )  # fmt: skip
    if connection.execute(waiting).scalar_one() >= OPEN_MAX:
        raise LedgerError(
            "too_many_open",
            _(
                "%(count)s of your questions wait for an answer. Ask again when one is answered.",
                count=OPEN_MAX,
            ),
            "text",
        )
    question_id = new_id()
    row = {
        "question_id": question_id,
        "member_id": member_id,
        "session_id": session_id,
        "period_start_ms": from_ms,
        "category": category,
        "text": text.strip(),
        "asked_ms": now_ms,
    }
    connection.execute(insert(_q), row)
    return _asked(connection, question_id)


def _check_text(text: str) -> None:
    if not text.strip():
        raise LedgerError(
            "no_reason", _("Write a few words: somebody has to understand it."), "text"
        )


def _refuse_free(session: RowMapping, from_ms: int, to_ms: int) -> None:
    """Refuse where the session cost nothing in the period."""
    ready_ms, ended_ms = session["ready_ms"], session["ended_ms"]
    ran = ready_ms is not None and ready_ms < to_ms and (ended_ms is None or ended_ms > from_ms)
    if not ran or not session["rate_mtok_h"]:
        message = _("This server cost nothing in that period.")
        raise LedgerError("nothing_charged", message, "session_id")


def _answer(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    question_id: str,
    *,
    text: str,
    actor: str,
    caller: str,
    refund: bool,
    amount_grains: int | None,
) -> Question:
    _check_text(text)
    question = _find(connection, catalogue, now_ms, question_id)
    if question is None:
        raise LedgerError("unknown_question", _("There is no such question."), "question_id")
    # Under the wallet's lock, which a refund takes as well: of two administrators one answers.
    wallet_id = select(_s.c.wallet_id).where(_s.c.session_id == question.session_id)
    load_wallets(connection, catalogue, now_ms, [connection.execute(wallet_id).scalar_one()])
    question = _asked(connection, question_id)
    if question.answer is not None:
        same = (refund, text.strip(), actor)
        told = (question.answer.outcome == "refunded", question.answer.text, question.answer.actor)
        if same == told:
            return question
        message = _("%(name)s has answered this question already.", name=question.answer.actor)
        raise LedgerError("answered_before", message, "text")
    row: dict[str, Any] = {
        "question_id": question_id,
        "outcome": "refunded" if refund else "answered",
        "text": text.strip(),
        "actor": actor,
        "answered_ms": now_ms,
        "refunded_grains": 0,
        "transaction_id": None,
    }
    if refund:
        booked = refund_session(
            connection,
            catalogue,
            now_ms,
            question.session_id,
            amount_grains=amount_grains,
            actor=actor,
            reason=text,  # of which the refund's notice tells
            caller=caller,
            key=f"question-{question_id}",
        )
        row |= {
            "refunded_grains": booked.amount_grains,
            "transaction_id": booked.transaction_id,
        }
    else:
        _tell(connection, now_ms, question, text.strip())
    connection.execute(insert(_a), row)
    return _asked(connection, question_id)


def _tell(connection: Connection, now_ms: int, question: Question, text: str) -> None:
    notice = {
        "notice_id": new_id(),
        "member_id": question.member_id,
        "kind": "answered",
        "params": {
            "profile": question.profile,
            "server_name": question.server_name,
            "reason": text,
        },
        "created_ms": now_ms,
    }
    connection.execute(insert(schema.notices), notice)


# --- reading -----------------------------------------------------------------------------------


def _selected() -> Any:
    return (
        select(
            _q,
            _m.c.name.label("member_name"),
            _s.c.server_name,
            _s.c.profile,
            _s.c.charged_grains,
            _a.c.outcome,
            _a.c.text.label("answer_text"),
            _a.c.actor,
            _a.c.answered_ms,
            _a.c.refunded_grains,
            _a.c.transaction_id,
        )
        .select_from(_q)
        .join(_m, _m.c.member_id == _q.c.member_id)
        .join(_s, _s.c.session_id == _q.c.session_id)
        .outerjoin(_a, _a.c.question_id == _q.c.question_id)
    )


def _find(
    connection: Connection, catalogue: Catalogue, now_ms: int, question_id: str
) -> Question | None:
    query = _selected().where(_q.c.question_id == question_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else _question(row)


def _asked(connection: Connection, question_id: str) -> Question:
    query = _selected().where(_q.c.question_id == question_id)
    return _question(connection.execute(query).mappings().one())


def _of_member(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> tuple[Question, ...]:
    query = _selected().where(_q.c.member_id == member_id)
    latest = query.order_by(_q.c.asked_ms.desc(), _q.c.question_id).limit(_OWN_MAX)
    return tuple(_question(row) for row in connection.execute(latest).mappings())


def _listed(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    *,
    state: str,
    page: int,
    page_size: int,
) -> tuple[tuple[Question, ...], int]:
    query = _selected()
    if state == "open":
        query = query.where(_a.c.question_id.is_(None)).order_by(_q.c.asked_ms, _q.c.question_id)
    else:
        if state == "answered":
            query = query.where(_a.c.question_id.is_not(None))
        query = query.order_by(_q.c.asked_ms.desc(), _q.c.question_id)
    counted = query.order_by(None).with_only_columns(func.count())
    total = connection.execute(counted).scalar_one()
    rows = connection.execute(query.limit(page_size).offset((page - 1) * page_size)).mappings()
    return tuple(_question(row) for row in rows), int(total)


def _question(row: RowMapping) -> Question:
    answer = None
    if row["outcome"] is not None:
        answer = Answer(
            row["outcome"],
            row["answer_text"],
            row["actor"],
            row["answered_ms"],
            row["refunded_grains"],
            row["transaction_id"],
        )
    return Question(
        row["question_id"],
        row["member_id"],
        row["member_name"],
        row["session_id"],
        row["server_name"],
        row["profile"],
        row["period_start_ms"],
        row["category"],
        row["text"],
        row["asked_ms"],
        row["charged_grains"],
        answer,
    )
