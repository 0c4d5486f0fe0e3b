"""The desk: one route table per node, from which the handlers, the checks and the OpenAPI document all come.

A route names its method, path, role, models and tags; the handler gets a `Call` with everything already checked:

1. find who calls (bearer token) and whether the role may   -> 401, 403
2. keep to the caller's rate                                -> 429
3. read the body within its cap                             -> 413, 415
4. parse body and query with the route's models             -> 400, 422
5. look up the Idempotency-Key, if one came                 -> the first answer, or 409
6. call the handler; turn its answer, or its ApiError, into a response

Anything else a handler raises is a bug: logged once with a reference id that the caller sees too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from api import openapi, swagger, tokens
from api.idempotency import Once
from api.limits import RateLimit
from api.paging import Wait, read_prefer, read_request_id
from api.problems import ApiError, from_validation
from api.tokens import NOBODY, TokenBook, TokenInfo

if TYPE_CHECKING:
    from beckn.node import Node

log = structlog.get_logger("api.desk")

B = TypeVar("B")

#: Largest request body of a route that names no cap of its own, bytes.
BODY_BYTES_MAX = 1_048_576

_PATH_NAME = re.compile(r"\{([a-z_]+)(?::[^}]*)?\}")
_SECURE_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Call(Generic[B]):
    """One request, checked: what a handler works with.

    `now` is the wall clock at arrival; `wait` is what `Prefer: wait` asked for; `raw` is the body as received;
    `query` is the route's query model, or None when it declares none.
    """

    request: web.Request
    body: B
    query: Any
    path: Mapping[str, str]
    token: TokenInfo
    node: Node
    now: datetime
    wait: Wait
    raw: bytes
    request_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that needs another status or headers than the route's."""

    body: BaseModel | bytes | None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call[B]], Awaitable[BaseModel | Answer | web.StreamResponse | None]]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the route table."""

    method: str
    path: str
    roles: tuple[str, ...]  # empty: public
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    answer: type[BaseModel] | None
    status: int
    tags: tuple[str, ...]
    waits: bool
    media: str
    body_bytes_max: int
    #: Other media types the body may come in, and how each becomes the body model.
    readers: Mapping[str, Callable[[bytes], Any]]
    handler: Callable[[Call[Any]], Awaitable[Any]]

    @property
    def path_names(self) -> list[str]:
        """Names of the path's parameters, in order."""
        return _PATH_NAME.findall(self.path)


class Desk:
    """A node's JSON API: its route table and what every route shares."""

    def __init__(
        self,
        *,
        title: str,
        version: str,
        description: str = "",
        rate_per_s: float = 2000,
        burst: float = 4000,
        strangers_rate_per_s: float = 20,
    ) -> None:
        self.title, self.version, self.description = title, version, description
        self.routes: list[Route] = []
        self._rates = RateLimit(rate_per_s=rate_per_s, burst=burst)
        #: Refused tokens per address: guessing is slow, and cannot keep the database busy.
        self._strangers = RateLimit(rate_per_s=strangers_rate_per_s, burst=strangers_rate_per_s * 5)
        self._book: TokenBook | None = None
        tokens.add_routes(self)

    def route(
        self,
        method: str,
        path: str,
        *,
        role: str | Sequence[str] | None,
        body: type[B] | None = None,
        query: type[BaseModel] | None = None,
        answer: type[BaseModel] | None = None,
        status: int = 200,
        tags: Sequence[str] = (),
        waits: bool = False,
        media: str = "application/json",
        body_bytes_max: int = BODY_BYTES_MAX,
        readers: Mapping[str, Callable[[bytes], B]] | None = None,
    ) -> Callable[[Handler[B]], Handler[B]]:
        """Add a route. `role` None is public; the handler's docstring is its documentation.

        `waits` says that the route understands `Prefer: wait`; `media` is the media type of a streamed answer;
        `readers` turn bodies of other media types (text/csv) into the body model.
        """
        roles = () if role is None else (role,) if isinstance(role, str) else tuple(role)

        def add(handler: Handler[B]) -> Handler[B]:
            if not handler.__doc__:
                raise ValueError(f"{method} {path} has no docstring to document it")
            self.routes.append(
                Route(
                    method=method,
                    path=path,
                    roles=roles,
                    body=body,  # type: ignore[arg-type]  # B is a model wherever a body is declared
                    query=query,
                    answer=answer,
                    status=status,
                    tags=tuple(tags),
                    waits=waits,
                    media=media,
                    body_bytes_max=body_bytes_max,
                    readers=readers or {},
                    handler=handler,
                )
            )
            return handler

        return add

    def mount(self, app: web.Application, node: Node) -> None:
        """Register every route, `/openapi.json` and `/docs` on the node's application."""
        self._book = TokenBook(admin_token=node.settings.admin_token, database=node.database)
        once = Once(node.database)
        for route in self.routes:
            app.router.add_route(route.method, route.path, _Window(self, route, node, self._book, once).serve)
        document = openapi.document(self)
        app.router.add_get("/openapi.json", openapi.serve(document))
        swagger.mount(app, document, title=self.title)
        app.router.add_route("*", "/api/{anything:.*}", _unknown_path)

    def forget_tokens(self) -> None:
        """Ask the database again for every token (after one was revoked here)."""
        if self._book is not None:
            self._book.forget()

    async def admit(self, route: Route, request: web.Request, book: TokenBook) -> TokenInfo:
        """Find the caller and check the role and the rate; raises ApiError 401, 403 or 429."""
        if not route.roles:
            return NOBODY
        address = request.remote or "unknown"
        if self._strangers.is_empty(address):
            raise _too_many("too many refused tokens came from this address")
        try:
            info = await book.find(tokens.bearer_of(request.headers.get("Authorization")))
            if info is None:
                raise tokens.unauthorised("This token is unknown or revoked; ask the operator for another.")
        except ApiError:
            self._strangers.take(address)
            raise
        if info.role not in route.roles:
            needed = " or ".join(route.roles)
            raise ApiError(
                403,
                f"A token of role '{info.role}' may not do this; use one of role {needed}.",
                field="Authorization",
                limit=needed,
            )
        if not self._rates.take(info.token_id):
            raise _too_many("this token's rate is used up")
        return info


@dataclass(frozen=True, slots=True)
class _Window:
    """Serves one route of a mounted desk."""

    desk: Desk
    route: Route
    node: Node
    book: TokenBook
    once: Once

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One request, from header to answer."""
        request_id = read_request_id(request.headers.get("X-Request-Id"))
        started = time.perf_counter()
        try:
            response = await self._answer(request, request_id)
        except ApiError as refusal:
            log.info("request_refused", route=self._name, status=refusal.status, sentence=refusal.sentence,
                     request_id=request_id)  # fmt: skip
            response = _problem(refusal)
        except Exception:
            log.exception("request_failed", route=self._name, request_id=request_id)
            sentence = f"Something failed on our side; quote reference {request_id}."
            response = _problem(ApiError(500, sentence, more={"reference": request_id}))
        if not response.prepared:
            response.headers["X-Request-Id"] = request_id
            response.headers.update(_SECURE_HEADERS)
        log.debug("request_served", route=self._name, status=response.status, request_id=request_id,
                  seconds=round(time.perf_counter() - started, 6))  # fmt: skip
        return response

    @property
    def _name(self) -> str:
        return f"{self.route.method} {self.route.path}"

    async def _answer(self, request: web.Request, request_id: str) -> web.StreamResponse:
        route = self.route
        token = await self.desk.admit(route, request, self.book)
        raw = await _read(request, route.body_bytes_max) if request.can_read_body else b""
        _check_no_nul(request, raw)
        call = Call(
            request=request,
            body=_parse_body(route, request.content_type, raw),
            query=None if route.query is None else _parse(route.query, dict(request.query), where=""),
            path=request.match_info,
            token=token,
            node=self.node,
            now=self.node.wall.now(),
            wait=read_prefer(request.headers.getall("Prefer", [])),
            raw=raw,
            request_id=request_id,
        )
        key = request.headers.get("Idempotency-Key")
        if key is None or route.method != "POST" or not token.token_id:
            return self._response(await route.handler(call))
        return await self.once.answer(call, key, lambda: self._handled(call))

    async def _handled(self, call: Call[Any]) -> web.StreamResponse:
        return self._response(await self.route.handler(call))

    def _response(self, result: Any) -> web.StreamResponse:
        if isinstance(result, web.StreamResponse):
            return result
        answer = result if isinstance(result, Answer) else Answer(result)
        status = answer.status or self.route.status
        if answer.body is None:
            return web.Response(status=204 if status == 200 else status, headers=answer.headers)
        body = answer.body
        content = body if isinstance(body, bytes) else body.__pydantic_serializer__.to_json(body)
        return web.Response(body=content, status=status, headers=answer.headers, content_type=self.route.media)


def _problem(refusal: ApiError) -> web.Response:
    return web.Response(
        body=refusal.body(),
        status=refusal.status,
        headers=refusal.headers,
        content_type="application/json",
    )


def _too_many(why: str) -> ApiError:
    return ApiError(429, f"Slow down: {why}; try again in a second.", headers={"Retry-After": "1"})


async def _read(request: web.Request, bytes_max: int) -> bytes:
    """The body, read no further than its cap."""
    refusal = ApiError(
        413, f"The body may have at most {bytes_max} bytes; send less at once.", field="body", limit=bytes_max
    )
    if (request.content_length or 0) > bytes_max:
        raise refusal
    chunks, size = [], 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > bytes_max:
            raise refusal
        chunks.append(chunk)
    return b"".join(chunks)


def _check_no_nul(request: web.Request, raw: bytes) -> None:
    """PostgreSQL stores no NUL character, so none is let in; raises ApiError 400 naming where it stands."""
    for where, has_nul in (
        ("body", b"\\u0000" in raw or b"\x00" in raw),
        ("path", "\x00" in request.path),
        ("query", any("\x00" in text for pair in request.query.items() for text in pair)),
    ):
        if has_nul:
            raise ApiError(400, f"The {where} contains a NUL character (\\u0000); leave it out.", field=where)


def _parse_body(route: Route, media: str, raw: bytes) -> Any:
    if route.body is None:
        return None
    reader = route.readers.get(media)
    if reader is not None:
        try:
            return reader(raw)
        except ValidationError as failure:
            raise from_validation(failure) from failure
    if raw and media not in ("application/json", "application/octet-stream"):
        allowed = ", ".join(["application/json", *route.readers])
        raise ApiError(
            415, f"A body of type '{media}' is not read here; send {allowed}.", field="Content-Type", limit=allowed
        )
    return _parse(route.body, raw or b"{}", where="")


def _parse(model: type[BaseModel], source: bytes | dict[str, str], *, where: str) -> BaseModel:
    try:
        if isinstance(source, bytes):
            return model.model_validate_json(source)
        return model.model_validate(source)
    except ValidationError as failure:
        if failure.errors(include_url=False)[0]["type"] == "json_invalid":
            raise ApiError(
                400, f"The body is no JSON: {failure.errors()[0]['ctx']['error']}.", field="body"
            ) from failure
        raise from_validation(failure, where=where) from failure


async def _unknown_path(request: web.Request) -> web.Response:
    return _problem(
        ApiError(404, f"There is no {request.method} {request.path} here; /docs lists what there is.", field="path")
    )
