"""Queries and bodies that only the service's own callers use; the rest is in `wire`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = [
    "FreezeOrder",
    "Health",
    "MembersQuery",
    "Nothing",
    "NoticesSeen",
    "PageQuery",
    "StatementQuery",
    "StopsQuery",
]


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
    """Which period: the day on which it began, or the current one."""

    period: Annotated[str, StringConstraints(pattern=r"^(current|\d{4}-\d{2}-\d{2})$")] = "current"


class MembersQuery(_Model):
    """Which members to list."""

    q: Annotated[str, StringConstraints(max_length=255)] = ""
    state: Literal["", "active", "frozen", "running", "dry"] = ""
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
