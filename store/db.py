"""The database: one pool of connections, and the unit of work that is one transaction.

jsonb goes in and comes out as Python dicts and lists. No session state is ever set on a connection, so a connection
goes back to the pool without asyncpg's reset query, which would cost every unit of work another round trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import asyncpg
import orjson

#: How long to wait for the server to accept a connection, seconds.
CONNECT_S_MAX = 5.0
#: How long a unit of work waits for a free connection of the pool, seconds.
ACQUIRE_S_MAX = 10.0
#: One connection in so many is kept from units of work, for single statements: however long shops hold theirs (they
#: may wait for each other's locks), a letter becomes durable and is acknowledged without waiting for them.
SINGLES_SHARE = 4
#: How long any one statement may take, seconds.
STATEMENT_S_MAX = 30.0
#: A connection unused for this long is closed, seconds.
IDLE_S_MAX = 300.0


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    __slots__ = ()

    def get_reset_query(self) -> str:
        """Nothing to reset: this code sets no session state, takes no session locks and listens to nothing."""
        return ""


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


async def _prepare(connection: Any) -> None:
    for name in ("jsonb", "json"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=_to_json, decoder=orjson.loads, format="text"
        )


class UnitOfWork:
    """One transaction: `connection` to work with, and what to do once it is committed."""

    __slots__ = ("_callbacks", "connection")

    def __init__(self, connection: Any) -> None:
        self.connection: Any = connection
        self._callbacks: list[Callable[[], None]] = []

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` after a successful commit, and never after a rollback."""
        self._callbacks.append(callback)

    def committed(self) -> None:
        """Run the callbacks, in the order they were given."""
        for callback in self._callbacks:
            callback()


class Database:
    """One PostgreSQL database of one node."""

    def __init__(self, url: str, *, pool_min: int = 1, pool_max: int = 8) -> None:
        self._url = url
        self._pool_min, self._pool_max = min(pool_min, pool_max), pool_max
        self._pool: Any = None
        self._units = asyncio.Semaphore(max(1, pool_max - max(1, pool_max // SINGLES_SHARE)))

    @classmethod
    async def connect(cls, url: str, *, pool_min: int = 1, pool_max: int = 8) -> Self:
        """A database that is open. Raises OSError or asyncpg's errors when the server cannot be used."""
        database = cls(url, pool_min=pool_min, pool_max=pool_max)
        await database.open()
        return database

    async def open(self) -> None:
        """Connect. Raises ConnectionError with a sentence when the server cannot be reached or refuses us."""
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=self._pool_min,
                max_size=self._pool_max,
                connection_class=_Connection,
                init=_prepare,
                timeout=CONNECT_S_MAX,
                command_timeout=STATEMENT_S_MAX,
                max_inactive_connection_lifetime=IDLE_S_MAX,
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, ValueError) as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error

    @property
    def pool(self) -> Any:
        """The asyncpg pool; raises ConnectionError before `open` and after `close`."""
        if self._pool is None:
            raise ConnectionError("the database is not open")
        return self._pool

    async def close(self) -> None:
        """Give back all connections; those still busy after a while are cut."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(ACQUIRE_S_MAX):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    @asynccontextmanager
    async def unit_of_work(self, *, snapshot: bool = False) -> AsyncIterator[UnitOfWork]:
        """One transaction: commits on a clean exit, rolls back on an exception, then runs what waits for the commit.

        A `snapshot` only reads, and all of it sees one instant of the database: what several statements say fits
        together, whatever is booked meanwhile.
        """
        async with self._turn(), self.connection() as connection:
            unit = UnitOfWork(connection)
            given = {"isolation": "repeatable_read", "readonly": True} if snapshot else {}
            transaction = connection.transaction(**given)
            await transaction.start()
            try:
                yield unit
            except BaseException:
                # With the connection gone the server has rolled back already; what must be heard of is the cause.
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await transaction.rollback()
                raise
            await transaction.commit()
        unit.committed()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A place among the units of work that may have a connection; raises TimeoutError like the pool does."""
        if self._units.locked():
            async with asyncio.timeout(ACQUIRE_S_MAX):
                await self._units.acquire()
        else:  # nobody is before us: no waiting, and no timer
            await self._units.acquire()
        try:
            yield
        finally:
            self._units.release()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection for single statements, each of which is its own transaction."""
        pool = self.pool
        async with asyncio.timeout(ACQUIRE_S_MAX):  # the pool's own `timeout` would start a task for every connection
            connection = await pool.acquire()
        try:
            yield connection
        finally:
            await pool.release(connection)

    async def check(self) -> None:
        """Ask the server for an answer; raises when there is none."""
        async with self.pool.acquire(timeout=CONNECT_S_MAX) as connection:
            await connection.fetchval("SELECT 1 FROM inbox LIMIT 1", timeout=CONNECT_S_MAX)
