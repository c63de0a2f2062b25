"""What an API route takes and answers, declared once for the parser and for the description.

`@operation(...)` on a handler's method says which pydantic models its query, body and answer
are. The method then receives values already checked, and returns a model; `openapi.py` reads the
same declaration, so that the description cannot drift from what the code does.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_origin

from pydantic import BaseModel

__all__ = ["Access", "Operation", "operation", "query_values"]

Access = Literal["hub", "gateway", "own", "read", "grant", "server", "public"]
Method = Callable[..., Awaitable[BaseModel | None]]


@dataclass(frozen=True, slots=True)
class Operation:
    """The declaration of one method of one route."""

    summary: str
    description: str
    access: Access
    answer: type[BaseModel] | None
    status: int
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    errors: Mapping[int, str] = field(default_factory=dict)
    streams: tuple[str, ...] = ()


def operation(
    *,
    summary: str,
    access: Access,
    answer: type[BaseModel] | None = None,
    status: int = 200,
    query: type[BaseModel] | None = None,
    body: type[BaseModel] | None = None,
    errors: Mapping[int, str] | None = None,
    streams: tuple[str, ...] = (),
) -> Callable[[Method], Callable[..., Awaitable[None]]]:
    """Declare what a handler's method takes and answers.

    Parameters
    ----------
    summary
        One line for the description; the method's docstring is the longer text.
    access
        Who may call: the hub side, the SSH gateway, a member for their own data, somebody with
        the scope for reading all or for granting, or anybody.
    answer, status
        Model and HTTP status of success.
    query, body
        Models of the query string and of the JSON body, passed as `query` and `body`.
    errors
        Statuses particular to this operation, with their meaning.
    streams
        Media types of an operation that writes its answer itself, piece by piece, and returns
        None.
    """

    def declare(method: Method) -> Callable[..., Awaitable[None]]:
        @functools.wraps(method)
        async def run(self: Any, *path: str) -> None:
            values: dict[str, BaseModel] = {}
            if query is not None:
                values["query"] = query.model_validate(query_values(query, self.request))
            elif self.request.query_arguments:
                _NoQuery.model_validate(query_values(_NoQuery, self.request))
            if body is not None:
                values["body"] = await self.read_body(body)
            answered = await method(self, *path, **values)
            if answered is not None:
                self.write_model(answered, status)

        run.operation = Operation(  # type: ignore[attr-defined]
            summary=summary,
            description=(method.__doc__ or "").strip(),
            access=access,
            answer=answer,
            status=status,
            query=query,
            body=body,
            errors=errors or {},
            streams=streams,
        )
        return run

    return declare


class _NoQuery(BaseModel, extra="forbid"):
    """The query of an operation that takes none."""


def query_values(model: type[BaseModel], request: Any) -> dict[str, Any]:
    """Return a request's query as values for `model`: lists where it wants lists."""
    values: dict[str, Any] = {}
    for name, raw in request.query_arguments.items():
        texts = [text.decode("utf-8", "replace") for text in raw]
        wanted = model.model_fields.get(name)
        is_list = wanted is not None and get_origin(wanted.annotation) is list
        # Given twice, a single value is a list too, which the model then refuses by name.
        values[name] = texts if is_list or len(texts) > 1 else texts[0]
    return values
