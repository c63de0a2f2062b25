"""The OpenAPI 3.1 description, generated from the route table and its own models.

Nothing is written twice: paths come from the routes, parameters, bodies and answers from the
pydantic models that the handlers parse and return.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from tornado.web import RequestHandler

from jhub_tokens import __version__
from jhub_tokens.service.operations import Access, Operation
from jhub_tokens.wire import ErrorBody

__all__ = ["openapi_document"]

_REF = "#/components/schemas/{model}"
_METHODS = ("get", "post")
_ACCESS: dict[Access, str] = {
    "hub": "The hub side's static token.",
    "gateway": "The SSH gateway's static token.",
    "own": "Anybody for their own data (an API token needs `custom:jhub-tokens:read!user=NAME`); "
    "`custom:jhub-tokens:read` or a hub admin for everybody's.",
    "read": "The scope `custom:jhub-tokens:read`, or a hub admin.",
    "grant": "The scope `custom:jhub-tokens:grant`, or a hub admin.",
    "server": "A running server about itself: its own API token with the scope "
    "`custom:jhub-tokens:server!server=USER/NAME`.",
    "public": "Anybody.",
}
#: Whose routes they are, and what is shown there; people's for everything else.
_PROGRAMS: dict[Access, tuple[str, str]] = {
    "hub": ("hub side", "hubSide"),
    "gateway": ("SSH gateway", "gateway"),
}
_PEOPLE = ("people", "hubToken")
_COMMON = {
    400: "The request is not HTTP or JSON as it should be",
    401: "No token and no session",
    403: "This caller may not do this",
    404: "There is no such thing",
    413: "The body is too large",
    415: "The body is not sent as JSON",
    422: "A field is not valid; `field` names it",
    500: "Something unforeseen; the message has a number to look for in the log",
    503: "The books cannot be opened, or the hub cannot be asked; says why",
}


def openapi_document(
    routes: Iterable[tuple[str, type[RequestHandler]]], base_url: str
) -> dict[str, Any]:
    """Return the description of all operations found on the handlers of `routes`.

    Parameters
    ----------
    routes
        Path templates such as ``members/{member_id}`` with their handlers.
    base_url
        The prefix under which they are served.
    """
    found = [
        (path, method, declared)
        for path, handler in routes
        for method in _METHODS
        if isinstance(
            declared := getattr(getattr(handler, method, None), "operation", None), Operation
        )
    ]
    schemas = _schemas(declared for _, _, declared in found)
    paths: dict[str, dict[str, Any]] = {}
    for path, method, declared in found:
        paths.setdefault(f"/{path}", {})[method] = _operation(path, declared)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jhub-tokens",
            "version": __version__,
            "description": "Balances, offers, statements and grants of a JupyterHub's members. "
            "Amounts travel as strings of grains (1 token = 3,600,000,000 grains), instants as "
            "milliseconds since the epoch, rates as millitokens per hour.",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": base_url.rstrip("/")}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "hubSide": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token that the hub side and the service share.",
                },
                "gateway": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token that the SSH gateway and the service share.",
                },
                "hubToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A hub API token; `Authorization: token …` works as well.",
                },
            },
        },
    }


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    inputs: dict[type[BaseModel], None] = {}
    outputs: dict[type[BaseModel], None] = {ErrorBody: None}
    for declared in operations:
        if declared.body is not None:
            inputs[declared.body] = None
        if declared.answer is not None:
            outputs[declared.answer] = None
    wanted: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in inputs]
    # Answers are described as validated too: one shape under one name, no "-Output" twins.
    wanted += [(model, "validation") for model in outputs if model not in inputs]
    _, definitions = models_json_schema(wanted, ref_template=_REF)
    return dict(sorted(definitions["$defs"].items()))


def _operation(path: str, declared: Operation) -> dict[str, Any]:
    tag, scheme = _PROGRAMS.get(declared.access, _PEOPLE)
    described: dict[str, Any] = {
        "summary": declared.summary,
        "description": f"{declared.description}\n\n**Who:** {_ACCESS[declared.access]}".strip(),
        "operationId": re.sub(r"\W+", "_", declared.summary).strip("_").lower(),
        "tags": [tag],
        "responses": _responses(declared),
    }
    if declared.access != "public":
        described["security"] = [{scheme: []}]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    if declared.query is not None:
        schema = declared.query.model_json_schema()
        required = schema.get("required", [])
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": value}
            for name, value in schema["properties"].items()
        ]
    if parameters:
        described["parameters"] = parameters
    if declared.body is not None:
        described["requestBody"] = {"required": True, "content": _json(declared.body)}
    return described


def _responses(declared: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {media: {"schema": {}} for media in declared.streams}
    if declared.answer is not None:
        content |= _json(declared.answer)
    responses: dict[str, Any] = {str(declared.status): {"description": "Done", "content": content}}
    statuses = {400, 500, 503}
    if declared.access != "public":
        statuses |= {401, 403}
    if declared.body is not None:
        statuses |= {413, 415, 422}
    if declared.query is not None:
        statuses.add(422)
    for status in sorted(statuses | set(declared.errors)):
        text = declared.errors.get(status, _COMMON.get(status, "Error"))
        responses[str(status)] = {"description": text, "content": _json(ErrorBody)}
    return responses


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}
