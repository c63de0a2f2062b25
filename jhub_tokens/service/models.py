"""Queries and bodies that only the service's own callers use; the rest is in `wire`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from jhub_tokens.ledger.finance_records import Basis
from jhub_tokens.wire.base import Month, Period

__all__ = [
    "BalanceQuery",
    "ExportQuery",
    "FreezeOrder",
    "Health",
    "MembersQuery",
    "Nothing",
    "NoticesSeen",
    "PageQuery",
    "PeriodQuery",
    "PrepaidQuery",
    "QuestionsQuery",
    "ReportQuery",
    "StatementQuery",
    "StopsQuery",
    "UsageQuery",
]


#: An instant as people write it: see `instants.read_instant_ms`.
InstantText = Annotated[str, StringConstraints(max_length=40)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StopsQuery(_Model):
    """How long to wait for new stop orders, and which ones are known."""

    wait_ms: Annotated[int, Field(ge=0, le=30_000)] = 0
    #: As many as fit a request's head; of the others the caller is told again.
    known: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,40}$")]],
        Field(max_length=500),
    ] = []


class StatementQuery(_Model):
    """Which period: the day on which it began, or the current one; or as of which instant."""

    period: Period = "current"
    as_of: InstantText = ""
    basis: Basis = "effective"


class PeriodQuery(_Model):
    """Which period: the day on which it began, or the current one."""

    period: Period = "current"


class UsageQuery(PeriodQuery):
    """Which periods: one, the three or the twelve that end with the one named."""

    span: Literal["month", "quarter", "year"] = "month"


class QuestionsQuery(_Model):
    """Which questions, and which page of them."""

    state: Literal["", "open", "answered"] = "open"
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=500)] = 50


class PrepaidQuery(_Model):
    """At which instant; none: now."""

    as_of: InstantText = ""


class BalanceQuery(_Model):
    """At which instant, none: now, and by which time."""

    as_of: InstantText = ""
    basis: Basis = "effective"


class ReportQuery(_Model):
    """Which months, both included, and by what the rows are told apart."""

    from_month: Month
    to_month: Month
    by: Annotated[
        list[Literal["month", "plan", "profile", "team", "cost_centre", "source"]],
        Field(max_length=6),
    ] = []


class ExportQuery(_Model):
    """Which months, both included, in which form, and whether with names and remarks."""

    from_month: Month
    to_month: Month
    form: Literal["csv", "json", "beancount"] = "csv"
    names: bool = False


class MembersQuery(_Model):
    """Which members to list."""

    q: Annotated[str, StringConstraints(max_length=255)] = ""
    state: Literal["", "active", "frozen", "running", "dry", "erased"] = ""
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=500)] = 50


class PageQuery(_Model):
    """Which page of a list."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=500)] = 50


class Nothing(_Model):
    """An empty body: everything is said by the route."""


class FreezeOrder(_Model):
    """Why a membership is frozen or active again."""

    reason: Annotated[str, StringConstraints(min_length=3, max_length=500)]


class NoticesSeen(_Model):
    """Notices that the member has seen."""

    notice_ids: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=100)]],
        Field(min_length=1, max_length=100),
    ]


class Health(_Model):
    """Whether the service can do its work; why not is for those who run it."""

    status: Literal["ok", "degraded", "unavailable"]
    message: str = ""
    remedy: str = ""
    catalogue_problem: str = ""
    version: str
