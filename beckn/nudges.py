"""Nudges: "look again", said to whoever listens in this process and, through Redis, in the node's other replicas.

A nudge may be lost (Redis may forget, a slow listener's line is cut), so every listener also looks by itself now and
then. Without Redis, or while it is away, nudges stay within the process.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson
import structlog

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger("beckn.nudges")

#: Nudges that one slow listener may have waiting; the oldest is dropped for a newer one.
WAITING_MAX = 256
#: Longest pause between tries to reach a Redis that is away, seconds.
RETRY_S_MAX = 10.0
#: How long Redis may take for one command, seconds.
REDIS_S_MAX = 2.0
#: Connections to Redis: one listens, the others publish.
CONNECTIONS_MAX = 4
#: A process without replicas, as most are, asks this often whether it still is alone, seconds: a nudge published to
#: nobody but ourselves costs a message to Redis and two back.
ALONE_S = 1.0
#: How often an idle connection to Redis is proven alive, seconds.
HEARTBEAT_S = 15.0


class Nudges:
    """Local and, with a Redis, between replicas: `prefix` is the node's subscriber id, which its replicas share."""

    def __init__(self, *, redis_url: str, prefix: str) -> None:
        self._redis_url, self._prefix = redis_url, f"powershare:{prefix}:"
        self._origin = secrets.token_hex(8)
        self._listeners: defaultdict[str, set[asyncio.Queue[Any]]] = defaultdict(set)
        self._redis: Redis | None = None
        self._publishing: set[asyncio.Task[None]] = set()
        #: No other replica listened lately: until then nothing is published.
        self._alone_until = 0.0
        #: Why Redis is of no use just now; empty when it works or none is configured.
        self.trouble = "not connected yet" if redis_url else ""

    def nudge(self, channel: str, payload: Any = None) -> None:
        """Tell every listener of `channel`, here at once and in other replicas soon.

        `payload` must be JSON, or a function that makes it: most nudges are heard by nobody, and theirs is not made.
        """
        is_alone = self._redis is None or self.trouble or time.monotonic() < self._alone_until
        if is_alone and channel not in self._listeners:
            return
        if callable(payload):
            payload = payload()
        self._deliver(channel, payload)
        if is_alone:
            return
        if len(self._publishing) < WAITING_MAX:
            task = asyncio.create_task(self._publish(channel, payload))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)

    @contextmanager
    def listen(self, channel: str) -> Iterator[asyncio.Queue[Any]]:
        """A queue of the payloads nudged on `channel` while the block runs."""
        queue: asyncio.Queue[Any] = asyncio.Queue(WAITING_MAX)
        self._listeners[channel].add(queue)
        try:
            yield queue
        finally:
            self._listeners[channel].discard(queue)
            if not self._listeners[channel]:
                del self._listeners[channel]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Bridge to the other replicas while the block runs."""
        if not self._redis_url:
            yield
            return
        from redis.asyncio import BlockingConnectionPool, Redis

        # A pool that waits: the plain one refuses what comes while all its connections are in use.
        pool = BlockingConnectionPool.from_url(
            self._redis_url,
            socket_timeout=REDIS_S_MAX,
            socket_connect_timeout=REDIS_S_MAX,
            max_connections=CONNECTIONS_MAX,
            timeout=REDIS_S_MAX,
        )
        self._redis = Redis.from_pool(pool)
        task = asyncio.create_task(self._bridge(self._redis))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            redis, self._redis = self._redis, None
            await redis.aclose()

    def _deliver(self, channel: str, payload: Any) -> None:
        for queue in self._listeners.get(channel, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(payload)

    async def _publish(self, channel: str, payload: Any) -> None:
        from redis.exceptions import RedisError

        redis = self._redis
        if redis is None:
            return
        try:
            heard_by = await redis.publish(self._prefix + channel, orjson.dumps([self._origin, payload]))
            if heard_by <= 1:  # nobody but our own bridge
                self._alone_until = time.monotonic() + ALONE_S
        except (RedisError, OSError, TimeoutError) as error:
            log.info("nudge_not_published", channel=channel, error=str(error))

    async def _bridge(self, redis: Redis) -> None:
        """Bring other replicas' nudges here, for ever; reconnect whenever Redis went away."""
        from redis.exceptions import RedisError

        pause_s = 0.1
        while True:
            try:
                async with redis.pubsub() as subscription:
                    await subscription.psubscribe(self._prefix + "*")
                    self.trouble, pause_s = "", 0.1
                    while True:
                        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=HEARTBEAT_S)
                        if message is None:
                            await subscription.ping()
                        elif message["type"] == "pmessage":
                            self._arrived(message["channel"], message["data"])
            except (RedisError, OSError, TimeoutError) as error:
                if not self.trouble:
                    log.warning("redis_away", error=str(error))
                self.trouble = f"{type(error).__name__}: {error}"
                await asyncio.sleep(pause_s)
                pause_s = min(RETRY_S_MAX, pause_s * 2)

    def _arrived(self, channel: bytes, data: bytes) -> None:
        try:
            origin, payload = orjson.loads(data)
        except (orjson.JSONDecodeError, ValueError, TypeError):
            return  # whatever it is, it is not from a replica of this node
        if origin != self._origin:
            self._deliver(channel.decode("utf-8", "replace").removeprefix(self._prefix), payload)
