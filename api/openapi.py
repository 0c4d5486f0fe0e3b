"""The OpenAPI 3.1 document of a desk, made from its route table: what is not in the code is not in the document."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.paging import WAIT_S_MAX
from api.problems import Problem

if TYPE_CHECKING:
    from api.desk import Desk, Route

_Mode = Literal["validation", "serialization"]
_REFERENCE = "#/components/schemas/{model}"

_REFUSALS = {
    400: "The request could not be read",
    401: "No token, or one that is unknown or revoked",
    403: "The token's role may not do this",
    404: "No such thing, or none that this token may see",
    409: "The present state of things does not allow this",
    413: "The body is too large",
    422: "A field is wrong; the sentence says which and how to mend it",
    429: "Too many requests",
}

_WAIT_PARAMETER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "examples": ["wait=5", "wait=5, offers=3"]},
    "description": f"`wait=N`: hold the answer until it is complete, N seconds at most (N <= {WAIT_S_MAX:g}).",
}
_IDEMPOTENCY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 255},
    "description": "A repeat with the same key gets the first answer and does nothing twice.",
}

#: The kernel answers this path itself, on every node alike (`beckn/desk.py`).
_TRADING_TIME = {"trading_time": {"type": "string", "format": "date-time"}}
_CLOCK_ANSWER = {
    "description": "Done",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["mode", "trading_time"],
                "properties": {"mode": {"enum": ["wall", "driven"]}, **_TRADING_TIME},
            }
        }
    },
}
_CLOCK = {
    "get": {
        "operationId": "get_clock",
        "summary": "How energy is dated here, and the trading time now.",
        "tags": ["clock"],
        "responses": {"200": _CLOCK_ANSWER},
    },
    "put": {
        "operationId": "move_clock",
        "summary": "Move a driven trading clock forward; answers when what became due has been done.",
        "tags": ["clock"],
        "security": [{"bearer": []}],
        "x-roles": ["operator"],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object", "required": ["trading_time"], "properties": _TRADING_TIME}
                }
            },
        },
        "responses": {
            "200": _CLOCK_ANSWER,
            **{
                str(status): {
                    "description": _REFUSALS[status],
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
                for status in (400, 401, 409)
            },
        },
    },
}


def document(desk: Desk) -> dict[str, Any]:
    """The whole document as plain JSON values."""
    references, definitions = _schemas(desk.routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in desk.routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references)
    paths["/api/clock"] = _CLOCK
    info = {"title": desk.title, "version": desk.version, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}}
    if desk.description:
        info["description"] = desk.description
    return {
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def serve(whole: dict[str, Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that answers the document; its bytes are made once."""
    content = orjson.dumps(whole, option=orjson.OPT_INDENT_2)

    async def openapi_document(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type="application/json")

    return openapi_document


def _schemas(routes: list[Route]) -> tuple[dict[tuple[type[BaseModel], _Mode], dict[str, Any]], dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], _Mode], None] = {(Problem, "serialization"): None}
    for route in routes:
        for model, mode in ((route.body, "validation"), (route.query, "validation"), (route.answer, "serialization")):
            if model is not None:
                wanted[(model, mode)] = None  # type: ignore[index]
    references, whole = models_json_schema(list(wanted), ref_template=_REFERENCE)
    return references, whole.get("$defs", {})  # type: ignore[return-value]


def _operation(route: Route, references: dict[tuple[type[BaseModel], _Mode], dict[str, Any]]) -> dict[str, Any]:
    summary, _, description = inspect.cleandoc(route.handler.__doc__ or "").partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": getattr(route.handler, "__name__", route.path),
        "summary": " ".join(summary.split()),
        "tags": list(route.tags),
        "responses": _responses(route, references),
    }
    if description:
        operation["description"] = description
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": references[(route.body, "validation")]}}
        content |= {media: {"schema": {"type": "string"}} for media in route.readers}
        required = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {"required": required, "content": content}
    if route.roles:
        operation["security"] = [{"bearer": []}]
        operation["x-roles"] = list(route.roles)
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in route.path_names
    ]
    if route.query is not None:
        schema = route.query.model_json_schema()
        needed = schema.get("required", [])
        for name, field in schema.get("properties", {}).items():
            parameters.append(
                {"name": name, "in": "query", "required": name in needed, "schema": _inlined(field, schema)}
            )
    if route.waits:
        parameters.append(_WAIT_PARAMETER)
    if route.method == "POST" and route.roles:
        parameters.append(_IDEMPOTENCY_PARAMETER)
    return parameters


def _inlined(field: Any, schema: dict[str, Any]) -> Any:
    """A query field's schema with its local definitions (enums) put in place."""
    if isinstance(field, dict):
        if (reference := field.get("$ref")) is not None:
            return _inlined(schema["$defs"][reference.rsplit("/", 1)[1]], schema)
        return {name: _inlined(value, schema) for name, value in field.items()}
    if isinstance(field, list):
        return [_inlined(value, schema) for value in field]
    return field


def _responses(route: Route, references: dict[tuple[type[BaseModel], _Mode], dict[str, Any]]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done"}
    if route.answer is not None:
        done["content"] = {route.media: {"schema": references[(route.answer, "serialization")]}}
    elif route.media != "application/json":
        done["content"] = {route.media: {"schema": {"type": "string"}}}
    responses = {str(route.status): done}
    problem = {"application/json": {"schema": references[(Problem, "serialization")]}}
    for status in _possible_refusals(route):
        responses[str(status)] = {"description": _REFUSALS[status], "content": problem}
    return responses


def _possible_refusals(route: Route) -> list[int]:
    statuses = [401, 403, 429] if route.roles else []
    if route.path_names:
        statuses.append(404)
    if route.body is not None:
        statuses += [400, 413, 422]
    elif route.query is not None:
        statuses.append(422)
    if route.method != "GET":
        statuses.append(409)
    return sorted(set(statuses))
