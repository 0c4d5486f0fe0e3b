"""Server-sent events: what happens to one subject, as it happens, with replay after a lost connection.

The events come from the database, so a client that reconnects with Last-Event-ID (or `?after=`) misses nothing; a nudge
after each commit only says "look now", and every heartbeat looks too. A client that reads too slowly is cut off and
comes back with Last-Event-ID; one app may hold only so many streams open.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from pydantic import Field

from api.limits import Concurrency
from api.paging import Strict
from api.problems import ApiError
from store import events
from store.db import UnitOfWork

if TYPE_CHECKING:
    from api.desk import Call

#: Silence after which a comment is sent, so that proxies keep the connection and a gone client is noticed, seconds.
HEARTBEAT_S = 15.0
#: How long a client may take to read one batch before it is cut off, seconds.
WRITE_S_MAX = 10.0
#: Longest life of one stream, seconds; the client reconnects and goes on where it was.
STREAM_S_MAX = 3600.0
#: Events read from the database at once.
BATCH_MAX = 100
#: Streams that one token may have open.
STREAMS_EACH_MAX = 50
#: How long a client should wait before it reconnects, milliseconds.
RETRY_MS = 1000

#: Set on the application when the node begins to stop, so that streams end at once.
STOPPING = web.AppKey("live_stopping", asyncio.Event)
#: How many streams each token has open.
STREAMS = web.AppKey("live_streams", Concurrency)


class StreamQuery(Strict):
    """Where a stream begins: after the event with this seq; Last-Event-ID, when sent, goes before it."""

    after: int = Field(default=0, ge=0)


def prepare(app: web.Application) -> None:
    """Let streams end when the node stops."""
    app[STOPPING] = stopping = asyncio.Event()
    app[STREAMS] = Concurrency(STREAMS_EACH_MAX)

    async def stop(_: web.Application) -> None:
        stopping.set()

    app.on_shutdown.append(stop)


async def stream(call: Call[Any], subject: str) -> web.StreamResponse:
    """Send a subject's events until the client leaves, reads too slowly, or the node stops."""
    token_id, streams = call.token.token_id, call.request.app[STREAMS]
    if not streams.enter(token_id):
        raise ApiError(
            429,
            f"This token has {STREAMS_EACH_MAX} event streams open already; close one.",
            limit=STREAMS_EACH_MAX,
            headers={"Retry-After": "5"},
        )
    try:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        after = _starting_point(call)
        await response.prepare(call.request)
        try:
            async with asyncio.timeout(STREAM_S_MAX):
                await _pump(call, response, subject, after)
        except (TimeoutError, ConnectionResetError):
            pass  # the client went away, was too slow or has had its hour: it comes back with Last-Event-ID
        return response
    finally:
        streams.leave(token_id)


def _starting_point(call: Call[Any]) -> int:
    last = call.request.headers.get("Last-Event-ID")
    if last is None:
        return int(call.query.after)
    if not last.isascii() or not last.isdigit() or len(last) > 18:
        raise ApiError(400, "'Last-Event-ID' must be the id of an event of this stream.", field="Last-Event-ID")
    return int(last)


async def _pump(call: Call[Any], response: web.StreamResponse, subject: str, after: int) -> None:
    stopping = asyncio.ensure_future(call.request.app[STOPPING].wait())
    await _write(response, b"retry: %d\n\n" % RETRY_MS)
    try:
        with call.node.nudges.listen(subject) as nudged:
            while not stopping.done():
                async with call.node.database.connection() as connection:
                    rows = await events.since(UnitOfWork(connection), subject, after=after, limit=BATCH_MAX)
                if rows:
                    await _write(response, b"".join(_frame(row) for row in rows))
                    after = rows[-1]["seq"]
                    if len(rows) == BATCH_MAX:
                        continue
                if not await _wait_for_news(nudged, stopping):
                    await _write(response, b": still here\n\n")
    finally:
        stopping.cancel()


async def _wait_for_news(nudged: asyncio.Queue[Any], stopping: asyncio.Future[Any]) -> bool:
    """True when nudged, False after a heartbeat's time. Nudges that piled up are one."""
    waiting = asyncio.ensure_future(nudged.get())
    try:
        await asyncio.wait({waiting, stopping}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
        told = waiting.done() or stopping.done()
    finally:
        waiting.cancel()
    while not nudged.empty():
        nudged.get_nowait()
    return told


def _frame(row: Any) -> bytes:
    data = {"seq": row["seq"], "kind": row["kind"], "at": row["at"], "data": row["data"]}
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        row["seq"],
        row["kind"].encode(),
        orjson.dumps(data, option=orjson.OPT_UTC_Z),
    )


async def _write(response: web.StreamResponse, content: bytes) -> None:
    async with asyncio.timeout(WRITE_S_MAX):
        await response.write(content)
