"""Idempotency-Key: a POST repeated with the same key gets the first answer and does nothing twice.

The key is claimed before the work and carries the answer after it. A claim whose process died lapses after
`CLAIM_S`; an answer that is no success is not kept, so that a corrected state of things can be tried again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from api.problems import ApiError, conflict
from store import access

if TYPE_CHECKING:
    from api.desk import Call

#: How long a request may work under its key before a repeat may take over, seconds.
CLAIM_S = 60

_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")


class Once:
    """Runs a handler at most once per token and key."""

    def __init__(self, database: Any) -> None:
        self._database = database

    async def answer(
        self, call: Call[Any], key: str, run: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The first answer under this key, or the handler's; raises 409 when the key means something else."""
        if not _KEY.match(key):
            raise ApiError(
                400,
                "'Idempotency-Key' must be 1 to 255 visible ASCII characters; a UUID is a good one.",
                field="Idempotency-Key",
                limit=255,
            )
        token_id = call.token.token_id
        asked = f"{call.request.method} {call.request.path_qs}\n".encode() + call.raw
        digest = hashlib.sha256(asked).digest()

        async with self._database.unit_of_work() as uow:
            first = await access.claim_key(uow, token_id, key, digest, now=call.now, lapse_s=CLAIM_S)
        if first is not None:
            return _repeated(first, digest)
        try:
            response = await run()
        except BaseException:
            await self._release(token_id, key)
            raise
        if not isinstance(response, web.Response) or not 200 <= response.status < 300:
            await self._release(token_id, key)
            return response
        body = response.body if isinstance(response.body, bytes) else b""

        async with self._database.unit_of_work() as uow:
            await access.keep_answer(uow, token_id, key, status=response.status, body=body)
        return response

    async def _release(self, token_id: str, key: str) -> None:

        async with self._database.unit_of_work() as uow:
            await access.release_key(uow, token_id, key)


def _repeated(first: Any, digest: bytes) -> web.Response:
    if bytes(first["request_digest"]) != digest:
        raise conflict(
            "This Idempotency-Key was used for another request; use a new key for new work.",
            field="Idempotency-Key",
        )
    if first["status"] == 0:
        raise conflict(
            "The first request with this Idempotency-Key is still being worked on; try again in a moment.",
            field="Idempotency-Key",
        )
    return web.Response(
        body=bytes(first["body"]),
        status=first["status"],
        content_type="application/json",
        headers={"Idempotency-Replayed": "true"},
    )
