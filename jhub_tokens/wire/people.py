"""People's API: statements, members, grants and errors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from jhub_tokens.wire.base import Amount, Key, Wire
from jhub_tokens.wire.questions import QuestionRow
from jhub_tokens.wire.starts import Refusal

__all__ = [
    "ErrorBody",
    "GrantOrder",
    "GrantReceipt",
    "MemberPage",
    "MemberRow",
    "MemberState",
    "Statement",
    "StatementLine",
    "StatementSegment",
]

MemberState = Literal["active", "frozen", "erased"]


class StatementSegment(Wire):
    """A span of a session that one grant paid for."""

    from_ms: int
    to_ms: int
    span: str  # for people
    amount: Amount
    tokens: str  # `amount` rounded so that a line's segments add up to it as shown
    source: str
    grant: str  # for people
    grant_id: str
    booked: bool  # False: the session runs


class StatementLine(Wire):
    """One line of a statement; `amount` is signed from the member's point of view."""

    at_ms: int
    at: str
    kind: str  # allotment, topup, adjustment, usage, expiry, rollover, refund, overrun, return
    text: str
    amount: Amount
    balance: Amount  # after this line
    tokens: str  # `amount` rounded so that the shown lines add up
    session_id: str | None = None
    profile: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    rate_mtok_h: int | None = None
    actor: str = ""
    reason: str = ""
    break_glass: bool = False  # of a session that was started while the service was away
    segments: list[StatementSegment] = []  # of the use of a session
    question: QuestionRow | None = None  # what the member asked about this line


class Statement(Wire):
    """Every token between two instants: opening + lines = closing."""

    member_id: str
    name: str
    period_start_ms: int
    period_end_ms: int
    period_start: str
    period_end: str
    as_of_ms: int
    opening: Amount
    lines: list[StatementLine]
    closing: Amount
    zone: str
    basis: Literal["effective", "booked"] = "effective"


class MemberRow(Wire):
    """A member in the admin's list."""

    member_id: str
    name: str
    state: MemberState
    plan: str
    balance: Amount
    allotment: Amount
    burn_mtok_h: int
    running: int
    runs_out_at_ms: int | None
    runs_out_at: str | None
    last_used_at_ms: int | None


class MemberPage(Wire):
    """One page of the admin's list."""

    members: list[MemberRow]
    total: int
    page: int
    page_size: int


class GrantOrder(Wire):
    """Give tokens to a member, or take them back (a negative amount), with a reason."""

    tokens: Annotated[str, StringConstraints(max_length=20)]
    reason: Annotated[str, StringConstraints(min_length=3, max_length=500)]
    kind: Literal["topup", "adjustment"] = "topup"
    key: Key  # the same key and body: the same answer; another body: refused


class GrantReceipt(Wire):
    """A booked grant."""

    transaction_id: str
    amount: Amount
    balance: Amount


class ErrorBody(Wire):
    """Every error of the API."""

    code: str
    message: str
    field: str | None = None
    remedy: str = ""
    refusal: Refusal | None = None
